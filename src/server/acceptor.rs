//! The thread `accept`: accepts connections, handles their logins, and starts a reader thread for
//! each member.
//!
//! One thread polls all pending logins. Handling a name takes a few microseconds. Starting a thread
//! for a login would take ten times as long, and the thread would use memory while the client is
//! silent.
//!
//! A member is in the room right after its login, but its reader thread starts later, so that a
//! whole class that joins at once does not wait for threads to start. The reader thread starts when
//! the member's first input arrives, or when no other client has joined for a moment.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::net::{self, Interest};
use crate::os;
use crate::server::Shared;
use crate::server::delivery::role::DeliveryRole;
use crate::server::guess_limit::GuessLimit;
use crate::server::linger::{Checks, LINGER};
use crate::server::log::Entry;
use crate::server::login::{LoginStep, PendingLogin};
use crate::server::members::ConnectionId;
use crate::server::session::Session;
use crate::sync::Instant;
use crate::sync::thread::{self, Builder, Scope};

/// Stack size of a reader thread, in bytes. Unoptimized builds need most of it. Optimized builds
/// need less, and the unused part takes no memory.
const STACK: usize = 256 * 1024;

/// Limit on the connections that are logging in. The server sets a lower limit if descriptors are
/// scarce. These connections do not count as members, so a client that connects to a full room is
/// still told that the room is full.
pub(crate) const MAX_PENDING_LOGINS: usize = 512;

/// Limit on the connections that the thread `accept` keeps open until the peer has read the last
/// line. Their clients were rejected, or could not get a reader thread. Beyond the limit, the
/// connection that has lingered longest is closed.
const MAX_LINGERING: usize = 256;

/// Buffer size for one read from a pending login, in bytes.
const READ: usize = 512;

/// Limit on the connections accepted from each listener, and on the reader threads started, in one
/// iteration of the thread's loop. More would delay the pending logins for too long.
const MAX_PER_ITERATION: usize = 64;

/// How long after the last join the reader threads of new members start, even if the members send
/// nothing. Each further join restarts this delay, so that a class that joins at once does not wait
/// for threads to start.
const THREAD_DELAY: Duration = Duration::from_millis(50);

/// Limit on the time from a member's join to the start of its reader thread. Without this limit,
/// the reader threads of silent members would not start as long as clients keep joining.
const MAX_THREAD_DELAY: Duration = Duration::from_millis(250);

/// How long the thread `accept` waits after a join for further connections, whose clients are then
/// welcomed in the same batch. Otherwise, when a class joins, each of its clients would wake this
/// thread, the delivery thread and the log's thread.
const COALESCE: Duration = Duration::from_micros(200);

/// Limit on the members without a reader thread whose sockets are polled for input. Polling a whole
/// class would take longer than handling its logins. The input of members beyond the limit is read
/// when their threads start, a moment later.
const MAX_POLLED: usize = 32;

/// How long to pause after a failed accept, for example when no descriptor is free. Without a
/// pause, the loop would take a whole processor. The pause doubles with each further failure.
const MIN_BACKOFF: Duration = Duration::from_millis(5);

/// Longest pause after a failed accept.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// Minimum time between two reports of failed accepts.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Flag that tells the thread `accept` to stop.
#[derive(Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    /// Makes [`Acceptor::run`] return. Shuts down the acceptor's `listeners`, which wakes its
    /// thread.
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

/// State of the thread `accept`: pending logins, members whose reader thread has not started, and
/// lingering connections.
pub(crate) struct Acceptor<'scope, 'env> {
    shared: &'env Shared,
    scope: &'scope Scope<'scope, 'env>,
    /// The delivery role, which reader threads share.
    delivery: Arc<DeliveryRole<'scope, 'env>>,
    listeners: &'env [TcpListener],
    stop: &'env Stop,
    max_logins: usize,
    /// Pending logins, in order of arrival.
    logins: Vec<PendingLogin<'env>>,
    guess_limit: GuessLimit,
    /// Connections whose last line was sent, each with the deadline for the peer to close the
    /// connection.
    lingering: VecDeque<(Instant, Arc<TcpStream>)>,
    /// Members whose reader thread has not started, in order of joining, each with the time of
    /// joining.
    threadless: VecDeque<(Instant, Session<'scope, 'env>)>,
    backoff: Duration,
    paused_until: Option<Instant>,
    reported: Option<Instant>,
}

