//! Gauges of locks: which thread holds a lock, since when and at which line, and how long threads
//! hold it and wait for it.
//!
//! The gauges of all locks are on while an [`Observation`] exists. While they are off, a lock costs
//! one relaxed load more than std's. While they are on, each hold also takes two reads of
//! the clock, some 50 ns. The server takes its locks once per batch and not once per delivery, so
//! this is below 1 % of its time.
//!
//! The holder of a lock writes most values, so these need no atomic addition: the lock orders the
//! writes.

use std::cell::Cell;
use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};
use std::time::Instant;

use crate::os;
use crate::probe::sample::{LockSample, LockState, Waiter};

/// Limit on the waiting threads that a gauge identifies. Further threads are only counted.
const MAX_WAITERS: usize = 8;

/// How many times to try to read a sample if the lock changes hands meanwhile.
const TRIES: u32 = 3;

/// Number of [`Observation`]s.
static OBSERVATIONS: AtomicU32 = AtomicU32::new(0);

/// Keeps the gauges of all locks of this process on. A thread that holds a lock at the beginning is
/// not shown as its holder: the first measured hold is the next one.
#[derive(Debug)]
pub(crate) struct Observation(());

impl Observation {
    pub(crate) fn begin() -> Self {
        OBSERVATIONS.fetch_add(1, Relaxed);
        Self(())
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        OBSERVATIONS.fetch_sub(1, Relaxed);
    }
}

/// Whether gauges are on.
#[inline]
pub(crate) fn is_observed() -> bool {
    OBSERVATIONS.load(Relaxed) > 0
}

/// Nanoseconds since the first call in this process, at least 1. The clock is monotonic.
pub(crate) fn now() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let elapsed = ORIGIN.get_or_init(Instant::now).elapsed().as_nanos();
    // Nanoseconds in 64 bits last for 584 years.
    u64::try_from(elapsed).unwrap_or(u64::MAX).max(1)
}

/// The calling thread's ID, as in `/proc/PID/task`. It is never 0, and stays the same for the life
/// of the thread, so it is asked for only once.
fn thread_id() -> u32 {
    thread_local!(static ID: Cell<u32> = const { Cell::new(0) });
    // A thread that is ending has no thread-local variables, but may still take locks.
    ID.try_with(|id| {
        if id.get() == 0 {
            id.set(os::thread_id());
        }
        id.get()
    })
    .unwrap_or_else(|_| os::thread_id())
}

/// Gauge of one lock. Times are in nanoseconds; see [`now`].
#[derive(Debug, Default)]
pub(crate) struct LockGauge {
    /// The source file that takes the lock. Each lock is private to a module, so there is only one.
    file: OnceLock<&'static str>,
    /// The thread that holds the lock, or 0.
    holder: AtomicU32,
    /// The line at which the holder took the lock.
    line: AtomicU32,
    /// When the holder took the lock. 0 while a hold ends.
    since: AtomicU64,
    /// Number of holds so far, counted at the start of each.
    taken: AtomicU64,
    /// Sum of all holds that have ended.
    held: AtomicU64,
    longest: AtomicU64,
    /// Number of holds for which a thread had to wait.
    contended: AtomicU64,
    /// Sum of the waits that have ended.
    waited: AtomicU64,
    longest_wait: AtomicU64,
    /// Number of threads that wait now.
    waiting: AtomicU32,
    waiters: [WaiterSlot; MAX_WAITERS],
}

/// Slot for a thread that waits for a lock.
#[derive(Debug, Default)]
struct WaiterSlot {
    /// The thread that uses the slot, or 0.
    thread: AtomicU32,
    line: AtomicU32,
    /// When the wait began. 0 while the other fields are not valid.
    since: AtomicU64,
}

/// A measured hold of a lock. Dropping this ends the hold, and must happen before the lock is
/// released, so that a thread that is shown as the holder does hold the lock.
#[derive(Debug)]
pub(crate) struct Hold<'a>(&'a LockGauge);

/// A measured wait for a lock.
pub(crate) struct Wait<'a> {
    gauge: &'a LockGauge,
    slot: Option<&'a WaiterSlot>,
    since: u64,
}

impl LockGauge {
    pub(crate) const fn new() -> Self {
        Self {
            file: OnceLock::new(),
            holder: AtomicU32::new(0),
            line: AtomicU32::new(0),
            since: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            held: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            contended: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            longest_wait: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            waiters: [const { WaiterSlot::new() }; MAX_WAITERS],
        }
    }

