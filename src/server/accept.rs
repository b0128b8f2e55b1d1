//! Accepts connections, and gives each a thread.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use super::crowd::Served;
use super::log::Entry;
use super::{Shared, session};
use crate::os;

/// Stack of a client's thread, in bytes; what is not used takes no memory. Unoptimised builds need most of it.
const STACK: usize = 256 * 1024;

/// The pauses after an accept that failed, as when there are no more descriptors. Without them the loop would take
/// all of a processor.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often the operator is told that accepting fails.
const COMPLAIN: Duration = Duration::from_secs(5);

/// Ends the accepting threads.
#[derive(Default)]
pub(super) struct Stop {
    /// Guards whether it is time; no other lock is taken while it is held.
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes [`run`] return on each of `listeners`.
    pub(super) fn stop(&self, listeners: &[TcpListener]) {
        *self.lock() = true;
        self.changed.notify_all();
        for listener in listeners {
            os::stop_accepting(listener);
        }
    }

    fn is_stopped(&self) -> bool {
        *self.lock()
    }

    fn pause(&self, pause: Duration) {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), pause, |stopped| !*stopped);
        drop(waited);
    }
}

/// The body of a thread `accept`, one for each listening socket.
pub(super) fn run<'scope, 'env>(
    shared: &'env Shared,
    scope: &'scope Scope<'scope, 'env>,
    listener: &TcpListener,
    stop: &Stop,
) {
    let mut pause = FIRST_PAUSE;
    let mut complained: Option<Instant> = None;
    loop {
        // Nobody is kept waiting by who has had their say.
        let Some(place) = shared.crowd.next(|| shared.linger.hurry()) else {
            return;
        };
        let accepted = listener.accept();
        if stop.is_stopped() {
            return;
        }
        let started = match accepted {
            Ok((socket, peer)) => start(shared, scope, place, socket, peer),
            // The peer thought better of it.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            Err(error) => Err(format!(
                "nobody can connect: {error}; end other programs, or raise `ulimit -n`"
            )),
        };
        let Err(complaint) = started else {
            pause = FIRST_PAUSE;
            continue;
        };
        if complained.is_none_or(|then| then.elapsed() >= COMPLAIN) {
            complained = Some(Instant::now());
            shared.log.post(Entry::Error(complaint));
        }
        stop.pause(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn start<'scope, 'env>(
    shared: &'env Shared,
    scope: &'scope Scope<'scope, 'env>,
    place: Served<'env>,
    socket: TcpStream,
    peer: SocketAddr,
) -> Result<(), String> {
    let socket = Arc::new(socket);
    // The thread takes the socket with it, so where there is no thread this one says so to the client.
    let refused = Arc::clone(&socket);
    let serve = move || {
        let _place = place;
        // What fails for one client ends that client.
        if catch_unwind(AssertUnwindSafe(|| session::serve(shared, socket, peer))).is_err() {
            shared.log.post(Entry::Error(format!(
                "the thread of {peer} failed; please report this"
            )));
        }
    };
    match Builder::new()
        .name("login".into())
        .stack_size(STACK)
        .spawn_scoped(scope, serve)
    {
        Ok(_) => Ok(()),
        Err(error) => {
            // A new connection takes a line at once.
            let _ = (&*refused).write_all(b"! the server has no thread left: try again later\n");
            // What it has sent already, such as its name, must not make the kernel throw that line away.
            let _ = refused.shutdown(Shutdown::Write);
            let _ = refused.set_nonblocking(true);
            while matches!((&*refused).read(&mut [0; 512]), Ok(1..)) {}
            Err(format!(
                "{peer} cannot be served: {error}; end other programs, or raise `ulimit -u`"
            ))
        }
    }
}
