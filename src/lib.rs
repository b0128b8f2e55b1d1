//! A multi-threaded chat for courses on threads and sockets: the library behind `chat-server`,
//! `chat-client` and `chat-run`.
//!
//! ```text
//! socket ─ reader thread (one per member) ─ lines ─ Request ─┐
//!                                                            ▼
//!                             Room: one Mutex: members, order, pending events
//!                                                            │ Posted, encoded once per format
//!                                                            ▼
//!                         delivery thread: history, then one send per member ─ sockets
//! ```
//!
//! # The modules
//!
//! | module | what it has |
//! |---|---|
//! | [`protocol`] | lines, names, text, commands, events, encodings; no sockets, threads or clock |
//! | [`server`] | acceptor, login, session, room, `delivery/`, `history/`, replay, console |
//! | [`client`] | `net/` (connection), `session/` (login, chat, reconnect), `ui/` |
//! | [`launcher`] | `session/`, `server` (a child process), `display/{emulator,tmux,panes}` |
//! | [`tty`] | line editor, key parser, raw mode, wrapping and styles, for all three programs |
//! | [`net`], [`os`] | sockets; what differs between operating systems |
//! | [`control_socket`] | between the launcher and its clients |
//! | `sync` | locks, condition variables, threads and the clock, from std or the model |
//! | [`cli`] | the options of the three programs |
//!
//! `server`, `client` and `launcher` never import each other; `protocol` imports none of the
//! others.
//!
//! # The server's threads
//!
//! | name | number | waits for | ended by |
//! |---|---|---|---|
//! | `chat-server` | the main thread | signals, the operator's lines | either of them |
//! | `accept` | one | connections, and their logins | shutdown(2) of the listening sockets |
//! | `c:NAME` | one per member | the client's lines | the end of its connection |
//! | `deliver` | one | pending events | the room's last event |
//! | `w:NAME` | one per member with a backlog | space in its socket | the end of the backlog |
//! | `linger` | one | connections that are closing | the last of them |
//! | `sync` | one, with a history file | bytes to sync to disk | the history's end |
//! | `log` | one | lines to print | the log's end |
//! | `console` | one, with a terminal or launcher | the operator's lines | the program's end |
//! | `ctrl-c` | one | signals | the program's end |
//!
//! All but the last three are joined before the program ends: nothing interrupts a read or write
//! that a terminal blocks, nor a wait for signals.
//!
//! # The locks
//!
//! The room, the thread budget, each backlog, the lingering connections and the history's sync
//! flags have a Mutex each; so have the log's queue, the console's line and the terminal's modes.
//! None is taken while another is held, and no thread waits for a peer, a file or a terminal while
//! holding one.
//!
//! # The invariants
//!
//! 1. One order: an event gets its number and its place in one critical section, and history and
//!    members get events in that order (`server/room.rs`).
//! 2. A newcomer gets the past up to event n, and live events from n + 1
//!    (`server/delivery/mod.rs`). A member that reconnects gets all known events after the last one
//!    it has seen, and then live events (`server/members.rs`, `server/replay.rs`).
//! 3. Only a slow peer's own thread waits for it (`server/delivery/backlog.rs`).
//! 4. Every queue has a limit and a defined end: threads (`server/thread_budget.rs`), pending
//!    events (`server/room.rs`), backlogs (`server/delivery/backlog.rs`), the log
//!    (`server/log.rs`), the history's queue (`server/history/mod.rs`).
//! 5. Bytes from peers are hostile: limited (`protocol/line.rs`), cleaned (`protocol/text.rs`), and
//!    never a panic. If a handler panics all the same, it ends one client (`server/acceptor.rs`,
//!    `server/session.rs`).
//! 6. After a failed accept(2) the server backs off, logs it, and recovers (`server/acceptor.rs`).
//! 7. A terminal or pipe that is gone ends no one's session (`server/log.rs`).

pub mod cli;
pub mod client;
pub mod control_socket;
pub mod launcher;
pub mod net;
pub mod os;
pub mod protocol;
pub mod server;
mod sync;
pub mod tty;