impl<'scope, 'env> Acceptor<'scope, 'env> {
    pub(crate) fn new(
        shared: &'env Shared,
        scope: &'scope Scope<'scope, 'env>,
        delivery: Arc<DeliveryRole<'scope, 'env>>,
        listeners: &'env [TcpListener],
        stop: &'env Stop,
        max_logins: usize,
    ) -> Self {
        Self {
            shared,
            scope,
            delivery,
            listeners,
            stop,
            max_logins,
            logins: Vec::new(),
            guess_limit: GuessLimit::default(),
            lingering: VecDeque::new(),
            threadless: VecDeque::new(),
            backoff: MIN_BACKOFF,
            paused_until: None,
            reported: None,
        }
    }

    /// Runs the thread `accept`. After [`Stop::stop`], starts the reader threads that have not
    /// started yet, rejects the pending logins, and returns once the rejected connections are
    /// closed.
    pub(crate) fn run(mut self) {
        while !self.stop.is_stopped() {
            if self.poll(self.listeners, Duration::MAX) {
                self.accept();
                self.shared.log.show_queued();
            }
            self.start_due();
            if let Some((last, _)) = self.threadless.back() {
                thread::sleep((*last + COALESCE).saturating_duration_since(Instant::now()));
            }
        }
        for (_, session) in std::mem::take(&mut self.threadless) {
            self.start(session);
        }
        for mut login in std::mem::take(&mut self.logins) {
            login.close(&mut self.guess_limit);
            self.linger(Arc::clone(login.socket()));
        }
        let mut checks = Checks::start();
        while !self.lingering.is_empty() {
            // Do not poll the listeners: they are shut down, so poll(2) would return at once.
            self.poll(&[], checks.patience());
            if let Some(is_acknowledged) = checks.check() {
                self.lingering
                    .retain(|(_, socket)| !is_acknowledged(socket));
                self.shared.linger.closed();
            }
        }
    }

    /// Returns the time at which the next reader thread must be started, or `None` if no member
    /// waits for one.
    fn thread_due(&self) -> Option<Instant> {
        let ((first, _), (last, _)) = (self.threadless.front()?, self.threadless.back()?);
        Some((*last + THREAD_DELAY).min(*first + MAX_THREAD_DELAY))
    }

    /// Time until the first of these: a deadline of a pending login or of a lingering connection,
    /// the start of a reader thread, the end of the pause after a failed accept.
    fn patience(&self, now: Instant) -> Duration {
        let logins = self.logins.iter().map(PendingLogin::due);
        logins
            .chain(self.lingering.front().map(|(until, _)| *until))
            .chain(self.thread_due())
            .chain(self.paused_until)
            .min()
            .map_or(Duration::MAX, |due| due.saturating_duration_since(now))
    }

