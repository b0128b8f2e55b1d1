//! How many threads there may be for members, and for those that end.
//!
//! Members have seats, but the thread of one that has given up its seat runs until its connection ends. Where those came
//! without limit, the system would run out of what a thread takes, and std ends the process that finds no place for a
//! thread's alternative stack (sigaltstack(2)).

use std::time::Duration;

use crate::sync::{Condvar, Mutex};

/// Threads of members beside those that have a seat: their connections end.
pub(crate) const LEAVING: usize = if cfg!(shuttle) { 4 } else { 256 };

/// How long one who comes waits for a thread to end before the next one is told to.
const HURRY: Duration = Duration::from_millis(5);

/// The threads that serve members, and those that write to slow ones.
pub(crate) struct ThreadBudget {
    max_readers: usize,
    max_writers: usize,
    /// Guards how many there are; no other lock is taken while it is held.
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    readers: usize,
    writers: usize,
    closed: bool,
}

/// The place of a thread that serves a member; it is given back when this is dropped.
pub(crate) struct ReaderPermit<'a>(&'a ThreadBudget);

/// The place of a thread that writes; it is given back when this is dropped.
pub(crate) struct WriterPermit<'a>(&'a ThreadBudget);

impl ThreadBudget {
    /// For so many members with a seat, and so many threads in all.
    pub(crate) fn new(seats: usize, threads: usize) -> Self {
        let max_readers = seats + LEAVING;
        Self {
            max_readers,
            max_writers: threads.saturating_sub(max_readers),
            state: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// How many threads may serve members.
    pub(crate) fn places(&self) -> usize {
        self.max_readers
    }

    /// A place for the next member; waits until there is one, and calls `make_room` now and then meanwhile. None at the server's end.
    pub(crate) fn next(&self, make_room: impl Fn()) -> Option<ReaderPermit<'_>> {
        let is_full = |state: &mut State| state.readers >= self.max_readers && !state.closed;
        let mut state = self.state.lock();
        while is_full(&mut state) {
            drop(state);
            make_room();
            state = self
                .left
                .wait_timeout_while(self.state.lock(), HURRY, is_full);
        }
        if state.closed {
            return None;
        }
        state.readers += 1;
        Some(ReaderPermit(self))
    }

    /// A place for a thread that writes, where there is one.
    pub(crate) fn writer(&self) -> Option<WriterPermit<'_>> {
        let mut state = self.state.lock();
        let is_free = state.writers < self.max_writers;
        is_free.then(|| {
            state.writers += 1;
            WriterPermit(self)
        })
    }

    /// Whether all permits were returned.
    #[cfg(shuttle)]
    pub(crate) fn is_unused(&self) -> bool {
        let state = self.state.lock();
        (state.readers, state.writers) == (0, 0)
    }

    /// Makes [`ThreadBudget::next`] give nothing, at the server's end.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.left.notify_all();
    }
}

impl Drop for ReaderPermit<'_> {
    fn drop(&mut self) {
        self.0.state.lock().readers -= 1;
        self.0.left.notify_one();
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
    fn a_full_crowd_makes_room_and_waits_for_a_place_that_is_left() {
        let thread_budget = ThreadBudget::new(0, 0);
        let nobody = || panic!("there is room");
        let mut places: Vec<_> = (0..LEAVING).map(|_| thread_budget.next(nobody)).collect();
        let (ask, asked) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            let next = scope.spawn(|| thread_budget.next(|| ask.send(()).unwrap()).is_some());
            asked.recv().unwrap();
            assert!(!next.is_finished());
            places.pop();
            assert!(next.join().unwrap());
        });
        thread_budget.close();
        assert!(thread_budget.next(|| {}).is_none());
    }

    #[test]
    fn those_who_write_have_the_places_that_are_left() {
        let thread_budget = ThreadBudget::new(10, 10 + LEAVING + 1);
        let writer = thread_budget.writer();
        assert!(writer.is_some() && thread_budget.writer().is_none());
        drop(writer);
        assert!(thread_budget.writer().is_some());
        assert!(ThreadBudget::new(10, 10).writer().is_none());
    }
}
