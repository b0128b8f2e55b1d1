//! A proxy between a server and its clients that splits, delays and cuts off their bytes as a
//! network may.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::SockRef;

use super::{Client, DEADLINE};

/// Number of bytes that [`Step::SingleBytes`] sends one at a time in each direction. At some 10 µs
/// per byte, a load test would take too long, so the rest is forwarded unsplit.
const MAX_SINGLE_BYTES: usize = 256;

/// A step applied to one direction of a connection. After the last step, all bytes are forwarded,
/// and so is the end of the connection, whether a close or a reset.
#[derive(Clone, Debug)]
pub enum Step {
    /// Forwards everything up to and including these bytes.
    ForwardTo(Vec<u8>),
    /// Discards everything up to and including these bytes.
    DiscardTo(Vec<u8>),
    /// Sends these bytes, as if they were from the other end.
    Insert(Vec<u8>),
    /// Sends the following bytes one at a time, up to [`MAX_SINGLE_BYTES`] of them.
    SingleBytes,
    /// Forwards nothing for this long.
    Pause(Duration),
    /// Reads nothing until [`Proxy::resume`].
    Stall,
    /// Closes this direction; the other one stays open.
    Close,
    /// Resets the connection in both directions.
    Reset,
}

/// The steps for one connection.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// From the client to the server.
    pub up: Vec<Step>,
    /// From the server to the client.
    pub down: Vec<Step>,
}

impl Plan {
    /// Sends single bytes in both directions.
    pub fn single_bytes() -> Self {
        Self {
            up: vec![Step::SingleBytes],
            down: vec![Step::SingleBytes],
        }
    }

    /// `step` after these bytes from the client.
    pub fn up(bytes: impl AsRef<[u8]>, step: Step) -> Self {
        Self {
            up: vec![Step::ForwardTo(bytes.as_ref().into()), step],
            down: Vec::new(),
        }
    }

    /// `step` after these bytes from the server.
    pub fn down(bytes: impl AsRef<[u8]>, step: Step) -> Self {
        Self {
            up: Vec::new(),
            down: vec![Step::ForwardTo(bytes.as_ref().into()), step],
        }
    }
}

/// A proxy on a free port. When dropped, it accepts no more connections; an open one ends with its
/// client and server.
pub struct Proxy {
    listener: Arc<TcpListener>,
    gate: Arc<Gate>,
}

impl Proxy {
    /// Starts a proxy for `server`. The first connections follow `plans`, one each, and all later
    /// ones follow `others`.
    #[track_caller]
    pub fn start(server: SocketAddr, plans: Vec<Plan>, others: Plan) -> Self {
        // Each connection needs two descriptors.
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        let _ = setrlimit(Resource::Nofile, limit);
        let listener = TcpListener::bind((server.ip(), 0)).expect("a port on loopback");
        let proxy = Self {
            listener: Arc::new(listener),
            gate: Arc::default(),
        };
        // Urgent data is forwarded too, as ordinary data. Accepted sockets inherit the option.
        let urgent = SockRef::from(&*proxy.listener).set_out_of_band_inline(true);
        urgent.expect("it is a TCP socket");
        let (listener, gate) = (Arc::clone(&proxy.listener), Arc::clone(&proxy.gate));
        thread::spawn(move || {
            let mut plans = plans.into_iter().chain(std::iter::repeat(others));
            while let (Ok((client, _)), Some(plan)) = (listener.accept(), plans.next()) {
                // If the server is gone, the client's connection is closed.
                if let Ok(server) = TcpStream::connect(server) {
                    connect(client, server, plan, &gate);
                }
            }
        });
        proxy
    }

    /// Address for clients.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it listens")
    }

    /// Connects through the proxy.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// Waits until a connection has reached its [`Step::Stall`].
    #[track_caller]
    pub fn expect_stalled(&self) {
        let stalled = self.gate.wait_until(DEADLINE, |gate| gate.has_stalled);
        assert!(stalled, "no connection has stalled");
    }

    /// Resumes all stalled connections.
    pub fn resume(&self) {
        self.gate.lock().is_open = true;
        self.gate.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // On Linux, this ends accept(2). Elsewhere, the thread ends with the test program.
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        self.resume();
    }
}

/// Gate at which connections stall.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    has_stalled: bool,
    is_open: bool,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `condition` holds; false after `timeout`.
    fn wait_until(&self, timeout: Duration, condition: impl Fn(&GateState) -> bool) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |state| !condition(state));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn pass(&self) {
        self.lock().has_stalled = true;
        self.changed.notify_all();
        self.wait_until(DEADLINE, |gate| gate.is_open);
    }
}

