//! Rate limit on the lines of one client.

use std::time::Duration;

use crate::sync::Instant;

/// Size of a burst, as a time. A client may send as many lines at once as the rate limit allows in
/// this time. Ten seconds are enough for pasted text.
pub(crate) const BURST: Duration = Duration::from_secs(10);

/// A leaky bucket whose level is a time. At a limit of n lines per second, each line raises the
/// level by 1/n s, and the bucket drains as time passes.
#[derive(Debug)]
pub(crate) struct Rate {
    /// Time by which each line raises the level; zero if there is no limit.
    line: Duration,
    /// Time at which the bucket will be empty.
    empty_at: Instant,
    /// Time at which the bucket would be empty if no line had been counted. It is later than the
    /// creation of the bucket if a part of the burst was not available from the beginning.
    initially_empty_at: Instant,
}

impl Rate {
    /// Creates a limit of `lines` per second after a burst; 0 for no limit. The time `used` is
    /// subtracted from the burst. If `used` is [`BURST`], even the first line waits.
    pub(crate) fn new(lines: u32, used: Duration, now: Instant) -> Self {
        let line = Duration::from_secs(1).checked_div(lines);
        Self {
            line: line.unwrap_or_default(),
            empty_at: now + used,
            initially_empty_at: now + used,
        }
    }

    /// How long to wait before the next line may be accepted; `None` if it may be accepted now.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let full = self.empty_at.saturating_duration_since(now) + self.line;
        full.checked_sub(BURST).filter(|over| !over.is_zero())
    }

    /// Counts an accepted line.
    pub(crate) fn count(&mut self, now: Instant) {
        self.count_lines(1, now);
    }

    /// Counts an accepted line as if it were `lines` lines.
    pub(crate) fn count_lines(&mut self, lines: u32, now: Instant) {
        self.empty_at = self.empty_at.max(now) + self.line * lines;
    }

    /// Returns the part of the burst, as a time, that counted lines have used and that is not
    /// available again yet.
    pub(crate) fn used(&self, now: Instant) -> Duration {
        self.empty_at
            .saturating_duration_since(self.initially_empty_at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_worth_of_lines_pass_at_once_and_later_lines_at_the_set_rate() {
        let mut now = Instant::now();
        let mut rate = Rate::new(10, Duration::ZERO, now);
        for _ in 0..100 {
            assert_eq!(rate.wait(now), None);
            rate.count(now);
        }
        for _ in 0..50 {
            assert_eq!(rate.wait(now), Some(Duration::from_millis(100)));
            now += Duration::from_millis(100);
            assert_eq!(rate.wait(now), None);
            rate.count(now);
        }
    }

    #[test]
    fn without_a_burst_even_the_first_line_waits() {
        let now = Instant::now();
        let rate = Rate::new(10, BURST, now);
        assert_eq!(rate.wait(now), Some(Duration::from_millis(100)));
        assert_eq!(rate.wait(now + Duration::from_millis(100)), None);
        assert_eq!(Rate::new(0, BURST, now).wait(now), None);
    }

    #[test]
    fn a_burst_is_used_up_only_by_lines_that_were_sent_and_recovers_with_time() {
        let now = Instant::now();
        let mut rate = Rate::new(10, BURST / 2, now);
        assert_eq!(rate.used(now), Duration::ZERO);
        for _ in 0..50 {
            rate.count(now);
        }
        assert_eq!(rate.used(now), BURST / 2);
        assert_eq!(rate.used(now + BURST * 3 / 4), BURST / 4);
        assert_eq!(rate.used(now + BURST), Duration::ZERO);
    }

    #[test]
    fn without_a_limit_no_line_waits() {
        let now = Instant::now();
        let mut rate = Rate::new(0, Duration::ZERO, now);
        for _ in 0..100_000 {
            assert_eq!(rate.wait(now), None);
            rate.count(now);
        }
    }
}
