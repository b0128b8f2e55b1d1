//! Everything that a thread can wait for: locks, condition variables, other threads, sockets and
//! the clock.
//!
//! It comes from std and the kernel or, under `--cfg shuttle`, from the crate shuttle, with which
//! `tests/model` runs the server's threads in thousands of orders.

#[cfg(not(shuttle))]
mod native;
#[cfg(shuttle)]
pub(crate) mod shuttle;

#[cfg(not(shuttle))]
pub(crate) use native::*;
#[cfg(shuttle)]
pub(crate) use shuttle::*;
