//! Terminals, for the client, the launcher and the server's log: input, wrapping, styles.

pub mod input;
pub(crate) mod log_wrap;
pub mod style;
mod terminal;
pub(crate) mod wrap;

pub use terminal::*;
