//! The live view: shows what the server's threads, locks and queues are doing.
//!
//! ```text
//!   session's thread ── watch, print ──▶ thread `live` ── sample ──▶ chat-server's `sampler`
//!                    ◀──── Snapshot ────      │       ◀── JSON ───
//!                                             └─ /proc: threads, sockets
//! ```
//!
//! The thread `live` asks the server for samples only while somebody watches. Otherwise, it sleeps,
//! and the server measures nothing. At the end, it receives the server's checksums for the proof
//! ([`crate::launcher::proof`]).

pub(crate) mod screen;
pub(crate) mod snapshot;

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::launcher::live::snapshot::{LiveClient, Snapshot, name_connections};
use crate::os;
use crate::probe::kernel::{TcpSockets, ThreadSampler, ThreadSamples};
use crate::probe::sample::{ASK, Proof, Report, STOP, Sample};
use crate::sync::Mutex;

/// Time between two samples while somebody watches.
const INTERVAL: Duration = Duration::from_millis(250);

/// Number of intervals over which rates are measured: one second.
const RATE_INTERVALS: usize = 4;

/// Limit on the length of a line from the server, in bytes. The longest line has the checksums
/// of 100,000 events.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// The socket to which the server will connect. It listens before the server is started.
pub(crate) struct SampleSocket {
    name: String,
    listener: UnixListener,
}

impl SampleSocket {
    /// Starts listening under a new random name.
    ///
    /// # Errors
    /// No random number or socket is available.
    pub(crate) fn listen() -> io::Result<Self> {
        let random = getrandom::u64().map_err(io::Error::other)?;
        let name = format!("chat-run-{}-{random:016x}", std::process::id());
        let listener = os::listen_locally(OsStr::new(&name))?;
        listener.set_nonblocking(true)?;
        Ok(Self { name, listener })
    }

    /// The name to pass to the server as `--sample-socket`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for SampleSocket {
    fn drop(&mut self) {
        os::forget_locally(OsStr::new(&self.name));
    }
}

/// An event from the thread `live`.
pub(crate) enum LiveEvent {
    /// A snapshot to show, sent every [`INTERVAL`] while somebody watches.
    Frame(Box<Snapshot>),
    /// The answer to [`LiveView::print`].
    Print(Box<Snapshot>),
    /// The server has closed the room. Sent even if nobody watches.
    Proof(Proof),
    /// The server has closed its connection, so no proof follows.
    Closed,
}

/// Handle of the thread `live`. Dropping the handle ends the thread.
pub(crate) struct LiveView {
    requests: Arc<Mutex<Requests>>,
    /// A byte wakes the thread. The end of the input ends it.
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

/// Requests from the session to the thread.
#[derive(Default)]
struct Requests {
    is_watched: bool,
    wants_print: bool,
    port: Option<u16>,
    clients: Vec<LiveClient>,
}

impl LiveView {
    /// Starts the thread for the server with the process ID `server`. `on_event` is called in the
    /// thread.
    ///
    /// # Errors
    /// A socket or the thread cannot be created.
    pub(crate) fn start(
        socket: SampleSocket,
        server: i32,
        on_event: impl Fn(LiveEvent) + Send + 'static,
    ) -> io::Result<Self> {
        let requests = Arc::new(Mutex::new(Requests::default()));
        let (wake, woken) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let shared = Arc::clone(&requests);
        let thread = thread::Builder::new().name("live".into()).spawn(move || {
            let mut observer = Observer::new(socket, server, shared, on_event);
            while observer.step(&woken) {}
        })?;
        Ok(Self {
            requests,
            wake,
            thread: Some(thread),
        })
    }

    /// Sets the port on which the server listens.
    pub(crate) fn set_port(&self, port: u16) {
        self.requests.lock().port = Some(port);
    }

    /// Sets the clients of the session.
    pub(crate) fn set_clients(&self, clients: Vec<LiveClient>) {
        self.requests.lock().clients = clients;
    }

    /// Turns the [`LiveEvent::Frame`] events on or off.
    pub(crate) fn watch(&self, is_watched: bool) {
        self.requests.lock().is_watched = is_watched;
        self.wake();
    }

