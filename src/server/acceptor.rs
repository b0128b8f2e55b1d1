//! The thread `accept`: lets connections in, hears who they are, and gives each member a thread.
//!
//! One thread hears all strangers: a name takes a few microseconds, a thread ten times that and memory for as long as a stranger is
//! silent. Nor is a class that comes at once made to wait for its threads. Who has joined is here at once, and gets its thread with the
//! first thing that it says, or when nobody has come for a moment.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Builder, Scope};
use std::time::{Duration, Instant};

use crate::net;
use crate::os;
use crate::server::Shared;
use crate::server::linger::LINGER;
use crate::server::log::Entry;
use crate::server::login::{PendingLogin, Step};
use crate::server::session::Session;

/// Stack of a client's thread, in bytes; what is not used takes no memory. Unoptimised builds need most of it.
const STACK: usize = 256 * 1024;

/// Strangers at once where descriptors are not scarce. Beside the members, so that a class of latecomers finds
/// a seat even in a full room.
pub(crate) const MAX_PENDING_LOGINS: usize = 512;

/// Connections at once that have been told their last line, and have time to read it; of more, who had most of it is cut off.
const MAX_LEAVING: usize = 256;

/// Bytes of one read from a stranger.
const READ: usize = 512;

/// Connections that are let in, and threads that are started, before the others have their turn.
const AT_ONCE: usize = 64;

/// Time without another newcomer after which those who are here get their threads.
const CALM: Duration = Duration::from_millis(50);

/// How long one may wait for it while others come.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// Those who come within so long after another are heard together, and welcomed in one round: otherwise each of a class would wake this
/// thread, and this thread the others.
const TOGETHER: Duration = Duration::from_micros(200);

/// How many of those who wait are looked at, so that who says something need not wait. To look at all of a class would take longer than
/// to let it in.
const LOOKED_AT: usize = 32;

/// The pauses after an accept that failed, as when there are no more descriptors. Without them the loop would take
/// all of a processor.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often the operator is told that accepting fails.
const COMPLAIN: Duration = Duration::from_secs(5);

/// Ends the thread `accept`.
#[derive(Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    /// Makes [`Acceptor::run`] come to its end, on `listeners`.
    pub(crate) fn stop(&self, listeners: &[TcpListener]) {
        self.0.store(true, Ordering::SeqCst);
        for listener in listeners {
            net::stop_accepting(listener);
        }
    }

    fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// All who are on their way in, or out again.
pub(crate) struct Acceptor<'scope, 'env> {
    shared: &'env Shared,
    scope: &'scope Scope<'scope, 'env>,
    listeners: &'env [TcpListener],
    stop: &'env Stop,
    max_strangers: usize,
    /// In the order in which they came.
    strangers: Vec<PendingLogin<'env>>,
    /// Who was told a last line, and until when it may read that.
    leaving: VecDeque<(Instant, Arc<TcpStream>)>,
    /// Members that have no thread yet, in the order in which they came, and when that was.
    newcomers: VecDeque<(Instant, Session<'env>)>,
    pause: Duration,
    paused_until: Option<Instant>,
    complained: Option<Instant>,
}

impl<'scope, 'env> Acceptor<'scope, 'env> {
    pub(crate) fn new(
        shared: &'env Shared,
        scope: &'scope Scope<'scope, 'env>,
        listeners: &'env [TcpListener],
        stop: &'env Stop,
        max_strangers: usize,
    ) -> Self {
        Self {
            shared,
            scope,
            listeners,
            stop,
            max_strangers,
            strangers: Vec::new(),
            leaving: VecDeque::new(),
            newcomers: VecDeque::new(),
            pause: FIRST_PAUSE,
            paused_until: None,
            complained: None,
        }
    }

