//! The server: one reader thread per member, the delivery, and the room between them.

mod acceptor;
mod burst_limit;
mod console;
mod delivery;
mod fair_set;
mod gauges;
mod guess_limit;
pub mod history;
mod linger;
mod log;
mod log_file;
mod login;
mod members;
#[cfg(shuttle)]
pub mod model;
mod network_debts;
mod rate_limit;
pub mod replay;
mod room;
mod sampler;
mod session;
mod thread_budget;

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::net;
use crate::net::listen::{self, ListenAddress};
use crate::os;
use crate::protocol::console::ServerLine;
use crate::protocol::password::{NC_HINT, Password};
use crate::protocol::text::Text;
use crate::server::acceptor::{Acceptor, MAX_PENDING_LOGINS, Stop};
use crate::server::burst_limit::BurstLimit;
use crate::server::console::Outcome;
use crate::server::delivery::hold::Hold;
use crate::server::delivery::pacer::Pacer;
use crate::server::delivery::role::DeliveryRole;
use crate::server::gauges::Gauges;
use crate::server::history::History;
use crate::server::history::load::Loaded;
use crate::server::linger::Linger;
use crate::server::log::{Entry, Log};
use crate::server::log_file::LogFile;
use crate::server::replay::ReplayBuffer;
use crate::server::room::Room;
use crate::server::sampler::Sampler;
use crate::server::thread_budget::{LEAVING, ThreadBudget};
use crate::sync::thread::{self, Builder};
use crate::tty::console::Console;
use crate::tty::{raw_mode, style};

/// Number of descriptors reserved for standard streams, listeners and the history file.
const OTHER_DESCRIPTORS: usize = 32;

/// Configuration of a server.
#[derive(Debug)]
pub struct Config {
    pub target: ListenAddress,
    /// Port to listen on; 0 for any free port.
    pub port: u16,
    /// Maximum number of members.
    pub max_clients: usize,
    pub password: Option<Password>,
    /// Number of past messages shown to a newcomer.
    pub replay: usize,
    /// The history file.
    pub history: Option<PathBuf>,
    /// The log file.
    pub log: Option<PathBuf>,
    /// Rate limit per client after a burst, in lines per second; 0 for no limit.
    pub rate: u32,
    pub colored: bool,
    /// Time limit for logging in, from the start of the connection.
    pub login_time: Duration,
    /// Whether a launcher started the server: stdin is a pipe with the launcher's commands, and the
    /// server ends when the pipe is closed.
    pub supervised: bool,
    /// Name of the local socket on which the launcher asks for samples.
    pub sample_socket: Option<OsString>,
    /// Size of each connection's send buffer, in bytes. `None` if the kernel chooses the size.
    pub send_buffer: Option<usize>,
}

/// State shared by all threads of the server.
struct Shared {
    room: Room,
    pacer: Pacer,
    hold: Hold,
    thread_budget: ThreadBudget,
    linger: Linger,
    log: Log,
    password: Option<Password>,
    rate: u32,
    burst_limit: BurstLimit,
    login_time: Duration,
    gauges: Gauges,
}

impl Shared {
    /// Creates the state of a server without listeners and without output, for tests. It has
    /// `seats` for members, and allows at most `writers` writer threads.
    #[cfg(any(test, shuttle))]
    fn silent(seats: usize, writers: usize) -> Self {
        Self {
            room: Room::new(Text::new("room"), seats, 0, 0),
            pacer: Pacer::default(),
            hold: Hold::default(),
            thread_budget: ThreadBudget::new(seats, seats + LEAVING + writers),
            linger: Linger::default(),
            log: Log::silent(),
            password: None,
            rate: 0,
            burst_limit: BurstLimit::default(),
            login_time: Duration::MAX,
            gauges: Gauges::default(),
        }
    }
}

/// An event for the main thread.
enum ServerEvent {
    /// A line that the operator entered.
    Line(String),
    /// The operator pressed Ctrl+Z, and the terminal is restored: the main thread must suspend the
    /// program.
    Suspend(Arc<Console>),
    /// The server must stop: a signal has arrived, the launcher has closed its pipe, or the
    /// operator's terminal is gone.
    Stop,
}

