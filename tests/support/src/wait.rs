//! Waiting for a condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for any condition, generous for a busy machine. A passing test never waits for it.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Interval between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `fact` returns a value, at most [`DEADLINE`]. `what` describes it in a failure.
#[track_caller]
pub fn wait_until<T>(what: &str, fact: impl FnMut() -> Option<T>) -> T {
    wait_at_most(DEADLINE, what, || "nothing".into(), fact)
}

/// Calls `answer` until it returns a value.
///
/// # Panics
/// Panics after `deadline`, with `what` and the output of `captured`.
#[track_caller]
pub fn wait_at_most<T>(
    deadline: Duration,
    what: &str,
    captured: impl Fn() -> String,
    mut answer: impl FnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(
            began.elapsed() < deadline,
            "timed out after {deadline:?}, waiting for: {what}; captured:\n{}",
            captured()
        );
        thread::sleep(POLL_INTERVAL);
    }
}
