//! The load: all clients of a server in one thread, over epoll, in any dialect.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use socket2::{Domain, Socket, Type};

use super::dialect::{Dialect, IRC_JOIN, Lines, Meaning, text};
use super::peers::Server;

/// Maximum bytes per read.
const READ: usize = 256 * 1024;

/// Receive buffer of a client that reads nothing, in bytes.
const SMALL_BUFFER: usize = 4096;

/// Maximum events per wait.
const EVENTS: usize = 1024;

/// Event data of the timer; clients use their index.
const TIMER: u64 = u64::MAX;

/// Silence after which a server has failed, while deliveries are outstanding.
const PATIENCE: Duration = Duration::from_secs(10);

/// Deadline for all clients of a run to join.
const JOIN_TIME: Duration = Duration::from_secs(120);

/// The clients of one server.
pub(super) struct Load {
    dialect: Dialect,
    epoll: OwnedFd,
    timer: OwnedFd,
    clients: Vec<TcpStream>,
    /// The client that reads nothing.
    deaf: Option<usize>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Load {
    /// Connects this many clients and logs them in. Returns when each is in, and has been told of
    /// each that joined after it.
    ///
    /// With `deaf`, there is one more client, which reads nothing from then on.
    pub(super) fn connect(server: &Server, clients: usize, deaf: bool) -> Result<Self> {
        let all = clients + usize::from(deaf);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        let mut load = Self {
            dialect: server.peer.dialect(),
            epoll,
            timer,
            clients: Vec::with_capacity(all),
            deaf: deaf.then_some(clients),
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; READ],
            outgoing: Vec::new(),
        };
        load.log_in(server, all)
            .with_context(|| format!("{all} clients cannot join"))?;
        if let Some(deaf) = load.deaf {
            epoll::delete(&load.epoll, &load.clients[deaf])?;
        }
        Ok(load)
    }

    fn log_in(&mut self, server: &Server, clients: usize) -> Result<()> {
        let dialect = self.dialect;
        let notices = if server.peer.announces() {
            dialect.notices(clients)
        } else {
            0
        };
        let begin = Instant::now();
        let (mut named, mut welcome, mut told) = (0, 0, 0);
        let mut entered = false;
        let mut lines = Lines::new(clients);
        let mut members = vec![false; clients];
        let mut answers = Vec::new();
        let mut refused = None;
        while welcome < clients || told < notices {
            let herd = server.peer.herd();
            while self.clients.len() < clients && self.clients.len() - named.max(welcome) < herd {
                self.add(server)?;
            }
            let turn = self.turn(|client, bytes| {
                if members[client] && !dialect.asks() {
                    // The time is to be the server's: millions of notices are counted, not parsed.
                    told += memchr::memchr_iter(b'\n', bytes).count();
                    return;
                }
                lines.feed(client, bytes, |line| match dialect.read(line) {
                    Meaning::Other => {}
                    Meaning::Answer(answer) => answers.push((client, answer)),
                    Meaning::Named => named += 1,
                    Meaning::Welcome => {
                        welcome += 1;
                        members[client] = true;
                    }
                    Meaning::Joined => told += 1,
                    Meaning::Refused => {
                        refused = Some(String::from_utf8_lossy(line).into_owned());
                    }
                });
            })?;
            ensure!(
                turn != Turn::Silence && begin.elapsed() < JOIN_TIME,
                "after {} s {} have a place, {told} of {notices} notices came",
                begin.elapsed().as_secs(),
                named.max(welcome),
            );
            for (client, answer) in answers.drain(..) {
                self.clients[client].write_all(&answer)?;
            }
            if named == clients && !entered {
                // All at once: a server that combines notices can do so.
                for client in &mut self.clients {
                    client.write_all(IRC_JOIN)?;
                }
                entered = true;
            }
            if let Some(line) = refused {
                bail!("{line}");
            }
        }
        Ok(())
    }