    /// Requests one [`LiveEvent::Print`], which takes about a second.
    pub(crate) fn print(&self) {
        self.requests.lock().wants_print = true;
        self.wake();
    }

    fn wake(&self) {
        // Ignore an error, which means that the thread has ended.
        let _ = (&self.wake).write_all(b"x");
    }
}

impl Drop for LiveView {
    fn drop(&mut self) {
        let _ = self.wake.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The state of the thread `live`.
struct Observer<F> {
    socket: SampleSocket,
    server: i32,
    requests: Arc<Mutex<Requests>>,
    on_event: F,
    connection: Option<SampleConnection>,
    threads: ThreadSampler,
    /// When to ask for the next sample. `None` while no samples are wanted.
    next: Option<Instant>,
    /// The measurements of the last second, oldest first.
    history: VecDeque<Measurement>,
    last: Option<(Sample, Instant)>,
    last_but_one: Option<Sample>,
}

struct Measurement {
    at: Instant,
    sample: Option<Sample>,
    threads: Option<ThreadSamples>,
}

impl<F: Fn(LiveEvent)> Observer<F> {
    fn new(socket: SampleSocket, server: i32, requests: Arc<Mutex<Requests>>, on_event: F) -> Self {
        Self {
            socket,
            server,
            requests,
            on_event,
            connection: None,
            threads: ThreadSampler::new(server),
            next: None,
            history: VecDeque::new(),
            last: None,
            last_but_one: None,
        }
    }

    /// Waits for one event and handles it. Returns false when the thread must end.
    fn step(&mut self, woken: &UnixStream) -> bool {
        let timeout = self.next.and_then(|next| {
            let left = next.saturating_duration_since(Instant::now());
            Timespec::try_from(left).ok()
        });
        let mut fds = vec![
            PollFd::new(woken, PollFlags::IN),
            PollFd::new(&self.socket.listener, PollFlags::IN),
        ];
        if let Some(connection) = &self.connection {
            fds.push(PollFd::new(&connection.socket, PollFlags::IN));
        }
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[0] {
            match (&mut &*woken).read(&mut [0; 64]) {
                Ok(0) => return false,
                Ok(_) | Err(_) => self.follow_requests(),
            }
        }
        // Ignore connections from other processes.
        if ready[1]
            && let Ok((socket, _)) = self.socket.listener.accept()
            && let Ok(connection) = SampleConnection::new(socket, self.server)
        {
            self.connection = Some(connection);
        }
        if ready.get(2) == Some(&true) {
            self.receive();
        }
        if self.next.is_some_and(|next| next <= Instant::now()) {
            self.tick();
        }
        true
    }

    fn follow_requests(&mut self) {
        let is_wanted = {
            let requests = self.requests.lock();
            requests.is_watched || requests.wants_print
        };
        if is_wanted && self.next.is_none() {
            self.next = Some(Instant::now());
        } else if !is_wanted && self.next.take().is_some() {
            // Close the files of the threads.
            self.threads = ThreadSampler::new(self.server);
            self.history.clear();
            (self.last, self.last_but_one) = (None, None);
            if let Some(connection) = &mut self.connection {
                connection.send(STOP);
            }
        }
    }

    fn receive(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let Ok(reports) = connection.receive() else {
            // The server has ended.
            self.connection = None;
            (self.on_event)(LiveEvent::Closed);
            return;
        };
        for report in reports {
            match report {
                Report::Sample(sample) if self.next.is_some() => {
                    let before = self.last.replace((sample, Instant::now()));
                    self.last_but_one = before.map(|(sample, _)| sample);
                    self.publish();
                }
                Report::Sample(_) => {}
                Report::Proof(proof) => (self.on_event)(LiveEvent::Proof(proof)),
            }
        }
    }

    /// Asks the server for the next sample. If the last request has not been answered, instead
    /// publishes the old sample with new values from the kernel.
    fn tick(&mut self) {
        self.next = Some(Instant::now() + INTERVAL);
        match &mut self.connection {
            Some(connection) if !connection.is_asked => connection.ask(),
            Some(_) | None => self.publish(),
        }
    }

    fn publish(&mut self) {
        let (port, clients, is_watched, wants_print) = {
            let requests = self.requests.lock();
            let clients = requests.clients.clone();
            (
                requests.port,
                clients,
                requests.is_watched,
                requests.wants_print,
            )
        };
        let now = Instant::now();
        let threads = self.threads.sample();
        let sockets = TcpSockets::read();
        let connections = port.map_or_else(Vec::new, |port| sockets.connections(port));
        self.history.push_back(Measurement {
            at: now,
            sample: self.last.as_ref().map(|(sample, _)| sample.clone()),
            threads: threads.clone(),
        });
        let is_full = self.history.len() > RATE_INTERVALS;
        while self.history.len() > RATE_INTERVALS + 1 {
            self.history.pop_front();
        }
        let before = self.history.front();
        let cpu_before = before.and_then(|before| {
            let times = before.threads.as_ref()?.threads.iter();
            let times = times.map(|thread| (thread.tid, thread.cpu)).collect();
            Some((now - before.at, times))
        });
        let snapshot = Box::new(Snapshot {
            sample: self.last.clone(),
            sample_before: before.and_then(|before| before.sample.clone()),
            last_sample: self.last_but_one.clone(),
            threads,
            cpu_before,
            connections: name_connections(connections, &clients, |pid| sockets.of_process(pid)),
            clients,
        });
        if wants_print && is_full {
            self.requests.lock().wants_print = false;
            (self.on_event)(LiveEvent::Print(snapshot.clone()));
            self.follow_requests();
        }
        if is_watched {
            (self.on_event)(LiveEvent::Frame(snapshot));
        }
    }
}

/// The connection from the server's thread `sampler`.
struct SampleConnection {
    socket: UnixStream,
    /// The received beginning of a line whose end has not arrived.
    received: Vec<u8>,
    /// Whether the server was asked for a sample and has not answered yet.
    is_asked: bool,
}

impl SampleConnection {
    /// # Errors
    /// The peer is not the process `server`.
    fn new(socket: UnixStream, server: i32) -> io::Result<Self> {
        os::check_peer_user(&socket)?;
        if os::Process::peer(&socket, server)?.pid() != server {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            received: Vec::new(),
            is_asked: false,
        })
    }

    fn ask(&mut self) {
        self.is_asked = true;
        self.send(ASK);
    }

    /// Sends a line. It always fits into the socket, because few earlier lines are unread, even if
    /// the server is stopped.
    fn send(&mut self, line: &str) {
        // Ignore an error, which means that the server has ended.
        let _ = self.socket.write_all(format!("{line}\n").as_bytes());
    }

    /// Receives what has arrived, and returns the complete reports.
    ///
    /// # Errors
    /// The connection has ended, or a line is not a report.
    fn receive(&mut self) -> io::Result<Vec<Report>> {
        let mut buffer = [0; 16 * 1024];
        match self.socket.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.received.extend_from_slice(&buffer[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
        let mut reports = Vec::new();
        while let Some(end) = memchr::memchr(b'\n', &self.received) {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            let report: Report = serde_json::from_slice(&line)?;
            self.is_asked &= !matches!(report, Report::Sample(_));
            reports.push(report);
        }
        if self.received.len() > MAX_LINE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(reports)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Lines};
    use std::sync::mpsc::{self, Receiver};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// A live view for which the test acts as the server.
    struct Fixture {
        view: LiveView,
        events: Receiver<LiveEvent>,
        requests: Lines<BufReader<UnixStream>>,
        answers: UnixStream,
    }

    impl Fixture {
        fn new() -> Self {
            let socket = SampleSocket::listen().unwrap();
            let answers = os::connect_locally(OsStr::new(socket.name())).unwrap();
            answers.set_read_timeout(Some(DEADLINE)).unwrap();
            let (sender, events) = mpsc::channel();
            // Ignore an error: the test has ended.
            let on_event = move |event| drop(sender.send(event));
            let view = LiveView::start(socket, std::process::id() as i32, on_event).unwrap();
            Self {
                view,
                events,
                requests: BufReader::new(answers.try_clone().unwrap()).lines(),
                answers,
            }
        }

        fn request(&mut self) -> String {
            self.requests.next().unwrap().unwrap()
        }

        fn answer(&mut self, members: usize) {
            let sample = Sample {
                members,
                ..Sample::default()
            };
            let mut line = serde_json::to_string(&Report::Sample(sample)).unwrap();
            line.push('\n');
            self.answers.write_all(line.as_bytes()).unwrap();
        }

        /// The number of members in the next frame. `None` if the server has not answered.
        fn members(&self) -> Option<usize> {
            match self.events.recv_timeout(DEADLINE).unwrap() {
                LiveEvent::Frame(snapshot) => snapshot.sample.map(|(sample, _)| sample.members),
                LiveEvent::Print(_) | LiveEvent::Proof(_) | LiveEvent::Closed => {
                    panic!("not a frame")
                }
            }
        }
    }

    #[test]
    fn the_server_is_asked_only_while_somebody_watches() {
        let mut live = Fixture::new();
        live.view.watch(true);
        assert_eq!(live.request(), ASK);
        live.answer(3);
        assert_eq!(live.members(), Some(3));
        assert_eq!(live.request(), ASK);
        live.view.watch(false);
        assert_eq!(live.request(), STOP);
        live.answer(4);
        live.view.watch(true);
        assert_eq!(live.request(), ASK);
        live.answer(5);
        while live.members() != Some(5) {}
    }

    #[test]
    fn a_server_that_does_not_answer_is_asked_only_once_and_frames_still_arrive() {
        let mut live = Fixture::new();
        live.view.watch(true);
        assert_eq!(live.request(), ASK);
        for _ in 0..3 {
            assert_eq!(live.members(), None);
        }
        live.answer(3);
        while live.members().is_none() {}
        live.view.watch(false);
        // While the answer was missing, no request was sent. One may have been sent after it.
        let next = live.request();
        assert!(
            next == STOP || next == ASK && live.request() == STOP,
            "{next}"
        );
    }

    #[test]
    fn the_view_is_printed_once_when_it_has_the_samples_of_a_second() {
        let mut live = Fixture::new();
        live.view.print();
        loop {
            match live.request().as_str() {
                ASK => live.answer(3),
                request => break assert_eq!(request, STOP),
            }
        }
        match live.events.recv_timeout(DEADLINE).unwrap() {
            LiveEvent::Print(snapshot) => assert!(snapshot.sample_before.is_some()),
            LiveEvent::Frame(_) | LiveEvent::Proof(_) | LiveEvent::Closed => {
                panic!("nothing was printed")
            }
        }
    }

    #[test]
    fn the_longest_proof_arrives_although_nobody_watches() {
        let mut live = Fixture::new();
        let proof = Proof {
            first: u64::MAX,
            sums: vec![u64::MAX; 100_001],
            ..Proof::default()
        };
        let line = serde_json::to_string(&Report::Proof(proof.clone())).unwrap();
        writeln!(live.answers, "{line}").unwrap();
        live.answers.shutdown(Shutdown::Both).unwrap();
        match live.events.recv_timeout(DEADLINE).unwrap() {
            LiveEvent::Proof(received) => assert!(received == proof),
            LiveEvent::Frame(_) | LiveEvent::Print(_) | LiveEvent::Closed => panic!("no proof"),
        }
        let end = live.events.recv_timeout(DEADLINE).unwrap();
        assert!(matches!(end, LiveEvent::Closed));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_connection_of_another_process_is_closed() {
        let socket = SampleSocket::listen().unwrap();
        let mut rude = os::connect_locally(OsStr::new(socket.name())).unwrap();
        rude.set_read_timeout(Some(DEADLINE)).unwrap();
        // The view expects process 1 as the server, so it must refuse this process.
        let _view = LiveView::start(socket, 1, |_| {}).unwrap();
        assert_eq!(rude.read(&mut [0]).unwrap(), 0);
    }
}
