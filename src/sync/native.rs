//! std's locks, which here ignore poisoning: other threads can continue after a panic, because no
//! critical section leaves data half changed.

use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

use crate::probe::gauge::{self, Hold, LockGauge};

pub(crate) use rustix::event::poll;
pub(crate) use std::thread;
pub(crate) use std::time::Instant;

/// Like [`std::sync::Mutex`], without poisoning, and with a gauge.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    inner: std::sync::Mutex<T>,
    gauge: LockGauge,
}

/// Like [`std::sync::MutexGuard`]. While gauges are on, the hold is measured.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    /// Declared first, so that the hold ends before the lock is released.
    hold: Option<Hold<'a>>,
    inner: std::sync::MutexGuard<'a, T>,
    gauge: &'a LockGauge,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            inner: std::sync::Mutex::new(value),
            gauge: LockGauge::new(),
        }
    }

    #[inline]
    #[track_caller]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        if gauge::is_observed() {
            return self.lock_observed(Location::caller());
        }
        MutexGuard {
            hold: None,
            inner: self.inner.lock().unwrap_or_else(PoisonError::into_inner),
            gauge: &self.gauge,
        }
    }

    /// Locks the mutex if no thread holds it. Never waits.
    #[inline]
    #[track_caller]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        // A closure has no `track_caller`.
        let at = Location::caller();
        let inner = self.try_lock_inner()?;
        Some(MutexGuard {
            hold: gauge::is_observed().then(|| self.gauge.hold(at)),
            inner,
            gauge: &self.gauge,
        })
    }

    #[inline]
    fn try_lock_inner(&self) -> Option<std::sync::MutexGuard<'_, T>> {
        match self.inner.try_lock() {
            Ok(inner) => Some(inner),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn lock_observed(&self, at: &'static Location<'static>) -> MutexGuard<'_, T> {
        let inner = self.try_lock_inner().unwrap_or_else(|| {
            let wait = self.gauge.wait(at);
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            wait.end();
            inner
        });
        MutexGuard {
            hold: Some(self.gauge.hold(at)),
            inner,
            gauge: &self.gauge,
        }
    }

    pub(crate) fn gauge(&self) -> &LockGauge {
        &self.gauge
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// Like [`std::sync::Condvar`], without poisoning. A wait with a timeout does not return whether it
/// timed out. During a wait, the lock is not held, so a measured hold ends when the wait begins,
/// and another one begins when the wait ends. The time that the woken thread waits for the lock is
/// not measured.
#[derive(Debug, Default)]
pub(crate) struct Condvar(std::sync::Condvar);

impl Condvar {
    pub(crate) const fn new() -> Self {
        Self(std::sync::Condvar::new())
    }

    #[inline]
    #[track_caller]
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        released(guard, |inner| {
            self.0.wait(inner).unwrap_or_else(PoisonError::into_inner)
        })
    }

    #[inline]
    #[track_caller]
    pub(crate) fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    #[inline]
    #[track_caller]
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> MutexGuard<'a, T> {
        released(guard, |inner| {
            let waited = self.0.wait_timeout(inner, timeout);
            waited.unwrap_or_else(PoisonError::into_inner).0
        })
    }

    #[inline]
    #[track_caller]
    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let begin = Instant::now();
        while condition(&mut guard)
            && let Some(left) = timeout.checked_sub(begin.elapsed())
        {
            guard = self.wait_timeout(guard, left);
        }
        guard
    }

    #[inline]
    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    #[inline]
    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Calls `wait`, which releases the lock and takes it again. Splits a measured hold in two.
#[inline]
#[track_caller]
fn released<'a, T>(
    guard: MutexGuard<'a, T>,
    wait: impl FnOnce(std::sync::MutexGuard<'a, T>) -> std::sync::MutexGuard<'a, T>,
) -> MutexGuard<'a, T> {
    // A closure has no `track_caller`.
    let at = Location::caller();
    let MutexGuard { hold, inner, gauge } = guard;
    drop(hold);
    let inner = wait(inner);
    MutexGuard {
        hold: gauge::is_observed().then(|| gauge.hold(at)),
        inner,
        gauge,
    }
}
