//! A proxy between a server and its clients, which does to their bytes what networks do: takes them apart, holds them up, breaks off.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::SockRef;

use super::{Client, DEADLINE};

/// Bytes of one direction that [`Step::Apart`] sends alone. Some 10 µs each: who has more to say than this is a load, and its rest comes
/// as it comes.
const ALONE: usize = 256;

/// What is done to the bytes of one direction of a connection, one step after the other. What comes after the last step is passed
/// on as it comes, and so is the end of the connection, also where it breaks.
#[derive(Clone, Debug)]
pub enum Step {
    /// Passes on what comes, up to the end of these bytes.
    To(Vec<u8>),
    /// From here on each byte is sent alone, up to [`ALONE`] of them.
    Apart,
    /// Passes nothing on for so long.
    Pause(Duration),
    /// Reads nothing until [`Proxy::go_on`].
    Stall,
    /// Ends this direction: the other one goes on.
    End,
    /// Breaks the connection, both ways.
    Reset,
}

/// What is done to one connection.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// From the client to the server.
    pub up: Vec<Step>,
    /// From the server to the client.
    pub down: Vec<Step>,
}

impl Plan {
    /// Each byte alone, both ways.
    pub fn apart() -> Self {
        Self {
            up: vec![Step::Apart],
            down: vec![Step::Apart],
        }
    }

    /// `step` behind these bytes of the client's.
    pub fn up(bytes: impl AsRef<[u8]>, step: Step) -> Self {
        Self {
            up: vec![Step::To(bytes.as_ref().into()), step],
            down: Vec::new(),
        }
    }

    /// `step` behind these bytes of the server's.
    pub fn down(bytes: impl AsRef<[u8]>, step: Step) -> Self {
        Self {
            up: Vec::new(),
            down: vec![Step::To(bytes.as_ref().into()), step],
        }
    }
}

/// A proxy on a port of its own. It takes no more connections when this is dropped; each that it has ends with its two sides.
pub struct Proxy {
    listener: Arc<TcpListener>,
    gate: Arc<Gate>,
}

impl Proxy {
    /// Stands before `server`. The first connections are treated by `plans`, one each, and all later ones by `others`.
    #[track_caller]
    pub fn start(server: SocketAddr, plans: Vec<Plan>, others: Plan) -> Self {
        // It needs two descriptors for each connection.
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        let _ = setrlimit(Resource::Nofile, limit);
        let listener = TcpListener::bind((server.ip(), 0)).expect("a port on loopback");
        let proxy = Self {
            listener: Arc::new(listener),
            gate: Arc::default(),
        };
        let (listener, gate) = (Arc::clone(&proxy.listener), Arc::clone(&proxy.gate));
        thread::spawn(move || {
            let mut plans = plans.into_iter().chain(std::iter::repeat(others));
            while let (Ok((client, _)), Some(plan)) = (listener.accept(), plans.next()) {
                // Where the server is gone, the client's connection ends.
                if let Ok(server) = TcpStream::connect(server) {
                    connect(client, server, plan, &gate);
                }
            }
        });
        proxy
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it listens")
    }

    /// A connection through it.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// Waits until a connection has come to its [`Step::Stall`].
    #[track_caller]
    pub fn expect_stalled(&self) {
        let stalled = self.gate.wait_until(DEADLINE, |gate| gate.has_stalled);
        assert!(stalled, "no connection has stalled");
    }

    /// Lets go on what has stalled.
    pub fn go_on(&self) {
        self.gate.lock().is_open = true;
        self.gate.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // On Linux, this ends the accept. Elsewhere, the thread ends with the tests.
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        self.go_on();
    }
}

/// Where connections stall.
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

    /// Whether that came true in time.
    fn wait_until(&self, patience: Duration, is_true: impl Fn(&GateState) -> bool) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), patience, |state| !is_true(state));
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
    for (from, to, steps) in [(&client, &server, plan.up), (&server, &client, plan.down)] {
        // Or the kernel would put bytes together while it waits for the last ones to be acknowledged.
        to.set_nodelay(true).expect("it is a TCP socket");
        let mut direction = Direction {
            from: Arc::clone(from),
            to: Arc::clone(to),
            alone: 0,
            is_broken: Arc::clone(&is_broken),
            gate: Arc::clone(gate),
        };
        thread::spawn(move || direction.run(steps));
    }
}

/// One direction of a connection.
struct Direction {
    from: Arc<TcpStream>,
    to: Arc<TcpStream>,
    /// How many bytes more are to be sent alone.
    alone: usize,
    /// The connection is, in whichever direction it was found.
    is_broken: Arc<AtomicBool>,
    gate: Arc<Gate>,
}

/// Why nothing more comes.
enum Over {
    Ended,
    Broken,
}

impl Direction {
    fn run(&mut self, steps: Vec<Step>) {
        match self.follow(steps) {
            // What was broken must not look as if it had ended.
            Ok(()) | Err(Over::Ended) if self.is_broken.load(Ordering::SeqCst) => {}
            Ok(()) | Err(Over::Ended) => {
                // Where it fails, the connection is over.
                let _ = self.to.shutdown(Shutdown::Write);
            }
            Err(Over::Broken) => {
                self.is_broken.store(true, Ordering::SeqCst);
                for side in [&self.from, &self.to] {
                    // The kernel sends a reset when both threads have let it go; the other one is woken for that.
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
                Step::To(bytes) => held = self.pass_to(held, &bytes)?,
                Step::Apart => self.alone = ALONE,
                Step::Pause(time) => thread::sleep(time),
                Step::Stall => self.gate.pass(),
                Step::End => return Ok(()),
                Step::Reset => return Err(Over::Broken),
            }
        }
        loop {
            self.pass(&held)?;
            held = self.read()?;
        }
    }

    /// Passes on `held`, and what comes, up to the end of `bytes`, and gives back what was read beyond.
    fn pass_to(&mut self, held: Vec<u8>, bytes: &[u8]) -> Result<Vec<u8>, Over> {
        let (mut seen, mut passed) = (held, 0);
        loop {
            if let Some(at) = seen.windows(bytes.len()).position(|part| part == bytes) {
                let rest = seen.split_off(at + bytes.len());
                self.pass(&seen[passed..])?;
                return Ok(rest);
            }
            self.pass(&seen[passed..])?;
            passed = seen.len();
            seen.extend(self.read()?);
        }
    }

    fn read(&self) -> Result<Vec<u8>, Over> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match (&*self.from).read(&mut chunk) {
                Ok(0) => return Err(Over::Ended),
                Ok(read) => return Ok(chunk[..read].into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Over::Broken),
            }
        }
    }

    fn pass(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let (alone, rest) = bytes.split_at(self.alone.min(bytes.len()));
        self.alone -= alone.len();
        for byte in alone.chunks(1) {
            (&*self.to).write_all(byte).map_err(|_| Over::Broken)?;
            // Whoever reads is given the time to.
            thread::yield_now();
        }
        (&*self.to).write_all(rest).map_err(|_| Over::Broken)
    }
}