    /// The body of the thread `accept`.
    pub(crate) fn run(mut self) {
        while !self.stop.is_stopped() {
            if self.poll(self.listeners) {
                self.accept();
                self.shared.log.show_queued();
            }
            self.start_threads();
            if let Some((last, _)) = self.newcomers.back() {
                thread::sleep((*last + TOGETHER).saturating_duration_since(Instant::now()));
            }
        }
        for (_, newcomer) in std::mem::take(&mut self.newcomers) {
            self.start(newcomer);
        }
        for mut stranger in std::mem::take(&mut self.strangers) {
            stranger.close();
            self.let_read(Arc::clone(stranger.socket()));
        }
        while !self.leaving.is_empty() {
            // A listener that is stopped would end every wait.
            self.poll(&[]);
        }
    }

    /// When a newcomer is to have its thread, if it says nothing before.
    fn thread_due(&self) -> Option<Instant> {
        let ((first, _), (last, _)) = (self.newcomers.front()?, self.newcomers.back()?);
        Some((*last + CALM).min(*first + LONGEST_WAIT))
    }

    /// How long there is nothing to do, where nothing comes.
    fn patience(&self, now: Instant) -> Duration {
        let strangers = self.strangers.iter().map(PendingLogin::due);
        strangers
            .chain(self.leaving.front().map(|(until, _)| *until))
            .chain(self.thread_due())
            .chain(self.paused_until)
            .min()
            .map_or(Duration::MAX, |due| due.saturating_duration_since(now))
    }

    /// Waits until there is something to do, and hears those who have something to say, or no more time. True where somebody
    /// may have connected to one of `listeners`.
    fn poll(&mut self, listeners: &[TcpListener]) -> bool {
        let now = Instant::now();
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let leaving = self.leaving.iter().map(|(_, socket)| socket);
        let looked_at = self.newcomers.len().min(LOOKED_AT);
        let newcomers = self.newcomers.iter().take(looked_at);
        let newcomers = newcomers.map(|(_, newcomer)| &newcomer.member().socket);
        let strangers = self.strangers.iter().map(PendingLogin::socket);
        let ready = net::wait_any(
            listeners,
            self.paused_until.is_none(),
            leaving.chain(newcomers).chain(strangers).map(AsRef::as_ref),
            self.patience(now),
        );
        let ready = ready.unwrap_or_else(|_| {
            // Where the system cannot even tell, each is asked, and not in a hurry.
            thread::sleep(FIRST_PAUSE);
            Vec::new()
        });
        let mut ready = ready.into_iter();
        let mut is_ready = || ready.next().unwrap_or(true);
        let connects = (0..listeners.len()).fold(false, |any, _| is_ready() | any);
        let now = Instant::now();
        let count = self.leaving.len();
        self.leaving
            .retain(|(until, socket)| !(is_ready() && is_over(socket)) && *until > now);
        if self.leaving.len() < count {
            // Among them may be one that `Linger` waits for.
            self.shared.linger.closed();
        }
        let speaks: Vec<bool> = (0..looked_at).map(|_| is_ready()).collect();
        for stranger in std::mem::take(&mut self.strangers) {
            if is_ready() || stranger.due() <= now {
                self.step(stranger);
            } else {
                self.strangers.push(stranger);
            }
        }
        for at in (0..looked_at).rev().filter(|at| speaks[*at]) {
            // Those who have come meanwhile stand behind these.
            if let Some((_, newcomer)) = self.newcomers.remove(at) {
                self.start(newcomer);
            }
        }
        connects
    }

    /// Lets in those who have connected.
    fn accept(&mut self) {
        for listener in self.listeners {
            for _ in 0..AT_ONCE {
                match net::accept_now(listener) {
                    Ok((socket, peer)) => self.admit(PendingLogin::new(self.shared, socket, peer)),
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => break,
                        // The peer thought better of it.
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                        _ => {
                            self.wait_after(&error);
                            return;
                        }
                    },
                }
            }
        }
    }

    fn admit(&mut self, stranger: PendingLogin<'env>) {
        self.pause = FIRST_PAUSE;
        if self.strangers.len() >= self.max_strangers {
            let mut longest = self.strangers.remove(0);
            longest.send_away();
            self.let_read(Arc::clone(longest.socket()));
        }
        // Most have said their name by now.
        self.step(stranger);
    }

