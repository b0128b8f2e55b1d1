//! A multi-threaded chat for courses on threads and sockets.

pub mod cli;
pub mod client;
pub mod launcher;
pub mod lifeline;
pub mod listen;
pub mod os;
pub mod protocol;
pub mod server;
pub mod style;
