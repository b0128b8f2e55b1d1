//! A multi-threaded chat for courses on threads and sockets: the library behind `chat-server`,
//! `chat-client` and `chat-run`.
//!
//! ```text
//! socket ─ reader thread (one per member) ─ lines ─ Request ─┐
//!                                                            ▼
//!                             Room: one Mutex: members, order, pending events
//!                                                            │ Posted, encoded once per format
//!                                                            ▼
//!     delivery, by one thread at a time: history, then one send per member ─ sockets
//! ```
//!
//! # The modules
//!
//! | module | contents |
//! |---|---|
//! | [`protocol`] | lines, names, text, commands, events, encodings; no sockets, threads or clock |
//! | [`server`] | acceptor, login, session, room, `delivery/`, `history/`, replay, console |
//! | [`client`] | `net/` (connection), `session/` (login, chat, reconnect), `ui/` |
//! | [`launcher`] | `session/`, `server` (a child process), `display/{emulator,tmux,panes}` |
//! | [`tty`] | line editor, key parser, raw mode, wrapping and styles, for all three programs |
//! | [`net`], [`os`] | sockets; differences between operating systems |
//! | [`control_socket`] | the socket between the launcher and its clients |
//! | [`probe`] | what the server's locks, queues and threads are doing |
//! | `sync` | locks, condition variables, threads and the clock, from std or the model checker |
//! | [`cli`] | the options of the three programs |
//!
//! `server`, `client` and `launcher` never import each other; `protocol` imports none of the other
//! modules.
//!
//! # The server's threads
//!
//! | name | number | waits for | ended by |
//! |---|---|---|---|
//! | `chat-server` | the main thread | signals, the operator's lines | a signal or the operator |
//! | `accept` | one | connections, and their logins | shutdown(2) of the listening sockets |
//! | `c:NAME` | one per member | the client's lines | the end of its connection |
//! | `deliver` | one | pending events; briefly, a slow recipient or a reader | the last event |
//! | `w:NAME` | one per member with a backlog | space in its socket | the end of the backlog |
//! | `linger` | one | connections that are closing | the end of the last one |
//! | `sync` | one, with a history file | bytes to sync to disk | the history's end |
//! | `sampler` | one, if the launcher asks for it | the launcher's requests | the end of the room |
//! | `log-file` | one, with a log file | lines to append | the log's end |
//! | `log` | one | lines to print | the log's end |
//! | `console` | one, with a terminal or launcher | the operator's lines | the program's end |
//! | `ctrl-c` | one | signals | the program's end |
//! | `owner` | one, on a terminal of another session | its owner's exit | the program's end |
//!
//! All threads but the last five are joined before the program exits. Nothing can interrupt those
//! five, which may be blocked reading or writing a terminal, writing a file that is a pipe, or
//! waiting for signals or the owner.
//!
//! Delivery is a role that one thread holds at a time (`server/delivery/role.rs`): the thread
//! `deliver` or, in a quiet room and for a single line, the thread `c:NAME` that has read the line.
//!
//! # The locks
//!
//! Each of these has a Mutex: the room, the thread budget, the burst limit, each backlog, the
//! pacing of busy readers (`server/delivery/pacer.rs`), the delays for recipients that are far
//! behind (`server/delivery/hold.rs`), the list of backlogs, the lingering connections, the
//! history's sync flags, the log's queue, the console's line and the terminal's modes. While a
//! thread holds one of these locks, it takes no other, and it does not wait for a peer, a file or a
//! terminal. The thread `sampler` reports who holds the locks of the room, the pacing, the thread
//! budget and the backlogs, and takes none of these (`probe/gauge.rs`).
//!
//! The delivery role is a Mutex too, around the state of the delivery. Its holder takes the locks
//! above, one at a time, and writes the history. Reader threads only try to lock this Mutex, so
//! only the thread `deliver` ever waits for it, for a reader's single round.
//!
//! # The invariants
//!
//! 1. All events have one order: an event gets its number and its place in the queue in one
//!    critical section, and the history and all members get events in that order
//!    (`server/room.rs`).
//! 2. A newcomer gets the past up to event n, and live events from n + 1
//!    (`server/delivery/mod.rs`). A member that reconnects gets all later events that the server
//!    still has, and then live events (`server/members.rs`, `server/replay.rs`).
//! 3. A slow peer blocks only its own thread (`server/delivery/backlog.rs`). While it is far
//!    behind, it also slows down senders, for a limited time (`server/delivery/hold.rs`).
//! 4. Everything that can grow has a limit and a defined end: threads (`server/thread_budget.rs`),
//!    pending events (`server/room.rs`), backlogs (`server/delivery/backlog.rs`), the log
//!    (`server/log.rs`), the history's queue (`server/history/mod.rs`).
//! 5. Bytes from peers are untrusted: they are limited (`protocol/line.rs`) and cleaned
//!    (`protocol/text.rs`), and never cause a panic. If a handler panics anyway, only its own
//!    client is disconnected (`server/acceptor.rs`, `server/session.rs`).
//! 6. If accept(2) fails, the server logs the error, backs off, and recovers
//!    (`server/acceptor.rs`).
//! 7. If the server's stdout is blocked or gone, no member's session ends (`server/log.rs`). If the
//!    terminal on stdin is gone, the server shuts down as after SIGHUP (`server/console.rs`).

pub mod cli;
pub mod client;
pub mod control_socket;
pub mod launcher;
pub mod net;
pub mod os;
pub mod probe;
pub mod protocol;
pub mod server;
mod sync;
pub mod tty;