/// Starts a thread for each direction.
fn connect(client: TcpStream, server: TcpStream, plan: Plan, gate: &Arc<Gate>) {
    let (client, server) = (Arc::new(client), Arc::new(server));
    let is_broken = Arc::new(AtomicBool::new(false));
    let is_half_closed = Arc::new(AtomicBool::new(false));
    for (from, to, steps) in [(&client, &server, plan.up), (&server, &client, plan.down)] {
        // Otherwise Nagle's algorithm would merge bytes while earlier ones are unacknowledged.
        to.set_nodelay(true).expect("it is a TCP socket");
        let mut direction = Direction {
            from: Arc::clone(from),
            to: Arc::clone(to),
            single_bytes: 0,
            is_broken: Arc::clone(&is_broken),
            is_half_closed: Arc::clone(&is_half_closed),
            gate: Arc::clone(gate),
        };
        thread::spawn(move || direction.run(steps));
    }
}

/// One direction of a connection.
struct Direction {
    from: Arc<TcpStream>,
    to: Arc<TcpStream>,
    /// Number of bytes still to be sent one at a time.
    single_bytes: usize,
    /// Whether either direction of the connection has failed.
    is_broken: Arc<AtomicBool>,
    /// Whether either direction of the connection has ended without a failure.
    is_half_closed: Arc<AtomicBool>,
    gate: Arc<Gate>,
}

/// Reason why a direction has ended.
enum Over {
    Ended,
    Broken,
}

impl Direction {
    fn run(&mut self, steps: Vec<Step>) {
        match self.follow(steps) {
            // A reset connection must not look closed.
            Ok(()) | Err(Over::Ended) if self.is_broken.load(Ordering::SeqCst) => {}
            Ok(()) | Err(Over::Ended) => {
                self.is_half_closed.store(true, Ordering::SeqCst);
                // It fails if the connection is gone.
                let _ = self.to.shutdown(Shutdown::Write);
            }
            Err(Over::Broken) => {
                self.is_broken.store(true, Ordering::SeqCst);
                for side in [&self.from, &self.to] {
                    // The kernel sends a reset when both threads have dropped the socket; the
                    // shutdown wakes the other thread so that it does.
                    let _ = SockRef::from(&**side).set_linger(Some(Duration::ZERO));
                    let _ = side.shutdown(Shutdown::Read);
                }
            }
        }
    }

    fn follow(&mut self, steps: Vec<Step>) -> Result<(), Over> {
        let mut held = Vec::new();
        for step in steps {
            match step {
                Step::ForwardTo(bytes) => held = self.forward_to(held, &bytes)?,
                Step::DiscardTo(bytes) => held = self.discard_to(held, &bytes)?,
                Step::Insert(bytes) => self.forward(&bytes)?,
                Step::SingleBytes => self.single_bytes = MAX_SINGLE_BYTES,
                Step::Pause(time) => thread::sleep(time),
                Step::Stall => self.gate.pass(),
                Step::Close => return Ok(()),
                Step::Reset => return Err(Over::Broken),
            }
        }
        loop {
            self.forward(&held)?;
            held = self.read()?;
        }
    }

    /// Forwards `held` and what follows, up to the end of `bytes`, and returns what was read
    /// beyond.
    fn forward_to(&mut self, held: Vec<u8>, bytes: &[u8]) -> Result<Vec<u8>, Over> {
        let (mut seen, mut forwarded) = (held, 0);
        loop {
            if let Some(at) = seen.windows(bytes.len()).position(|part| part == bytes) {
                let rest = seen.split_off(at + bytes.len());
                self.forward(&seen[forwarded..])?;
                return Ok(rest);
            }
            self.forward(&seen[forwarded..])?;
            forwarded = seen.len();
            seen.extend(self.read()?);
        }
    }

    /// Reads `held` and what follows, up to the end of `bytes`, and returns what was read beyond.
    fn discard_to(&self, held: Vec<u8>, bytes: &[u8]) -> Result<Vec<u8>, Over> {
        let mut seen = held;
        loop {
            if let Some(at) = seen.windows(bytes.len()).position(|part| part == bytes) {
                return Ok(seen.split_off(at + bytes.len()));
            }
            seen.extend(self.read()?);
        }
    }

    fn is_half_closed(&self) -> bool {
        self.is_half_closed.load(Ordering::SeqCst)
    }

    fn read(&self) -> Result<Vec<u8>, Over> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match (&*self.from).read(&mut chunk) {
                // The kernel reports a reset once, perhaps to the other direction. After that, a
                // read returns 0, as after a close, but the socket has no peer any more.
                Ok(0) if self.from.peer_addr().is_err() && !self.is_half_closed() => {
                    return Err(Over::Broken);
                }
                Ok(0) => return Err(Over::Ended),
                Ok(read) => return Ok(chunk[..read].into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Over::Broken),
            }
        }
    }

    fn forward(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let (single, rest) = bytes.split_at(self.single_bytes.min(bytes.len()));
        self.single_bytes -= single.len();
        for byte in single.chunks(1) {
            (&*self.to).write_all(byte).map_err(|_| Over::Broken)?;
            // Gives the reader time to read the byte alone.
            thread::yield_now();
        }
        (&*self.to).write_all(rest).map_err(|_| Over::Broken)
    }
}
