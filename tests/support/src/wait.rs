//! Waiting for a fact, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for anything: a machine that does a lot else gets its time. A test that passes never waits for it.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often it is looked again.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `fact` gives something; fails with `what` when it does not in time.
#[track_caller]
pub fn wait_until<T>(what: &str, fact: impl FnMut() -> Option<T>) -> T {
    wait_at_most(
        DEADLINE,
        &format!("sign that {what}"),
        || "nothing".into(),
        fact,
    )
}

/// Asks until there is an answer, and gives it.
///
/// # Panics
/// There is none within `deadline`; shows what was waited for, and what `captured` has.
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
            "no {what} after {deadline:?}; captured:\n{}",
            captured()
        );
        thread::sleep(LOOK);
    }
}