    /// Accepting has failed.
    fn wait_after(&mut self, error: &io::Error) {
        if self.stop.is_stopped() {
            return;
        }
        self.complain(format!(
            "nobody can connect: {error}; end other programs, or raise `ulimit -n`"
        ));
        self.paused_until = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn complain(&mut self, complaint: String) {
        if self
            .complained
            .is_none_or(|then| then.elapsed() >= COMPLAIN)
        {
            self.complained = Some(Instant::now());
            self.shared.log.post(Entry::Error(complaint));
        }
    }

    /// Hears a stranger.
    fn step(&mut self, mut stranger: PendingLogin<'env>) {
        let mut input = [0; READ];
        // What fails for one client ends that client.
        let step = catch_unwind(AssertUnwindSafe(|| stranger.step(&mut input)));
        match step {
            Ok(Step::Stay) => self.strangers.push(stranger),
            Ok(Step::Out) => self.let_read(Arc::clone(stranger.socket())),
            Ok(Step::In(admitted)) => {
                let newcomer = Session::new(self.shared, admitted);
                if newcomer.member().has_input() {
                    self.start(newcomer);
                } else {
                    self.newcomers.push_back((Instant::now(), newcomer));
                    self.start_surplus();
                }
            }
            Err(_) => self.shared.log.post(Entry::Error(
                "the login of a client failed; please report this".into(),
            )),
        }
    }

    /// Gives a connection that was told its last line time to read it, but not to more than there may be.
    fn let_read(&mut self, socket: Arc<TcpStream>) {
        // At the end nobody else comes.
        let max = MAX_LEAVING.min(self.max_strangers);
        if self.leaving.len() >= max && !self.stop.is_stopped() {
            self.leaving.pop_front();
            self.shared.linger.closed();
        }
        self.leaving.push_back((Instant::now() + LINGER, socket));
    }

    /// Those who come back again and again take no seats, so the seats do not limit how many wait.
    fn start_surplus(&mut self) {
        while self.newcomers.len() > self.shared.thread_budget.places()
            && let Some((_, newcomer)) = self.newcomers.pop_front()
        {
            self.start(newcomer);
        }
    }

    /// Starts threads where it is time for them.
    fn start_threads(&mut self) {
        let now = Instant::now();
        for _ in 0..AT_ONCE {
            if self.thread_due().is_none_or(|due| due > now) {
                return;
            }
            if let Some((_, newcomer)) = self.newcomers.pop_front() {
                self.start(newcomer);
            }
        }
    }

    /// Starts a member's thread. Where there is none to be had, the member is told, and leaves. Waits for the thread of another to end
    /// where there are too many.
    fn start(&mut self, newcomer: Session<'env>) {
        let shared = self.shared;
        let member = newcomer.member();
        let (connection, name) = (member.connection, member.name.clone());
        let socket = Arc::clone(&member.socket);
        // Nobody is kept waiting by who has had their say.
        let Some(place) = shared.thread_budget.next(|| shared.linger.close_oldest()) else {
            // The room is closed: what is left is to read its last line.
            return self.let_read(socket);
        };
        let builder = Builder::new().name(os::thread_name("c:", name.as_str()));
        let serve = || newcomer.run(place);
        if let Err(error) = builder.stack_size(STACK).spawn_scoped(self.scope, serve) {
            let told = "the server has no thread left: try again later";
            shared.room.cut(connection, told, "no thread");
            self.complain(format!(
                "{name} cannot be served: {error}; end other programs, or raise `ulimit -u`"
            ));
            self.let_read(socket);
        }
    }
}

/// Reads what comes on a connection that has been told its last line, and throws it away; true where it is over.
fn is_over(socket: &TcpStream) -> bool {
    match net::receive_now(socket, &mut [0; READ]) {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}
