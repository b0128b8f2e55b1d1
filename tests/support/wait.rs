//! Waiting for a fact, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for anything; a machine that is busy with other tests gets its time.
#[allow(dead_code, reason = "not each test file waits that long")]
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Asks until there is an answer, and gives it.
///
/// # Panics
/// There is none within `deadline`; shows what was waited for, and what `captured` has.
pub(crate) fn wait_at_most<T>(
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
        thread::sleep(Duration::from_millis(5));
    }
}
