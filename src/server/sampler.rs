//! The thread `sampler`: tells the launcher, each time it asks, what the server is doing.
//!
//! The launcher asks through a local socket; see [`crate::probe::sample`]. The thread reads atomics
//! and takes no lock that it reports, so it answers even if the room's lock is never released.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::os;
use crate::probe::gauge::{self, Observation};
use crate::probe::sample::{ASK, Report, STOP, Sample};
use crate::server::Shared;
use crate::sync::thread::{Builder, Scope};

/// Limit on the backlogs in a sample, so that a sample has at most a few KB.
const MAX_BACKLOGS: usize = 16;

/// How long the launcher may take to read a report before the connection is closed.
const PATIENCE: Duration = Duration::from_secs(1);

/// The launcher's connection. Dropping this makes the thread `sampler` send the checksums, if there
/// are any, and end.
pub(crate) struct Sampler(UnixStream);

impl Sampler {
    /// Connects to the launcher's socket called `name`, and starts the thread. `send_buffer` is the
    /// value for [`Sample::send_buffer`].
    ///
    /// # Errors
    /// The launcher has exited, the socket belongs to another user, or no thread can be started.
    pub(crate) fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        shared: &'env Shared,
        name: &OsStr,
        send_buffer: Option<usize>,
    ) -> Result<Self> {
        let connect = || {
            let socket = os::connect_locally(name)?;
            os::check_peer_user(&socket)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok::<_, io::Error>((socket.try_clone()?, socket))
        };
        let (connection, socket) = connect().context("cannot connect to the launcher")?;
        let run = move || {
            // Ignore errors, which mean that the launcher has exited.
            let _ = answer(shared, send_buffer, &connection);
            if let Some(proof) = shared.gauges.proof(|| shared.room.totals().newcomers) {
                let _ = send(&connection, &Report::Proof(proof));
            }
            let _ = connection.shutdown(Shutdown::Both);
        };
        let builder = Builder::new().name("sampler".into());
        builder.spawn_scoped(scope, run).context(os::NO_THREAD)?;
        Ok(Self(socket))
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // Ignore an error, which means that the launcher has closed the connection.
        let _ = self.0.shutdown(Shutdown::Read);
    }
}

/// Answers the launcher's lines until the launcher exits or the room ends.
fn answer(shared: &Shared, send_buffer: Option<usize>, socket: &UnixStream) -> io::Result<()> {
    let mut observation = None;
    for line in BufReader::new(socket).lines() {
        match line?.as_str() {
            ASK => {
                observation.get_or_insert_with(Observation::begin);
                send(socket, &Report::Sample(sample(shared, send_buffer)))?;
            }
            STOP => observation = None,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(())
}

fn send(mut socket: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    socket.write_all(&line)
}

fn sample(shared: &Shared, send_buffer: Option<usize>) -> Sample {
    let (backlogs, behind) = shared.gauges.backlogs(MAX_BACKLOGS);
    let locks = [
        ("room", shared.room.lock_gauge()),
        ("pacer", shared.pacer.lock_gauge()),
        ("thread budget", shared.thread_budget.lock_gauge()),
    ];
    Sample {
        at: gauge::now(),
        locks: locks.map(|(name, gauge)| gauge.sample(name)).into(),
        pending: shared.room.pending(),
        delivery: shared.gauges.delivery(),
        members: shared.room.members_present(),
        backlogs,
        behind,
        send_buffer,
        threads: shared.gauges.threads(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::probe::sample::LockState;
    use crate::sync::thread;

    /// Runs `test` with a server's state, and a function that asks its sampler for a sample.
    fn observed(test: impl FnOnce(&Shared, &mut dyn FnMut() -> Sample)) {
        static TESTS: AtomicU32 = AtomicU32::new(0);
        let test_number = TESTS.fetch_add(1, Ordering::Relaxed);
        let name = format!("chat-sampler-test-{}-{test_number}", std::process::id());
        let listener = os::listen_locally(OsStr::new(&name)).unwrap();
        let shared = Shared::silent(2, 2);
        thread::scope(|scope| {
            let _sampler = Sampler::start(scope, &shared, OsStr::new(&name), Some(9216)).unwrap();
            let (connection, _) = listener.accept().unwrap();
            let mut reports = BufReader::new(&connection).lines();
            test(&shared, &mut || {
                writeln!(&connection, "{ASK}").unwrap();
                match serde_json::from_str(&reports.next().unwrap().unwrap()).unwrap() {
                    Report::Sample(sample) => sample,
                    Report::Proof(proof) => panic!("{proof:?}"),
                }
            });
        });
        os::forget_locally(OsStr::new(&name));
    }

    #[test]
    fn a_lock_that_is_held_for_300_ms_is_shown_with_its_holder_line_and_time() {
        observed(|shared, ask| {
            let first = ask();
            assert_eq!(first.locks[0].name, "room");
            assert_eq!(first.send_buffer, Some(9216));
            let before = Instant::now();
            shared.room.while_locked(|at| {
                let after = Instant::now();
                loop {
                    // The sampler answers while this thread holds the lock.
                    let asked = Instant::now();
                    let room = ask().locks.swap_remove(0);
                    let answered = Instant::now();
                    let LockState::Held {
                        thread,
                        line,
                        nanoseconds,
                    } = room.state
                    else {
                        panic!("{room:?}");
                    };
                    assert_eq!((thread, line), (os::thread_id(), at));
                    assert!(room.file.is_some_and(|file| file.ends_with("room.rs")));
                    let held = Duration::from_nanos(nanoseconds);
                    assert!(held >= asked - after && held <= answered - before);
                    if held >= Duration::from_millis(300) {
                        break;
                    }
                }
            });
            let room = ask().locks.swap_remove(0);
            assert_eq!(room.state, LockState::Free);
            assert!(room.longest >= 300_000_000 && room.held >= room.longest);
        });
    }
}
