//! The load: all clients of a server, in one thread with epoll.

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

/// Receive buffer of a client that does not read, in bytes.
const SMALL_BUFFER: usize = 4096;

/// Maximum events per wait.
const EVENTS: usize = 1024;

/// Event data of the timer; clients use their index.
const TIMER: u64 = u64::MAX;

/// Time without input after which a server has failed if deliveries are outstanding.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time limit for all clients of a run to join.
const JOIN_TIME: Duration = Duration::from_secs(120);

/// The clients of one server.
pub(super) struct Load {
    dialect: Dialect,
    epoll: OwnedFd,
    timer: OwnedFd,
    clients: Vec<TcpStream>,
    /// Index of the client that does not read.
    deaf: Option<usize>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Load {
    /// Connects the clients and logs them in. Returns when each client has its welcome and the join
    /// notices of those that joined after it.
    ///
    /// If `deaf` is true, there is one more client, which does not read after it has joined.
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
                    // Count the millions of notices without parsing them, so that the server, not
                    // the load, determines the time.
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
                "after {} s, {} clients have joined, and {told} of {notices} notices have arrived",
                begin.elapsed().as_secs(),
                named.max(welcome),
            );
            for (client, answer) in answers.drain(..) {
                self.clients[client].write_all(&answer)?;
            }
            if named == clients && !entered {
                // Send the JOIN lines of all clients together, so that a server can combine their
                // notices.
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

    /// Number of members that read messages.
    pub(super) fn len(&self) -> usize {
        self.clients.len() - usize::from(self.deaf.is_some())
    }

    /// Sends messages with these `numbers` from one client, in one write.
    pub(super) fn say(&mut self, client: usize, numbers: impl Iterator<Item = u64>) -> Result<()> {
        self.outgoing.clear();
        let name = name(client);
        for number in numbers {
            self.dialect
                .write_message(&name, &text(number), &mut self.outgoing);
        }
        // A socket's buffer holds the messages in flight many times over, so a write fails only if
        // the server does not read.
        self.clients[client]
            .write_all(&self.outgoing)
            .context("the server does not read its input")
    }

    /// Starts a timer. Until it is stopped, [`Load::turn`] reports `rate` ticks per second.
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

    /// Waits for events, and reads once from each client with input. Calls `got` with the client's
    /// index and the bytes.
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
                Ok(0) => bail!("the server disconnected client {client}"),
                Ok(count) => got(client, &self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(anyhow!(error).context(format!("client {client}"))),
            }
        }
        Ok(Turn::Fired(fired))
    }
}

/// The result of [`Load::turn`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The number of timer ticks since the last turn, which may be 0.
    Fired(u64),
    /// Nothing arrived within the time limit.
    Silence,
}

/// The name of a client. All names have the same length, so that all messages have too.
fn name(client: usize) -> String {
    format!("b{client:05}")
}

/// Number of messages that the kernel buffers for a client that does not read.
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
