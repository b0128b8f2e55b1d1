//! All limits of the protocol.

use std::time::Duration;

/// Longest line from a client, in bytes, without its ending. IRC has 512, `ssh-chat` 1024.
pub const MAX_LINE: usize = 1024;

/// Bytes without a line ending after which the server closes a connection: its peer doesn't speak
/// this protocol.
pub const MAX_UNTERMINATED: usize = 64 * 1024;

/// Longest line from the server, in bytes, ending included.
pub const MAX_EVENT_LINE: usize = 64 * 1024;

/// Longest line that a client accepts from a server, in bytes. After a longer one, it disconnects.
pub const MAX_SERVER_LINE: usize = 1024 * 1024;

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 24;

/// Longest name or group, in bytes. Without this limit, 24 characters of four bytes each would put
/// a prefix of 96 bytes before each message.
pub const MAX_NAME_BYTES: usize = 64;

/// Longest group, in characters.
pub const MAX_GROUP_CHARS: usize = 16;

/// Most members that `/online` and a welcome list by name. The others are only counted.
pub const MAX_LISTED: usize = 500;

/// Number of recent events, of any kind, that are kept for `/resume`: about 3 MiB with the longest
/// texts.
pub const MAX_RECENT: usize = 1000;

/// Number of wrong names, passwords and tokens after which a connection is closed.
pub const LOGIN_TRIES: u32 = 5;

/// Most lines, of any kind, that a connection may send before it joins.
pub const LOGIN_LINES: u32 = 1000;

/// Time limit for logging in.
pub const LOGIN_TIME: Duration = Duration::from_secs(60);

/// The port to use if none is given.
pub const DEFAULT_PORT: u16 = 9999;
