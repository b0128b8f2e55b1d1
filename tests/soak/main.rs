//! Tests of load, exhaustion and vanishing networks.
//!
//! They measure memory, processor time or durations, or use up a resource, so they run one after
//! another. Cargo runs no other test program at the same time.

#![cfg(target_os = "linux")]
#![cfg(test)] // So that Clippy treats the helpers as test code.

mod churn;
mod exhaustion;
mod flood;
mod ghosts;
mod latency;
mod limits;
mod observed;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits until no other test of this crate runs. The next one starts when the guard is dropped.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A failed test poisons the lock.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
