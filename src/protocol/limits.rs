//! Every limit of the wire, in one place.

use std::time::Duration;

/// Longest line that a client may send, in bytes, without its ending. IRC has 512 and `ssh-chat` 1024.
pub const MAX_LINE: usize = 1024;

/// Bytes without a line ending after which a client is not speaking this protocol, and is closed.
pub const MAX_UNTERMINATED: usize = 64 * 1024;

/// Longest line that a server sends, in bytes, ending included.
pub const MAX_EVENT_LINE: usize = 64 * 1024;

/// Longest line that the client takes from a server, in bytes, before it gives up on it.
pub const MAX_SERVER_LINE: usize = 1024 * 1024;

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 24;

/// Longest name or group, in bytes: 24 characters of four bytes would make prefixes of 96.
pub const MAX_NAME_BYTES: usize = 64;

/// Longest group, in characters.
pub const MAX_GROUP_CHARS: usize = 16;

/// Members that `/online` and a welcome list by name; the rest is a number.
pub const MAX_LISTED: usize = 500;

/// Last events, of any kind, that who comes back by `/resume` can be given: with the longest texts, some 3 MiB.
pub const MAX_RECENT: usize = 1000;

/// Wrong names, passwords and tokens that a connection may give before it is closed.
pub const LOGIN_TRIES: u32 = 5;

/// Lines that a connection may send before it has a name, of whatever kind.
pub const LOGIN_LINES: u32 = 1000;

/// Time that a connection has to log in.
pub const LOGIN_TIME: Duration = Duration::from_secs(60);

/// The port where nothing else is said.
pub const DEFAULT_PORT: u16 = 9999;
