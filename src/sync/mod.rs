//! Everything that a thread can wait for: locks, condition variables, other threads, sockets and
//! the clock.
//!
//! Normally, these come from std and the kernel. Under `--cfg shuttle`, this module replaces them
//! with versions based on the crate shuttle, with which `tests/model` runs the server's threads in
//! thousands of interleavings.

#[cfg(not(shuttle))]
mod native;
#[cfg(shuttle)]
pub(crate) mod shuttle;

#[cfg(not(shuttle))]
pub(crate) use native::*;
#[cfg(shuttle)]
pub(crate) use shuttle::*;
