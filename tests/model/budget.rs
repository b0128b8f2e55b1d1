//! The thread budget: its limits hold, each permit is returned, and no thread waits in vain.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use chat_run::server::model::ThreadBudget;
use shuttle::thread;

/// The limit on writers.
const WRITERS: usize = 1;

/// Counts the threads that hold a permit, and fails if they are more than `max`.
struct Gauge {
    now: AtomicUsize,
    max: usize,
}

impl Gauge {
    fn new(max: usize) -> Self {
        let now = AtomicUsize::new(0);
        Self { now, max }
    }

    fn pass(&self) {
        let before = self.now.fetch_add(1, SeqCst);
        assert!(
            before < self.max,
            "promise broken: more threads than {}",
            self.max
        );
        // Yield often enough that all other threads can take a permit.
        for _ in 0..20 {
            thread::yield_now();
        }
        self.now.fetch_sub(1, SeqCst);
    }
}

/// Starts twice as many threads as there are permits.
pub(super) fn share() {
    let budget = &ThreadBudget::new(WRITERS);
    let max = budget.max_readers();
    let (readers, writers) = (&Gauge::new(max), &Gauge::new(WRITERS));
    thread::scope(|scope| {
        for _ in 0..2 * max {
            scope.spawn(move || assert!(budget.read(|| readers.pass())));
        }
        for _ in 0..2 * WRITERS {
            scope.spawn(move || budget.write(|| writers.pass()));
        }
    });
    assert!(budget.is_unused(), "promise broken: a permit is lost");
    assert!(budget.write(|| {}), "promise broken: a permit is lost");
}

/// Closes the budget while threads wait for a permit.
pub(super) fn close() {
    let budget = &ThreadBudget::new(WRITERS);
    let max = budget.max_readers();
    thread::scope(|scope| {
        for _ in 0..max {
            scope.spawn(move || {
                budget.read(|| while budget.read(|| {}) {});
            });
        }
        budget.close();
    });
    assert!(budget.is_unused(), "promise broken: a permit is lost");
}
