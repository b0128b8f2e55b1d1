//! All limits of the protocol.

use std::time::Duration;

/// Limit on the length of a line from a client, in bytes, without its ending. IRC allows 512 bytes,
/// `ssh-chat` 1024.
pub const MAX_LINE: usize = 1024;

/// Limit on the bytes that a client may send without a line ending. The server closes a connection
/// that exceeds the limit, because its peer doesn't speak this protocol.
pub const MAX_UNTERMINATED: usize = 64 * 1024;

/// Limit on the length of a line from the server, in bytes, including its ending.
pub const MAX_EVENT_LINE: usize = 64 * 1024;

/// Limit on the length of a line that a client accepts from a server, in bytes. The client
/// disconnects when it gets a longer line.
pub const MAX_SERVER_LINE: usize = 1024 * 1024;

/// Limit on the length of a name, in characters.
pub const MAX_NAME_CHARS: usize = 24;

/// Limit on the length of a name or a group, in bytes. Without this limit, a name of 24 four-byte
/// characters would put 96 bytes before each message.
pub const MAX_NAME_BYTES: usize = 64;

/// Limit on the length of a group, in characters.
pub const MAX_GROUP_CHARS: usize = 16;

/// Limit on the length of a room's password, in bytes. Such a password fits into a line after
/// `/pass`.
pub const MAX_PASSWORD_BYTES: usize = 512;

/// Limit on the members that `/online` and a welcome list by name. Further members are only
/// counted.
pub const MAX_LISTED: usize = 500;

/// How many of the last events, of any kind, the server keeps for `/resume`. It also keeps this
/// many of the last messages, so that joins and leaves do not displace messages. Together they take
/// about 3 MiB if all texts have maximum length.
pub const MAX_RECENT: usize = 1000;

/// Number of wrong names, passwords and tokens, counted together, after which the server closes a
/// connection.
pub const LOGIN_TRIES: u32 = 5;

/// Limit on the lines, of any kind, that a connection may send before it joins.
pub const LOGIN_LINES: u32 = 1000;

/// Time limit for logging in.
pub const LOGIN_TIME: Duration = Duration::from_secs(60);

/// The port to use if none is given.
pub const DEFAULT_PORT: u16 = 9999;
