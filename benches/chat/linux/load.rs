//! The load: all clients of a server in one thread, over epoll, in any line protocol.

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

use super::peers::Server;

/// Stands once in each message and nowhere else, so that a delivery is counted without looking at lines. `~` would not do:
/// it stands in the prefixes of IRC.
pub(super) const MARK: u8 = b'|';

/// Bytes of a message's text.
pub(super) const TEXT: usize = 64;

/// What a peer without rules of its own says when it has let a client in.
pub(super) const WELCOME: &str = "* welcome";

/// Hexadecimal digits of the number that follows the mark.
const DIGITS: usize = 16;

/// Bytes that one read takes at most.
const READ: usize = 256 * 1024;

/// What a client that reads nothing asks the kernel to keep for it, in bytes.
const SMALL_BUFFER: usize = 4096;

/// Events that one wait takes at most.
const EVENTS: usize = 1024;

/// The timer among the events; clients have their index.
const TIMER: u64 = u64::MAX;

/// A server that is silent for so long, while something is to come, has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a client of IRC enters the room.
const IRC_JOIN: &[u8] = b"JOIN #room\r\n";

/// How long all clients of a run may take to join.
const JOIN_TIME: Duration = Duration::from_secs(120);

/// What the clients of a server say and get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// A name, then messages, as netcat would.
    Plain,
    /// The same, with JSON lines in return.
    Json,
    /// RFC 1459: one channel.
    Irc,
    /// Every line goes to everyone as it is.
    Bare,
}

/// What a line means to a client that logs in.
enum Meaning {
    /// Nothing.
    Other,
    /// To be answered.
    Answer(Vec<u8>),
    /// It has a name, and is to join the room.
    Named,
    /// It is in.
    Welcome,
    /// Someone came in.
    Joined,
    /// It is not let in.
    Refused,
}

impl Protocol {
    fn login(self, name: &str) -> String {
        match self {
            Self::Plain => format!("{name}\n"),
            Self::Json => format!("/json {name}\n"),
            Self::Irc => format!("NICK {name}\r\nUSER {name} 0 * :{name}\r\n"),
            Self::Bare => String::new(),
        }
    }

    fn read(self, line: &[u8]) -> Meaning {
        match self {
            Self::Plain | Self::Bare => {
                if line.starts_with(WELCOME.as_bytes()) {
                    Meaning::Welcome
                } else if line.starts_with(b"* ") && line.ends_with(b" joined") {
                    Meaning::Joined
                } else if line.starts_with(b"! ") {
                    Meaning::Refused
                } else {
                    Meaning::Other
                }
            }
            Self::Json => {
                if line.starts_with(br#"{"type":"welcome""#) {
                    Meaning::Welcome
                } else if line.starts_with(br#"{"type":"joined""#) {
                    Meaning::Joined
                } else if line.starts_with(br#"{"type":"error""#) {
                    Meaning::Refused
                } else {
                    Meaning::Other
                }
            }
            Self::Irc => {
                let mut words = line.split(|byte| *byte == b' ');
                match (words.next(), words.next()) {
                    (_, Some(b"001")) => Meaning::Named,
                    (_, Some(b"366")) => Meaning::Welcome,
                    (_, Some(b"JOIN")) => Meaning::Joined,
                    (Some(b"PING"), Some(token)) => {
                        Meaning::Answer([b"PONG ", token, b"\r\n"].concat())
                    }
                    (Some(b"ERROR"), _) | (_, Some(b"433" | b"465")) => Meaning::Refused,
                    _ => Meaning::Other,
                }
            }
        }
    }

    /// Appends the line with which a member says a text.
    fn write_message(self, name: &str, text: &[u8], out: &mut Vec<u8>) {
        let (before, between, after): (&str, &str, &str) = match self {
            Self::Plain | Self::Json => ("", "", "\n"),
            Self::Irc => ("PRIVMSG #room :", "", "\r\n"),
            // What the others get is the same bytes as from everyone else.
            Self::Bare => (name, ": ", "\n"),
        };
        for part in [
            before.as_bytes(),
            between.as_bytes(),
            text,
            after.as_bytes(),
        ] {
            out.extend_from_slice(part);
        }
    }

    /// Whether those who talk get their own messages.
    pub(super) fn echoes(self) -> bool {
        match self {
            Self::Plain | Self::Irc => false,
            Self::Json | Self::Bare => true,
        }
    }

    /// Whether a member is told other things than who joins, while all do, and has to answer.
    fn asks(self) -> bool {
        match self {
            Self::Plain | Self::Json | Self::Bare => false,
            Self::Irc => true,
        }
    }

