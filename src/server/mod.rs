//! The server: a thread for each member reads, one thread delivers, one room between them.

mod acceptor;
mod console;
mod delivery;
pub mod history;
mod linger;
mod log;
mod login;
mod members;
mod rate_limit;
pub mod replay;
mod room;
mod session;
mod thread_budget;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::net;
use crate::net::listen::{self, ListenAddress};
use crate::os;
use crate::protocol::text::Text;
use crate::server::acceptor::{Acceptor, MAX_PENDING_LOGINS, Stop};
use crate::server::console::Outcome;
use crate::server::delivery::Delivery;
use crate::server::delivery::pacer::Pacer;
use crate::server::history::History;
use crate::server::history::load::Loaded;
use crate::server::linger::Linger;
use crate::server::log::{Entry, Log};
use crate::server::replay::ReplayBuffer;
use crate::server::room::Room;
use crate::server::thread_budget::{LEAVING, ThreadBudget};
use crate::tty::style;

/// Descriptors for everything but connections: standard streams, listeners, history.
const OTHER_DESCRIPTORS: usize = 32;

/// What a server is to be like.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub target: ListenAddress,
    /// The port; 0 for any free one.
    pub port: u16,
    /// Members at once.
    pub max_clients: usize,
    /// What a client must give before its name.
    pub password: Option<String>,
    /// Past messages that a newcomer is shown.
    pub replay: usize,
    /// Where the conversation is kept.
    pub history: Option<PathBuf>,
    /// Lines a second that one client may send over time; 0 for no limit.
    pub rate: u32,
    /// Whether the log is coloured.
    pub coloured: bool,
    /// Time that a connection has to log in.
    pub login_time: Duration,
    /// Whether stdin is a launcher's: its lines are commands, and its end is the server's.
    pub lifeline: bool,
}

/// What all threads of a server share.
struct Shared {
    room: Room,
    pacer: Pacer,
    thread_budget: ThreadBudget,
    linger: Linger,
    log: Log,
    password: Option<String>,
    rate: u32,
    login_time: Duration,
}

/// What the main thread waits for.
enum Happening {
    /// The operator typed a line.
    Line(String),
    /// The server is to end.
    Stop,
}