    /// Waits for input, the next deadline or the end of `patience`. Then handles the input, and the
    /// deadlines that have passed. Returns whether one of `listeners` may have a connection to
    /// accept.
    fn poll(&mut self, listeners: &[TcpListener], patience: Duration) -> bool {
        for released in self.guess_limit.take_released() {
            self.logins
                .iter_mut()
                .for_each(|login| login.move_turn(&released));
        }
        let now = Instant::now();
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let lingering = self.lingering.iter().map(|(_, socket)| socket);
        let polled = self.threadless.len().min(MAX_POLLED);
        let threadless = self.threadless.iter().take(polled);
        let threadless = threadless.map(|(_, session)| &session.member().socket);
        let others = lingering
            .chain(threadless)
            .map(|socket| (&**socket, Interest::Input));
        let logins = self.logins.iter();
        let logins = logins.map(|login| (&**login.socket(), login.interest()));
        let ready = net::wait_any(
            listeners,
            self.paused_until.is_none(),
            others.chain(logins),
            self.patience(now).min(patience),
        );
        let ready = ready.unwrap_or_else(|_| {
            // poll(2) itself failed. Pause, so that the loop does not take a whole processor, and
            // then treat every socket as ready.
            thread::sleep(MIN_BACKOFF);
            Vec::new()
        });
        let mut ready = ready.into_iter();
        let mut is_ready = || ready.next().unwrap_or(true);
        let connects = (0..listeners.len()).fold(false, |any, _| is_ready() | any);
        let now = Instant::now();
        let count = self.lingering.len();
        self.lingering.retain(|(until, socket)| {
            if *until <= now && !self.stop.is_stopped() {
                // Discard what the peer has not read, to free the kernel's memory.
                net::abort(socket);
            }
            !(is_ready() && is_closed(socket)) && *until > now
        });
        if self.lingering.len() < count {
            // Wake the thread `linger`. Otherwise it might wait for the deadline of a connection
            // that was just dropped.
            self.shared.linger.closed();
        }
        // Remember connections and not positions, because a login below may move the first members
        // out of the queue.
        let speaking: Vec<ConnectionId> = self
            .threadless
            .iter()
            .take(polled)
            .map(|(_, session)| session.member().connection)
            .filter(|_| is_ready())
            .collect();
        for login in std::mem::take(&mut self.logins) {
            if is_ready() || login.due() <= now {
                self.step(login);
            } else {
                self.logins.push(login);
            }
        }
        for connection in speaking {
            let mut waiting = self.threadless.iter();
            let at = waiting.position(|(_, session)| session.member().connection == connection);
            if let Some((_, session)) = at.and_then(|at| self.threadless.remove(at)) {
                self.start(session);
            }
        }
        connects
    }

