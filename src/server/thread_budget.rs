//! The limits on reader and writer threads.
//!
//! A member that leaves frees its seat at once, but its reader thread runs until the connection
//! ends. Without a limit on such threads, the process could run out of memory mappings, and std
//! aborts if it cannot map a new thread's alternate signal stack (sigaltstack(2)).

use std::time::Duration;

use crate::probe::gauge::LockGauge;
use crate::sync::{Condvar, Mutex};

/// Limit on the reader threads of members that have left, in addition to one thread per seat.
pub(crate) const LEAVING: usize = if cfg!(shuttle) { 8 } else { 256 };

/// How long a new member waits for a reader permit before the connection that has lingered longest
/// is closed, which frees a thread.
const HURRY: Duration = Duration::from_millis(5);

/// Counts reader threads, each of which serves one member, and writer threads, which send the
/// backlogs of slow members.
pub(crate) struct ThreadBudget {
    max_readers: usize,
    max_writers: usize,
    /// The counters. No other lock is taken while this one is held.
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    readers: usize,
    writers: usize,
    closed: bool,
}

/// Permit for one reader thread. Dropping the permit returns it to the budget.
pub(crate) struct ReaderPermit<'a>(&'a ThreadBudget);

/// Permit for one writer thread. Dropping the permit returns it to the budget.
pub(crate) struct WriterPermit<'a>(&'a ThreadBudget);

impl ThreadBudget {
    /// Creates a budget of `threads` threads. Readers get one thread per seat and [`LEAVING`] more,
    /// and writers get the rest.
    pub(crate) fn new(seats: usize, threads: usize) -> Self {
        let max_readers = seats + LEAVING;
        Self {
            max_readers,
            max_writers: threads.saturating_sub(max_readers),
            state: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// The limit on reader threads.
    pub(crate) fn max_readers(&self) -> usize {
        self.max_readers
    }

    /// Waits for a reader permit. During the wait, calls `make_room` every [`HURRY`], which should
    /// make a reader thread end. Returns `None` once the budget is closed.
    pub(crate) fn reader(&self, make_room: impl Fn()) -> Option<ReaderPermit<'_>> {
        let is_full = |state: &mut State| state.readers >= self.max_readers && !state.closed;
        let mut state = self.state.lock();
        while is_full(&mut state) {
            drop(state);
            make_room();
            state = self
                .returned
                .wait_timeout_while(self.state.lock(), HURRY, is_full);
        }
        if state.closed {
            return None;
        }
        state.readers += 1;
        Some(ReaderPermit(self))
    }

    /// Returns a writer permit, or `None` if all are in use.
    pub(crate) fn writer(&self) -> Option<WriterPermit<'_>> {
        let mut state = self.state.lock();
        let is_free = state.writers < self.max_writers;
        is_free.then(|| {
            state.writers += 1;
            WriterPermit(self)
        })
    }

    pub(crate) fn lock_gauge(&self) -> &LockGauge {
        self.state.gauge()
    }

    /// Whether no thread holds a permit.
    #[cfg(shuttle)]
    pub(crate) fn is_unused(&self) -> bool {
        let state = self.state.lock();
        (state.readers, state.writers) == (0, 0)
    }

    /// Makes all calls of [`ThreadBudget::reader`], also those that are waiting, return `None`.
    /// Called when the server shuts down.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.returned.notify_all();
    }
}

impl Drop for ReaderPermit<'_> {
    fn drop(&mut self) {
        self.0.state.lock().readers -= 1;
        self.0.returned.notify_one();
    }
}

impl Drop for WriterPermit<'_> {
    fn drop(&mut self) {
        self.0.state.lock().writers -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_reader_waits_for_a_permit_while_the_thread_budget_is_exhausted() {
        let thread_budget = ThreadBudget::new(0, 0);
        let never = || panic!("a permit is free");
        let mut permits: Vec<_> = (0..LEAVING).map(|_| thread_budget.reader(never)).collect();
        let (ask, asked) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            let next = scope.spawn(|| thread_budget.reader(|| ask.send(()).unwrap()).is_some());
            asked.recv().unwrap();
            assert!(!next.is_finished());
            permits.pop();
            assert!(next.join().unwrap());
        });
        thread_budget.close();
        assert!(thread_budget.reader(|| {}).is_none());
    }

    #[test]
    fn writer_threads_get_the_permits_beyond_those_reserved_for_reader_threads() {
        let thread_budget = ThreadBudget::new(10, 10 + LEAVING + 1);
        let writer = thread_budget.writer();
        assert!(writer.is_some() && thread_budget.writer().is_none());
        drop(writer);
        assert!(thread_budget.writer().is_some());
        assert!(ThreadBudget::new(10, 10).writer().is_none());
    }
}
