//! The locks and threads of the crate shuttle, and a simulated clock that advances at random.
//!
//! Shuttle has no sockets, and no waits that time out. So the sockets are the kernel's, and a wait
//! for a socket or with a timeout is a loop that polls and lets other threads run.

use std::cell::Cell;
use std::ops::{Add, AddAssign, Deref, DerefMut, SubAssign};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

use ::shuttle::rand::{Rng, thread_rng};
use ::shuttle::sync as model;
use rustix::event::{PollFd, Timespec};

use crate::probe::gauge::LockGauge;

/// Like shuttle's mutex, without poisoning. Its gauge measures nothing.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    inner: model::Mutex<T>,
    gauge: LockGauge,
}

/// A guard that also refers to its mutex, so that [`Condvar`] can unlock the mutex and lock it
/// again.
pub(crate) struct MutexGuard<'a, T> {
    guard: model::MutexGuard<'a, T>,
    mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            inner: model::Mutex::new(value),
            gauge: LockGauge::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard {
            guard: self.inner.lock().unwrap_or_else(PoisonError::into_inner),
            mutex: self,
        }
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = match self.inner.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(MutexGuard { guard, mutex: self })
    }

    pub(crate) fn gauge(&self) -> &LockGauge {
        &self.gauge
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Like shuttle's condition variable, without poisoning, and with waits that can time out.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    inner: model::Condvar,
    /// Number of notifications sent so far. A wait with a timeout returns when this number changes.
    notified: AtomicU64,
}

impl Condvar {
    pub(crate) const fn new() -> Self {
        Self {
            inner: model::Condvar::new(),
            notified: AtomicU64::new(0),
        }
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let MutexGuard { guard, mutex } = guard;
        let waited = self.inner.wait(guard);
        MutexGuard {
            guard: waited.unwrap_or_else(PoisonError::into_inner),
            mutex,
        }
    }

    pub(crate) fn wait_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        self.wait_timeout_while(guard, Duration::MAX, condition)
    }

    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> MutexGuard<'a, T> {
        self.wait_or_time_out(guard, timeout).0
    }

    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let mut timed_out = false;
        while !timed_out && condition(&mut guard) {
            (guard, timed_out) = self.wait_or_time_out(guard, timeout);
        }
        guard
    }

    fn wait_or_time_out<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        if timeout == Duration::MAX {
            return (self.wait(guard), false);
        }
        let seen = self.notified.load(Ordering::SeqCst);
        let MutexGuard { guard, mutex } = guard;
        drop(guard);
        loop {
            thread::yield_now();
            let guard = mutex.lock();
            if self.notified.load(Ordering::SeqCst) != seen {
                return (guard, false);
            }
            if runs_out(timeout) {
                return (guard, true);
            }
        }
    }

    pub(crate) fn notify_one(&self) {
        self.inner.notify_one();
        self.notified.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn notify_all(&self) {
        self.inner.notify_all();
        self.notified.fetch_add(1, Ordering::SeqCst);
    }
}

/// Like [`rustix::event::poll`], but lets other threads run until a descriptor is ready.
pub(crate) fn poll(
    fds: &mut [PollFd<'_>],
    timeout: Option<&Timespec>,
) -> rustix::io::Result<usize> {
    let timeout = timeout.and_then(|timeout| Duration::try_from(*timeout).ok());
    let timeout = timeout.unwrap_or(Duration::MAX);
    let at_once = Timespec::default();
    loop {
        thread::yield_now();
        let ready = rustix::event::poll(fds, Some(&at_once))?;
        if ready > 0 || runs_out(timeout) {
            return Ok(ready);
        }
    }
}

pub(crate) mod thread {
    use std::io;

    use ::shuttle::thread::ScopedJoinHandle;
    pub(crate) use ::shuttle::thread::{JoinHandle, Scope, scope, sleep, spawn, yield_now};

    /// A thread builder that can spawn scoped threads, which shuttle's cannot. Ignores names and
    /// stack sizes.
    pub(crate) struct Builder;

    impl Builder {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn name(self, _name: String) -> Self {
            self
        }

        pub(crate) fn stack_size(self, _bytes: usize) -> Self {
            self
        }

        pub(crate) fn spawn<T: Send + 'static>(
            self,
            run: impl FnOnce() -> T + Send + 'static,
        ) -> io::Result<JoinHandle<T>> {
            Ok(spawn(run))
        }

        pub(crate) fn spawn_scoped<'scope, T: Send + 'scope>(
            self,
            scope: &'scope Scope<'scope, '_>,
            run: impl FnOnce() -> T + Send + 'scope,
        ) -> io::Result<ScopedJoinHandle<'scope, T>> {
            Ok(scope.spawn(run))
        }
    }
}

thread_local! {
    /// The current time, and the time at which the clock stops.
    static CLOCK: Cell<(Duration, Duration)> = const { Cell::new((Duration::ZERO, Duration::MAX)) };
}

/// Resets the clock to zero. Must be called at the start of each execution that the model checker
/// tries. The clock stops when it reaches `end`.
pub(crate) fn start_clock(end: Duration) {
    CLOCK.set((Duration::ZERO, end));
}

fn advance(by: Duration) {
    let (now, end) = CLOCK.get();
    CLOCK.set((now.saturating_add(by).min(end), end));
}

/// Decides at random whether a wait times out now. If it does, advances the clock by `timeout`.
fn runs_out(timeout: Duration) -> bool {
    if timeout == Duration::MAX || !(timeout.is_zero() || thread_rng().gen_ratio(1, 4)) {
        return false;
    }
    advance(timeout);
    true
}

/// Like [`std::time::Instant`]. Each call of [`Instant::now`] may advance the clock, by up to 16 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        if thread_rng().gen_ratio(1, 8) {
            advance(Duration::from_millis(1 << thread_rng().gen_range(0..15)));
        }
        Self(CLOCK.get().0)
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }

    pub(crate) fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 = self.0.saturating_sub(duration);
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}