    /// Accepts waiting connections.
    fn accept(&mut self) {
        for listener in self.listeners {
            for _ in 0..MAX_PER_ITERATION {
                match net::accept_now(listener) {
                    Ok((socket, peer)) => self.admit(PendingLogin::new(self.shared, socket, peer)),
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => break,
                        // The peer has already closed the connection, or a signal interrupted the
                        // call: try the next one.
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                        _ => {
                            self.back_off(&error);
                            return;
                        }
                    },
                }
            }
        }
    }

    fn admit(&mut self, login: PendingLogin<'env>) {
        self.backoff = MIN_BACKOFF;
        if self.logins.len() >= self.max_logins {
            let mut evicted = self.logins.remove(self.position_to_evict());
            evicted.evict(&mut self.guess_limit);
            self.linger(Arc::clone(evicted.socket()));
        }
        // Handle the login at once instead of polling first: most clients have already sent their
        // name.
        self.step(login);
    }

    /// Returns the position in `logins` of the login to evict: the oldest one of the network with
    /// the most pending logins. So a client that connects in a loop cannot evict a person at
    /// another address who is still typing a name.
    fn position_to_evict(&self) -> usize {
        let mut counts = HashMap::new();
        for login in &self.logins {
            *counts.entry(login.network()).or_insert(0) += 1;
        }
        let most = counts.values().max();
        let mut logins = self.logins.iter();
        logins
            .position(|login| counts.get(&login.network()) == most)
            .unwrap_or_default()
    }

    /// Stops accepting for a while after a failed accept.
    fn back_off(&mut self, error: &io::Error) {
        if self.stop.is_stopped() {
            return;
        }
        self.report(format!(
            "cannot accept connections: {error}; end other programs, or raise `ulimit -n`"
        ));
        self.paused_until = Some(Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
    }

    fn report(&mut self, problem: String) {
        if self
            .reported
            .is_none_or(|then| then.elapsed() >= REPORT_INTERVAL)
        {
            self.reported = Some(Instant::now());
            self.shared.log.post(Entry::Error(problem));
        }
    }

    /// Handles the input and the deadlines of a pending login.
    fn step(&mut self, mut login: PendingLogin<'env>) {
        let mut input = [0; READ];
        let limit = &mut self.guess_limit;
        // Catch a panic, so that it ends only this connection and not the server.
        let step = catch_unwind(AssertUnwindSafe(|| login.step(&mut input, limit)));
        match step {
            Ok(LoginStep::Pending) => self.logins.push(login),
            Ok(LoginStep::Rejected) => self.linger(Arc::clone(login.socket())),
            Ok(LoginStep::LoggedIn(admitted)) => {
                let session = Session::new(self.shared, Arc::clone(&self.delivery), admitted);
                if session.member().has_input() {
                    self.start(session);
                } else {
                    self.threadless.push_back((Instant::now(), session));
                    self.start_surplus();
                }
            }
            Err(_) => self.shared.log.post(Entry::Error(
                "the login of a client failed; please report this".into(),
            )),
        }
    }

    /// Keeps a connection open until the peer has read the last line. Beyond [`MAX_LINGERING`],
    /// closes the connection that has lingered longest.
    fn linger(&mut self, socket: Arc<TcpStream>) {
        // Ignore the limit during shutdown: no more connections are accepted, so only the pending
        // logins and the members without a reader thread can still be added.
        let max = MAX_LINGERING.min(self.max_logins);
        if self.lingering.len() >= max && !self.stop.is_stopped() {
            if let Some((_, oldest)) = self.lingering.pop_front() {
                net::abort(&oldest);
            }
            self.shared.linger.closed();
        }
        self.lingering.push_back((Instant::now() + LINGER, socket));
    }

    /// If more members wait for a reader thread than there can be reader threads, starts the
    /// threads of those that have waited longest. The number of seats does not limit this queue: a
    /// client that resumes again and again takes one seat, but adds an entry each time.
    fn start_surplus(&mut self) {
        while self.threadless.len() > self.shared.thread_budget.max_readers()
            && let Some((_, session)) = self.threadless.pop_front()
        {
            self.start(session);
        }
    }

    /// Starts the reader threads that are due, up to [`MAX_PER_ITERATION`].
    fn start_due(&mut self) {
        let now = Instant::now();
        for _ in 0..MAX_PER_ITERATION {
            if self.thread_due().is_none_or(|due| due > now) {
                return;
            }
            if let Some((_, session)) = self.threadless.pop_front() {
                self.start(session);
            }
        }
    }

    /// Starts a member's reader thread. Blocks while the thread budget is exhausted. If the thread
    /// cannot be started, sends an error to the member and removes it.
    fn start(&mut self, session: Session<'scope, 'env>) {
        let shared = self.shared;
        let member = session.member();
        let (connection, name) = (member.connection, member.name.clone());
        let socket = Arc::clone(&member.socket);
        // While this call waits for a permit, it closes lingering connections, so that their reader
        // threads end and return their permits.
        let Some(permit) = shared.thread_budget.reader(|| shared.linger.close_oldest()) else {
            // The thread budget is closed because the server is shutting down.
            return self.linger(socket);
        };
        let builder = Builder::new().name(os::thread_name("c:", name.as_str()));
        let serve = || session.run(permit);
        let builder = builder.stack_size(STACK);
        if let Err(error) = shared.gauges.spawn(self.scope, builder, serve) {
            let told = "the server has no thread left: try again later";
            shared.room.cut(connection, told, "no thread");
            self.report(format!(
                "{name} cannot be served: {error}; end other programs, or raise `ulimit -u`"
            ));
            self.linger(socket);
        }
    }
}

/// Discards input from a connection whose last line was sent. Returns whether the peer has closed
/// the connection.
fn is_closed(socket: &TcpStream) -> bool {
    match net::receive_now(socket, &mut [0; READ]) {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}