/// Runs a server until a signal, a command on its console, or the end of its launcher stops it.
///
/// Call this once per process, from the main thread, because it installs signal handlers.
///
/// # Errors
/// The server cannot start: the address is not available, the history file cannot be used, or there
/// are too few threads or descriptors.
pub fn run(config: Config) -> Result<()> {
    let begin = Instant::now();
    let threads = os::max_threads().unwrap_or(usize::MAX);
    let (max_members, max_logins, warning) = allocate_seats(config.max_clients, threads);
    os::reserve_descriptors(OTHER_DESCRIPTORS + max_members + max_logins);
    let (sender, events) = mpsc::channel();
    handle_signals(sender.clone())?;

    let listeners = listen::listen(&config.target, config.port)?;
    let send_buffer = config
        .send_buffer
        .map(|bytes| listen::set_send_buffer(&listeners, bytes))
        .transpose()?;
    let log_file = config.log.as_deref().map(LogFile::open).transpose()?;
    if let (Some(log_file), Some(history)) = (&log_file, &config.history)
        && log_file.is_at(history)
    {
        bail!("--log and --history name the same file: name another one for the log");
    }
    let mut replay = ReplayBuffer::new(config.replay);
    let (history, loaded) = match &config.history {
        Some(path) => {
            let (history, loaded) = History::open(path, random_id()?, &mut replay)?;
            (Some(history), loaded)
        }
        None => (
            None,
            Loaded {
                room: random_id()?,
                ..Loaded::default()
            },
        ),
    };
    let log = Log::start(config.colored, config.supervised, log_file)?;
    announce(&config, &listeners, send_buffer, &log)?;
    match loaded.exposed {
        Some((mode, Ok(()))) => log.post(Entry::Error(format!(
            "others had access to the history file; now only its owner can read and write it \
             (it had mode {mode:04o})"
        ))),
        Some((mode, Err(error))) => log.post(Entry::Error(format!(
            "others have access to the history file (mode {mode:04o}), and this cannot be changed: \
             {error}; name a file of your own"
        ))),
        None => {}
    }
    if loaded.torn > 0 {
        let torn = style::counted(loaded.torn, "byte");
        log.post(Entry::Error(format!(
            "the history's torn last line ({torn}) was cut off"
        )));
    }
    if loaded.lost > 0 {
        let lost = history::last_events_are(loaded.lost);
        log.post(Entry::Error(format!(
            "{lost} not in the history, because the file could not be written"
        )));
    }
    if let Some(warning) = warning {
        log.post(Entry::Error(warning));
    }

    let shared = Shared {
        pacer: Pacer::default(),
        hold: Hold::default(),
        room: Room::new(
            Text::new(&loaded.room),
            max_members,
            loaded.last_seq,
            loaded.last_id,
        ),
        thread_budget: ThreadBudget::new(max_members, threads),
        linger: Linger::default(),
        log,
        password: config.password,
        rate: config.rate,
        burst_limit: BurstLimit::default(),
        login_time: config.login_time,
        gauges: Gauges::new(config.sample_socket.is_some()),
    };
    let served = thread::scope(|scope| {
        let start = |name| Sampler::start(scope, &shared, name, send_buffer);
        let _sampler = config.sample_socket.as_deref().map(start).transpose()?;
        console::start(config.supervised, sender, &shared.log)
            .context(os::NO_THREAD)
            .and_then(|()| serve(&shared, (&listeners, max_logins), &events, replay, history))
    });

    let totals = shared.room.totals();
    let summary = format!(
        "{}, {} joined, {}",
        style::in_words(begin.elapsed()),
        totals.joined,
        style::counted(totals.messages, "message")
    );
    if served.is_ok() {
        let closed = ServerLine::Closed(&summary).to_string();
        shared.log.post(Entry::Plain(closed));
    }
    shared.log.finish();
    // Restore the terminal. The log's thread has done so already, unless the terminal accepts no
    // output.
    raw_mode::finish();
    served
}

/// Serves clients until the server is told to shut down. Returns once every thread that serves a
/// client has ended.
fn serve(
    shared: &Shared,
    (listeners, max_logins): (&[TcpListener], usize),
    events: &Receiver<ServerEvent>,
    replay: ReplayBuffer,
    history: Option<History>,
) -> Result<()> {
    let stop = Stop::default();
    // Borrow the flag outside of the scope, because the scope's threads may use it until the scope
    // ends.
    let stop = &stop;
    thread::scope(|scope| {
        let delivery = Arc::new(DeliveryRole::new(shared, scope, replay, history));
        let role = Arc::clone(&delivery);
        let deliver = move || {
            if catch_unwind(AssertUnwindSafe(|| role.run())).is_err() {
                // End the process: without this thread, the members cannot even be told about the
                // panic.
                raw_mode::exit(1);
            }
            shared.linger.stop();
        };
        let named = |name: &str| Builder::new().name(name.into());
        let started = (|| {
            // Start the thread `deliver` before `linger`, because only the end of `deliver` makes
            // `linger` end. If a later thread cannot start, the threads started so far then still
            // end.
            let gauges = &shared.gauges;
            gauges.spawn(scope, named("deliver"), deliver)?;
            gauges.spawn(scope, named("linger"), || shared.linger.run())?;
            let acceptor = Acceptor::new(shared, scope, delivery, listeners, stop, max_logins);
            gauges.spawn(scope, named("accept"), || acceptor.run())
        })();
        if started.is_ok() {
            operate(&shared.room, events, &shared.log);
        }
        stop.stop(listeners);
        shared.thread_budget.close();
        shared.linger.stop_resets();
        shared.room.close();
        shared.hold.close();
        started.context(os::NO_THREAD)
    })
}

