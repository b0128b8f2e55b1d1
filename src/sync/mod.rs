//! Everything a thread can wait for: locks, condition variables, other threads, sockets and the clock.

mod native;

pub(crate) use native::*;
