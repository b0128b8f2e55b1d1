//! Samples of a busy server.

use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use chat_run::probe::deadlock::Deadlock;
use chat_run::probe::sample::{ASK, LockState, Report, Sample};
use support::observer::Observer;

use crate::alone;

/// Number of members that send without a pause.
const SENDERS: usize = 4;

/// Number of samples.
const SAMPLES: usize = 10_000;

/// How much longer, in nanoseconds, a hold may appear while it ends: the observer's processor sees
/// the end a moment later.
const SLACK: u64 = 100_000;

/// Ends the senders, even if the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn sample(observer: &mut Observer) -> Sample {
    observer.send(ASK);
    let line = observer.report().expect("a report");
    match serde_json::from_str(&line).expect("a report is JSON") {
        Report::Sample(sample) => sample,
        Report::Proof(_) => panic!("a proof before the end"),
    }
}

#[test]
fn a_busy_server_is_never_reported_as_deadlocked() {
    let _alone = alone();
    let (server, mut observer) = Observer::start(&["--rate", "0"]);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = End(&is_over);
        for sender in 0..SENDERS {
            let member = server.join(&format!("m{sender}"));
            let sockets = [(); 2].map(|()| member.socket().try_clone().expect("a descriptor"));
            let [mut input, mut output] = sockets;
            let is_over = &is_over;
            scope.spawn(move || std::io::copy(&mut input, &mut std::io::sink()));
            scope.spawn(move || {
                // A member that is too slow on a busy machine is disconnected.
                while !is_over.load(Ordering::Relaxed)
                    && output.write_all(&b"hello\n".repeat(20)).is_ok()
                {}
                // End the reader. An error means that it has ended already.
                let _ = output.shutdown(Shutdown::Both);
            });
        }
        let first = sample(&mut observer);
        let (mut earlier, mut held) = (first.clone(), 0);
        for _ in 0..SAMPLES {
            let later = sample(&mut observer);
            assert_eq!(
                Deadlock::find(&earlier, &later),
                None,
                "{earlier:?}\n{later:?}"
            );
            for (before, after) in earlier.locks.iter().zip(&later.locks) {
                let is_exact = before.state != LockState::Busy && after.state != LockState::Busy;
                assert!(
                    !is_exact || after.held + SLACK >= before.held,
                    "{before:?}\n{after:?}"
                );
                held += usize::from(matches!(after.state, LockState::Held { .. }));
            }
            earlier = later;
        }
        // The server was busy, and holders were seen.
        assert!(earlier.delivery.rounds > first.delivery.rounds && held > 0);
    });
    server.stop();
}