    /// Begins a hold at the line `at`. Called by the thread that has just taken the lock.
    pub(crate) fn hold(&self, at: &'static Location<'static>) -> Hold<'_> {
        self.file.get_or_init(|| at.file());
        self.taken.store(self.taken.load(Relaxed) + 1, Relaxed);
        // Order the count before the values that it protects; see `sample`.
        fence(Release);
        self.line.store(at.line(), Relaxed);
        self.since.store(now(), Relaxed);
        self.holder.store(thread_id(), Release);
        Hold(self)
    }

    /// Begins a wait at the line `at`. Called by a thread that has found the lock taken.
    pub(crate) fn wait(&self, at: &'static Location<'static>) -> Wait<'_> {
        let (thread, since) = (thread_id(), now());
        self.waiting.fetch_add(1, Relaxed);
        let is_free = |slot: &&WaiterSlot| {
            let claimed = slot.thread.compare_exchange(0, thread, Relaxed, Relaxed);
            claimed.is_ok()
        };
        let slot = self.waiters.iter().find(is_free);
        if let Some(slot) = slot {
            slot.line.store(at.line(), Relaxed);
            slot.since.store(since, Release);
        }
        Wait {
            gauge: self,
            slot,
            since,
        }
    }

    /// Reads the gauge of the lock called `name`. Takes no lock.
    pub(crate) fn sample(&self, name: &str) -> LockSample {
        let mut sample = LockSample {
            name: name.into(),
            file: self.file.get().map(|&file| file.into()),
            state: LockState::Busy,
            taken: 0,
            held: 0,
            longest: 0,
            contended: self.contended.load(Relaxed),
            waited: self.waited.load(Relaxed),
            longest_wait: self.longest_wait.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            waiters: self.waiters.iter().filter_map(WaiterSlot::sample).collect(),
        };
        for _ in 0..TRIES {
            sample.taken = self.taken.load(Acquire);
            let thread = self.holder.load(Acquire);
            let (line, since) = (self.line.load(Relaxed), self.since.load(Acquire));
            (sample.held, sample.longest) = (self.held.load(Relaxed), self.longest.load(Relaxed));
            // Read the clock before the check below, which shows that the hold had not ended then.
            let now = now();
            fence(Acquire);
            let is_same = self.taken.load(Relaxed) == sample.taken
                && (thread == 0 || since != 0 && self.since.load(Relaxed) == since);
            if !is_same {
                continue;
            }
            sample.state = LockState::Free;
            if thread != 0 {
                let nanoseconds = now.saturating_sub(since);
                sample.state = LockState::Held {
                    thread,
                    line,
                    nanoseconds,
                };
                sample.held += nanoseconds;
                sample.longest = sample.longest.max(nanoseconds);
                // The holder may still have been waiting when the waiters were read.
                sample.waiters.retain(|waiter| waiter.thread != thread);
            }
            break;
        }
        // A thread may have begun or ended its wait between the two reads.
        let identified = u32::try_from(sample.waiters.len()).unwrap_or(u32::MAX);
        sample.waiting = sample.waiting.max(identified);
        let waits = sample.waiters.iter().map(|waiter| waiter.nanoseconds);
        sample.longest_wait = waits.fold(sample.longest_wait, u64::max);
        sample
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let Self(gauge) = self;
        let since = gauge.since.load(Relaxed);
        // Read the clock after this store, so that no sample shows a longer hold than `held`. A
        // sample may exceed it by a few nanoseconds, until the store reaches its processor.
        gauge.since.store(0, Relaxed);
        // A sample that contains this hold in `held` must not add it as the current one.
        fence(Release);
        let held = now().saturating_sub(since);
        gauge.held.store(gauge.held.load(Relaxed) + held, Relaxed);
        if held > gauge.longest.load(Relaxed) {
            gauge.longest.store(held, Relaxed);
        }
        gauge.holder.store(0, Release);
    }
}

impl Wait<'_> {
    /// Ends the wait. Called by the waiting thread once it has the lock.
    pub(crate) fn end(self) {
        let Self { gauge, slot, since } = self;
        if let Some(slot) = slot {
            slot.since.store(0, Relaxed);
            slot.thread.store(0, Release);
        }
        gauge.waiting.fetch_sub(1, Relaxed);
        let waited = now().saturating_sub(since);
        let add = |sum: &AtomicU64, more| sum.store(sum.load(Relaxed) + more, Relaxed);
        add(&gauge.contended, 1);
        add(&gauge.waited, waited);
        if waited > gauge.longest_wait.load(Relaxed) {
            gauge.longest_wait.store(waited, Relaxed);
        }
    }
}

impl WaiterSlot {
    const fn new() -> Self {
        Self {
            thread: AtomicU32::new(0),
            line: AtomicU32::new(0),
            since: AtomicU64::new(0),
        }
    }