/// Runs a server until it is told to end, by a signal, its console or its launcher.
///
/// To be called from the main thread, once in a process: it handles the process's signals.
///
/// # Errors
/// When it cannot begin: the address, the history file, a thread.
pub fn run(config: Config) -> Result<()> {
    let begin = Instant::now();
    let threads = os::max_threads().unwrap_or(usize::MAX);
    let (max_members, max_strangers, warning) = seats(config.max_clients, threads);
    os::reserve_descriptors(OTHER_DESCRIPTORS + max_members + max_strangers);
    let (happenings, happened) = mpsc::channel();
    handle_signals(happenings.clone())?;

    let listeners = listen::listen(&config.target, config.port)?;
    let mut past = ReplayBuffer::new(config.replay);
    let (history, loaded) = match &config.history {
        Some(path) => {
            let (history, loaded) = History::open(path, random_id()?, &mut past)?;
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
    let log = Log::start(config.coloured, config.lifeline)?;
    announce(&config, &listeners, &log)?;
    if loaded.torn > 0 {
        let torn = loaded.torn;
        log.post(Entry::Error(format!(
            "the history's last line was torn: its {torn} bytes were cut off"
        )));
    }
    if loaded.lost > 0 {
        let lost = loaded.lost;
        log.post(Entry::Error(format!(
            "the last {lost} events are not in the history: they could not be written"
        )));
    }
    if let Some(warning) = warning {
        log.post(Entry::Error(warning));
    }

    let shared = Shared {
        pacer: Pacer::default(),
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
        login_time: config.login_time,
    };
    console::start(config.lifeline, happenings).context(os::NO_THREAD)?;
    serve(
        &shared,
        (&listeners, max_strangers),
        &happened,
        past,
        history,
    )?;

    let totals = shared.room.totals();
    let summary = format!(
        "the room is closed: {}, {} joined, {} message{}",
        style::in_words(begin.elapsed()),
        totals.joined,
        totals.messages,
        if totals.messages == 1 { "" } else { "s" }
    );
    shared.log.post(Entry::Plain(summary));
    shared.log.finish();
    Ok(())
}

/// From the first connection to the last: when this returns, every thread that serves a client has ended.
fn serve(
    shared: &Shared,
    (listeners, max_strangers): (&[TcpListener], usize),
    happened: &Receiver<Happening>,
    past: ReplayBuffer,
    history: Option<History>,
) -> Result<()> {
    let stop = Stop::default();
    // Outside of the scope, since its threads borrow it.
    let stop = &stop;
    thread::scope(|scope| {
        let deliver = Delivery::new(shared, scope, past, history);
        let deliver = move || {
            if catch_unwind(AssertUnwindSafe(|| deliver.run())).is_err() {
                // Nobody else sends, so nobody could even be told.
                std::process::exit(1);
            }
            shared.linger.stop();
        };
        let spawn = |name: &str| Builder::new().name(name.into());
        let started = (|| {
            // In this order, so that what has started also ends where the next one cannot start.
            spawn("deliver").spawn_scoped(scope, deliver)?;
            spawn("linger").spawn_scoped(scope, || shared.linger.run())?;
            let acceptor = Acceptor::new(shared, scope, listeners, stop, max_strangers);
            spawn("accept").spawn_scoped(scope, || acceptor.run())?;
            Ok::<_, io::Error>(())
        })();
        if started.is_ok() {
            operate(&shared.room, happened, &shared.log);
        }
        stop.stop(listeners);
        shared.thread_budget.close();
        shared.room.close();
        started.context(os::NO_THREAD)
    })
}

/// Does what the operator asks for, until the server is to end.
fn operate(room: &Room, happened: &Receiver<Happening>, log: &Log) {
    for happening in happened {
        match happening {
            Happening::Stop => return,
            Happening::Line(line) => match console::handle(&line, room) {
                Outcome::Nothing => {}
                Outcome::Answer(answer) => log.post(Entry::Answer(answer)),
                Outcome::Quit => return,
            },
        }
    }
}

/// SIGINT, SIGTERM and SIGHUP end the server in order; a second one ends it at once.
fn handle_signals(happenings: Sender<Happening>) -> Result<()> {
    let mut asked = false;
    ctrlc::set_handler(move || {
        if std::mem::replace(&mut asked, true) {
            std::process::exit(1);
        }
        // The receiver is gone where the server is ending already.
        let _ = happenings.send(Happening::Stop);
    })
    .context(
        "cannot handle signals, which takes a thread: end other programs, or raise `ulimit -u`",
    )
}

/// Tells that the server can be reached, and by whom. The first line is for programs as well.
fn announce(config: &Config, listeners: &[TcpListener], log: &Log) -> Result<()> {
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<io::Result<_>>()?;
    let Some((first, others)) = addresses.split_first() else {
        return Ok(());
    };
    let mut out = io::stdout();
    // Where nobody reads it, the room is open all the same.
    let _ = writeln!(out, "listening on {first}").and_then(|()| out.flush());
    for address in others {
        log.post(Entry::Plain(format!("and on {address}")));
    }
    let port = first.port();
    match &config.target {
        // A launcher says how to join itself.
        ListenAddress::Everyone if config.lifeline => {
            log.post(Entry::Plain(
                "anyone on this network can join and read".into(),
            ));
        }
        ListenAddress::Everyone => {
            log.post(Entry::Plain(
                "anyone on this network can join and read:".into(),
            ));
            for address in net::addresses() {
                log.post(Entry::Plain(format!(
                    "  chat-client {address} {port}    or: nc {address} {port}"
                )));
            }
        }
        ListenAddress::Host(_) if addresses.iter().all(|address| address.ip().is_loopback()) => {
            log.post(Entry::Plain(
                "only this machine can join; --lan lets this network in".into(),
            ));
        }
        ListenAddress::Host(_) => {
            log.post(Entry::Plain(
                "anyone who can reach this address can join and read".into(),
            ));
        }
    }
    Ok(())
}

/// How many members and how many strangers there may be at once, with what is to be said where descriptors or threads are too
/// few for all members.
fn seats(max_clients: usize, threads: usize) -> (usize, usize, Option<String>) {
    let descriptors = os::raise_descriptor_limit().map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    let by_descriptors = descriptors.saturating_sub(OTHER_DESCRIPTORS);
    // An eighth is for threads that write.
    let by_threads = (threads - threads / 8).saturating_sub(LEAVING);
    // A quarter is for strangers, or nobody could even be told that the room is full.
    let strangers = by_descriptors
        .saturating_sub(max_clients)
        .max(by_descriptors / 4)
        .clamp(1, MAX_PENDING_LOGINS);
    let by_descriptors = by_descriptors.saturating_sub(strangers);
    let members = by_descriptors.min(by_threads).clamp(1, max_clients);
    let (limit, what, mend) = if by_descriptors <= by_threads {
        (descriptors, "descriptors", "`ulimit -n`")
    } else {
        (threads, "threads", "`sysctl vm.max_map_count`")
    };
    let warning = (members < max_clients).then(|| {
        format!("{limit} {what} are enough for {members} members, not {max_clients}: raise {mend}")
    });
    (members, strangers, warning)
}

/// A random id, in hexadecimal.
fn random_id() -> Result<String> {
    let id = getrandom::u64().context("the system has no random numbers")?;
    Ok(format!("{id:016x}"))
}