/// Handles the operator's commands until `/quit`, a signal or the end of the console.
fn operate(room: &Room, events: &Receiver<ServerEvent>, log: &Log) {
    for event in events {
        match event {
            ServerEvent::Stop => return,
            ServerEvent::Suspend(console) => console.stop_job(),
            ServerEvent::Line(line) => match console::handle(&line, room) {
                Outcome::Nothing => {}
                Outcome::Answer(answer) => log.post(Entry::Answer(answer)),
                Outcome::Quit => return,
            },
        }
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP shut the server down in an orderly way. A second signal ends
/// the process at once.
fn handle_signals(events: Sender<ServerEvent>) -> Result<()> {
    let mut asked = false;
    ctrlc::set_handler(move || {
        if std::mem::replace(&mut asked, true) {
            raw_mode::exit(1);
        }
        // Ignore an error: the receiver is gone if the server is already stopping.
        let _ = events.send(ServerEvent::Stop);
    })
    .context(
        "cannot handle signals, which takes a thread: end other programs, or raise `ulimit -u`",
    )
}

/// Prints the addresses that the server listens on, and who can reach them. Programs such as the
/// launcher parse the first line.
fn announce(
    config: &Config,
    listeners: &[TcpListener],
    send_buffer: Option<usize>,
    log: &Log,
) -> Result<()> {
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<io::Result<_>>()?;
    let Some((first, others)) = addresses.split_first() else {
        return Ok(());
    };
    let mut lines = vec![ServerLine::Listening(*first).to_string()];
    lines.extend(others.iter().map(|address| format!("and on {address}")));
    let is_secret = config.password.is_some();
    let is_local = addresses.iter().all(|address| address.ip().is_loopback());
    let audience = match (&config.target, is_secret) {
        (ListenAddress::Loopback | ListenAddress::Host(_), _) if is_local => {
            "only this machine can join; --lan lets this network in"
        }
        (ListenAddress::Loopback | ListenAddress::Host(_), false) => {
            "anyone who can reach this address can join and read"
        }
        (ListenAddress::Loopback | ListenAddress::Host(_), true) => {
            "anyone who can reach this address and has the password can join; nothing is encrypted"
        }
        (ListenAddress::Everyone, false) => "anyone on this network can join and read",
        (ListenAddress::Everyone, true) => {
            "anyone on this network who has the password can join; nothing is encrypted"
        }
    };
    lines.push(audience.into());
    lines.extend(
        send_buffer
            .map(|bytes| format!("each connection has a small send buffer, of {bytes} bytes")),
    );
    // Leave out the hint on how to join if the launcher prints one.
    if config.target == ListenAddress::Everyone && !config.supervised {
        let port = first.port();
        let hint = |ip| format!("  chat-client {ip} {port}    or: nc {ip} {port}");
        lines.extend(net::addresses().into_iter().map(hint));
        lines.extend(is_secret.then(|| NC_HINT.into()));
    }
    // Print all lines in one write, so that no line of the launcher appears between them.
    for line in lines {
        log.note(Entry::Plain(line));
    }
    log.show_queued();
    Ok(())
}

/// Divides the available descriptors and `threads` among members and pending logins. Returns the
/// limit on members, the limit on pending logins, and a warning if not all `max_clients` can be
/// members.
fn allocate_seats(max_clients: usize, threads: usize) -> (usize, usize, Option<String>) {
    let descriptors = os::raise_descriptor_limit().map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    let by_descriptors = descriptors.saturating_sub(OTHER_DESCRIPTORS);
    // Reserve an eighth of the threads for writer threads.
    let by_threads = (threads - threads / 8).saturating_sub(LEAVING);
    // Reserve at least a quarter of the descriptors for pending logins. Otherwise the server could
    // not even tell a client that the room is full.
    let logins = by_descriptors
        .saturating_sub(max_clients)
        .max(by_descriptors / 4)
        .clamp(1, MAX_PENDING_LOGINS);
    let by_descriptors = by_descriptors.saturating_sub(logins);
    let members = by_descriptors.min(by_threads).clamp(1, max_clients);
    let (limit, what, remedy) = if by_descriptors <= by_threads {
        (descriptors, "descriptors", "`ulimit -n`")
    } else {
        (threads, "threads", "`sysctl vm.max_map_count`")
    };
    let warning = (members < max_clients).then(|| {
        format!(
            "{limit} {what} are enough for {members} members, not {max_clients}: raise {remedy}"
        )
    });
    (members, logins, warning)
}

/// Generates a random ID in hexadecimal.
fn random_id() -> Result<String> {
    let id = getrandom::u64().context("cannot get a random number from the system")?;
    Ok(format!("{id:016x}"))
}