    /// Returns the thread that uses the slot, unless the slot changes meanwhile.
    fn sample(&self) -> Option<Waiter> {
        let since = self.since.load(Acquire);
        let (thread, line) = (self.thread.load(Relaxed), self.line.load(Relaxed));
        let now = now();
        fence(Acquire);
        let is_valid = since != 0 && thread != 0 && self.since.load(Relaxed) == since;
        is_valid.then(|| Waiter {
            thread,
            line,
            nanoseconds: now.saturating_sub(since),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::sync::{Condvar, Mutex};

    /// Waits until a sample of the lock is as `expected`.
    fn wait_for<T>(lock: &Mutex<T>, mut expected: impl FnMut(&LockSample) -> bool) -> LockSample {
        loop {
            let sample = lock.gauge().sample("lock");
            if expected(&sample) {
                return sample;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn a_held_lock_is_shown_with_its_thread_file_and_line() {
        let _observation = Observation::begin();
        let lock = Mutex::new(());
        let (guard, at) = (lock.lock(), line!());
        let sample = lock.gauge().sample("lock");
        let LockState::Held { thread, line, .. } = sample.state else {
            panic!("{sample:?}");
        };
        assert_eq!((thread, line), (os::thread_id(), at));
        assert_eq!(sample.file.as_deref(), Some(file!()));
        drop(guard);
        let sample = lock.gauge().sample("lock");
        assert_eq!((sample.state, sample.taken), (LockState::Free, 1));
        assert!(sample.held > 0 && sample.held == sample.longest);
    }

    #[test]
    fn a_thread_that_waits_for_a_lock_is_shown_until_it_has_the_lock() {
        let _observation = Observation::begin();
        let lock = Mutex::new(());
        let guard = lock.lock();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let (guard, at) = (lock.lock(), line!());
                let sample = lock.gauge().sample("lock");
                drop(guard);
                (os::thread_id(), at, sample)
            });
            let waiting = wait_for(&lock, |sample| !sample.waiters.is_empty());
            drop(guard);
            let (thread, at, sample) = waiter.join().unwrap();
            assert_eq!(waiting.waiting, 1);
            let shown = &waiting.waiters[0];
            assert_eq!((shown.thread, shown.line), (thread, at));
            let shown =
                matches!(sample.state, LockState::Held { thread: holder, .. } if holder == thread);
            assert!(shown && sample.waiters.is_empty(), "{sample:?}");
            assert_eq!((sample.taken, sample.contended, sample.waiting), (2, 1, 0));
            assert!(sample.longest_wait >= waiting.longest_wait);
        });
    }

    #[test]
    fn more_threads_can_wait_than_are_identified() {
        let _observation = Observation::begin();
        let lock = Mutex::new(());
        let guard = lock.lock();
        thread::scope(|scope| {
            for _ in 0..2 * MAX_WAITERS {
                scope.spawn(|| drop(lock.lock()));
            }
            let all = 2 * MAX_WAITERS;
            let sample = wait_for(&lock, |sample| sample.waiting as usize == all);
            assert_eq!(sample.waiters.len(), MAX_WAITERS);
            drop(guard);
        });
        let sample = lock.gauge().sample("lock");
        assert_eq!((sample.waiting, sample.waiters.len()), (0, 0));
    }

    #[test]
    fn a_thread_that_waits_for_a_condition_does_not_hold_the_lock() {
        let _observation = Observation::begin();
        let (lock, changed) = (Mutex::new(false), Condvar::new());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let guard = lock.lock();
                let guard = changed.wait_while(guard, |is_over| !*is_over);
                let sample = lock.gauge().sample("lock");
                drop(guard);
                (os::thread_id(), sample)
            });
            // The waiter releases the lock only by waiting.
            let is_free =
                |sample: &LockSample| sample.taken == 1 && sample.state == LockState::Free;
            wait_for(&lock, is_free);
            *lock.lock() = true;
            changed.notify_one();
            let (thread, sample) = waiter.join().unwrap();
            assert_eq!(sample.taken, 3);
            assert!(
                matches!(sample.state, LockState::Held { thread: holder, .. } if holder == thread),
                "{sample:?}"
            );
        });
    }

    /// How much longer, in nanoseconds, a hold may appear while it ends; see [`Hold::drop`].
    const SLACK: u64 = 100_000;

    #[test]
    fn a_sample_of_a_busy_lock_never_counts_a_hold_twice() {
        let _observation = Observation::begin();
        let lock = Mutex::new(0_u64);
        let begin = now();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..20_000).for_each(|_| *lock.lock() += 1));
            }
            let mut last = 0;
            wait_for(&lock, |sample| {
                if sample.state != LockState::Busy {
                    assert!(
                        sample.held + SLACK >= last && sample.held <= now() - begin,
                        "{sample:?}"
                    );
                    last = sample.held;
                }
                sample.taken == 60_000
            });
        });
        assert_eq!(*lock.lock(), 60_000);
    }
}
