//! The lifeline where there are no Unix sockets, and no launcher: none can be held.

use std::ffi::OsStr;
use std::io;

/// Why a client has to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {}

/// A client's end of the lifeline.
#[derive(Debug)]
pub enum Lifeline {}

/// Takes hold of the lifeline called `_name`.
///
/// # Errors
/// Always `Unsupported`.
pub fn hold(_name: &OsStr, _on_end: impl FnOnce(End) + Send + 'static) -> io::Result<Lifeline> {
    Err(io::ErrorKind::Unsupported.into())
}
