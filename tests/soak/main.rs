//! Load, exhaustion, and networks that vanish. These tests measure memory, processor time or how long something takes, or
//! take all that there is of something, so they run one after the other; and Cargo runs no other test program beside this one.

#![cfg(target_os = "linux")]
#![cfg(test)] // Helpers are test code as well, for Clippy.

mod churn;
mod exhaustion;
mod ghosts;
mod limits;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for the turn of the calling test, which lasts until the guard is dropped.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has poisoned it.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