    fn add(&mut self, server: &Server) -> Result<()> {
        let index = self.clients.len();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if self.deaf == Some(index) {
            socket.set_recv_buffer_size(SMALL_BUFFER)?;
        }
        socket.connect(&server.address.into())?;
        let mut client = TcpStream::from(socket);
        client.set_nodelay(true)?;
        client.set_nonblocking(true)?;
        client.write_all(self.dialect.login(&name(index)).as_bytes())?;
        epoll::add(
            &self.epoll,
            &client,
            EventData::new_u64(index as u64),
            EventFlags::IN,
        )?;
        self.clients.push(client);
        Ok(())
    }

    /// Number of members that receive each message.
    pub(super) fn receivers(&self) -> u64 {
        let receivers = self.len() - usize::from(!self.dialect.echoes());
        receivers as u64
    }

    /// Number of members that read.
    pub(super) fn len(&self) -> usize {
        self.clients.len() - usize::from(self.deaf.is_some())
    }

    /// Sends messages with these numbers from one client, in one write.
    pub(super) fn say(&mut self, client: usize, numbers: impl Iterator<Item = u64>) -> Result<()> {
        self.outgoing.clear();
        let name = name(client);
        for number in numbers {
            self.dialect
                .write_message(&name, &text(number), &mut self.outgoing);
        }
        // The messages in flight fit into a socket many times over, unless the server does not
        // read.
        self.clients[client]
            .write_all(&self.outgoing)
            .context("the server does not read what is sent")
    }

    /// Starts a timer: from here on, [`Load::turn`] reports this many ticks a second.
    pub(super) fn set_timer(&self, rate: u32) -> Result<()> {
        self.arm(Duration::from_secs(1) / rate)
    }

    pub(super) fn stop_timer(&self) -> Result<()> {
        self.arm(Duration::ZERO)
    }

    fn arm(&self, interval: Duration) -> Result<()> {
        let interval = Timespec::try_from(interval)?;
        let times = Itimerspec {
            it_interval: interval,
            it_value: interval,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times)?;
        Ok(())
    }

    /// Waits, and reads once from each client with input; `got` gets the client and its bytes.
    pub(super) fn turn(&mut self, mut got: impl FnMut(usize, &[u8])) -> Result<Turn> {
        self.events.clear();
        let patience = Timespec::try_from(PATIENCE)?;
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            Some(&patience),
        ) {
            Ok(0) => return Ok(Turn::Silence),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut fired = 0;
        for event in &self.events {
            if event.data.u64() == TIMER {
                let mut count = [0; size_of::<u64>()];
                rustix::io::read(&self.timer, &mut count)?;
                fired += u64::from_ne_bytes(count);
                continue;
            }
            let client = usize::try_from(event.data.u64())?;
            match self.clients[client].read(&mut self.buffer) {
                Ok(0) => bail!("client {client} was cut"),
                Ok(count) => got(client, &self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(anyhow!(error).context(format!("client {client}"))),
            }
        }
        Ok(Turn::Fired(fired))
    }
}

/// Result of a turn, apart from the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ticks of the timer since the last turn.
    Fired(u64),
    /// Nothing came within the time limit.
    Silence,
}

/// The name of a client. All have one length, so that all messages do.
fn name(client: usize) -> String {
    format!("b{client:05}")
}

/// Number of messages that the kernel buffers for a client that reads nothing.
pub(super) fn messages_kept() -> Result<u64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let reader = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    reader.set_recv_buffer_size(SMALL_BUFFER)?;
    reader.connect(&listener.local_addr()?.into())?;
    let mut writer = listener.accept()?.0;
    writer.set_nonblocking(true)?;
    let mut line = Vec::new();
    Dialect::Bare.write_message(&name(0), &text(0), &mut line);
    let mut count = 0;
    while writer.write(&line).is_ok() {
        count += 1;
    }
    Ok(count)
}

/// Raises the descriptor limit of this process and of the servers that it starts, and returns it.
/// Only root can exceed the hard limit.
pub(super) fn raise_descriptors(wanted: u64) -> Result<u64> {
    let granted = getrlimit(Resource::Nofile).maximum.unwrap_or(wanted);
    let raise = |limit| {
        let limits = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        setrlimit(Resource::Nofile, limits).map(|()| limit)
    };
    let raised = if granted < wanted {
        raise(wanted)
    } else {
        raise(granted)
    };
    Ok(raised.or_else(|_| raise(granted))?)
}