    /// How many notices of joining so many members get in all.
    fn notices(self, members: usize) -> usize {
        match self {
            Self::Plain | Self::Bare => members * (members - 1) / 2,
            // One's own as well.
            Self::Json | Self::Irc => members * (members + 1) / 2,
        }
    }
}

/// The text of a message, with a number that [`number`] finds again.
pub(super) fn text(number: u64) -> [u8; TEXT] {
    let mut text = [b'.'; TEXT];
    text[0] = MARK;
    for (digit, shift) in text[1..=DIGITS]
        .iter_mut()
        .zip((0..u64::BITS).step_by(4).rev())
    {
        *digit = b"0123456789abcdef"[(number >> shift & 0xf) as usize];
    }
    text
}

/// The number in a line, where it is a message.
pub(super) fn number(line: &[u8]) -> Option<u64> {
    let mark = memchr::memchr(MARK, line)?;
    let digits = line.get(mark + 1..)?.get(..DIGITS)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Cuts what each client reads into lines.
pub(super) struct Lines {
    /// The beginning of a line that has not ended yet.
    rests: Vec<Vec<u8>>,
}

impl Lines {
    pub(super) fn new(clients: usize) -> Self {
        Self {
            rests: vec![Vec::new(); clients],
        }
    }

    /// Calls `each` with every line that `bytes` ends, without its ending.
    pub(super) fn feed(&mut self, client: usize, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        let rest = &mut self.rests[client];
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = &bytes[start..end];
            start = end + 1;
            if rest.is_empty() {
                each(line.trim_ascii_end());
            } else {
                rest.extend_from_slice(line);
                each(rest.trim_ascii_end());
                rest.clear();
            }
        }
        rest.extend_from_slice(&bytes[start..]);
    }
}

/// The clients of one server.
pub(super) struct Load {
    protocol: Protocol,
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
    /// Connects so many clients and logs them in; returns when each is in, and has been told of each that came after it.
    ///
    /// A `deaf` client is one more, which from then on reads nothing.
    pub(super) fn connect(server: &Server, clients: usize, deaf: bool) -> Result<Self> {
        let all = clients + usize::from(deaf);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        let mut load = Self {
            protocol: server.peer.protocol(),
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
        let protocol = self.protocol;
        let notices = if server.peer.announces() {
            protocol.notices(clients)
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
                if members[client] && !protocol.asks() {
                    // The time is to be the server's: millions of lines are counted, not read.
                    told += memchr::memchr_iter(b'\n', bytes).count();
                    return;
                }
                lines.feed(client, bytes, |line| match protocol.read(line) {
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
                // All at once: a server that writes once for many notices can.
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
        client.write_all(self.protocol.login(&name(index)).as_bytes())?;
        epoll::add(
            &self.epoll,
            &client,
            EventData::new_u64(index as u64),
            EventFlags::IN,
        )?;
        self.clients.push(client);
        Ok(())
    }

    /// How many members read each message.
    pub(super) fn receivers(&self) -> u64 {
        let receivers = self.len() - usize::from(!self.protocol.echoes());
        receivers as u64
    }

    /// How many members read.
    pub(super) fn len(&self) -> usize {
        self.clients.len() - usize::from(self.deaf.is_some())
    }

    /// Sends messages with these numbers from one client, in one write.
    pub(super) fn say(&mut self, client: usize, numbers: impl Iterator<Item = u64>) -> Result<()> {
        self.outgoing.clear();
        let name = name(client);
        for number in numbers {
            self.protocol
                .write_message(&name, &text(number), &mut self.outgoing);
        }
        // What is under way fits into a socket many times, unless the server does not read.
        self.clients[client]
            .write_all(&self.outgoing)
            .context("the server does not read what is sent")
    }

    /// From here on, [`Load::turn`] tells when it is time for a message, so many times a second.
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

    /// Waits, and reads once from each client that has something; `got` is called with the client and what it read.
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

/// What a turn brought, beside what was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The timer has fired so many times since the turn before.
    Fired(u64),
    /// Nothing came for as long as anything may take.
    Silence,
}

/// The name of a client: all of one length, so that all messages are.
fn name(client: usize) -> String {
    format!("b{client:05}")
}

/// How many messages the kernel takes for a client that reads nothing.
pub(super) fn messages_kept() -> Result<u64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let reader = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    reader.set_recv_buffer_size(SMALL_BUFFER)?;
    reader.connect(&listener.local_addr()?.into())?;
    let mut writer = listener.accept()?.0;
    writer.set_nonblocking(true)?;
    let mut line = Vec::new();
    Protocol::Bare.write_message(&name(0), &text(0), &mut line);
    let mut count = 0;
    while writer.write(&line).is_ok() {
        count += 1;
    }
    Ok(count)
}

/// Raises the limit of descriptors, for this process and the servers that it starts, and returns it. Only root may raise it
/// beyond what the system grants.
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
