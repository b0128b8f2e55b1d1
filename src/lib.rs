//! A multi-threaded chat for courses on threads and sockets: the parts of which `chat-server`, `chat-client` and
//! `chat-run` are made.
//!
//! ```text
//! socket ─ reader thread (one a member) ─ lines ─ Request ─┐
//!                                                          ▼
//!                               Room: one Mutex: who is here, the order, what is pending
//!                                                          │ Posted, encoded once for each format
//!                                                          ▼
//!                           delivery thread: history, then one send a member ─ sockets
//! ```
//!
//! [`protocol`] is pure: no sockets, no threads, no clock. [`server`], [`client`] and [`launcher`] stand on it and do not
//! import each other. More than one of them needs the rest: [`cli`] (command lines), [`control_socket`]
//! (ties clients to their launcher), [`net`] (sockets), [`tty`] (terminals) and [`os`] (what differs
//! between systems).
//!
//! # The server's threads
//!
//! | name | how many | waits for | ended by |
//! |---|---|---|---|
//! | `chat-server` | the main one | signals, the operator's lines | them |
//! | `accept` | one | connections, and the names of those who have none | the listening sockets' shutdown |
//! | `c:NAME` | one a member | its client's lines | the end of its connection |
//! | `deliver` | one | what is posted | the room's last event |
//! | `w:NAME` | one a member that is behind | room in its socket | the end of its backlog |
//! | `linger` | one | connections that end | the last of them |
//! | `sync` | one, with a history | something to put on the disk | the history's end |
//! | `log` | one | lines to show | the log's end |
//! | `console` | one, with a terminal or launcher | the operator's lines | the program's end |
//! | `ctrl-c` | one | signals | the program's end |
//!
//! All but the last three are joined before the program ends: nothing ends a read or a write that a terminal holds up,
//! nor a wait for signals.
//!
//! # The locks
//!
//! The room, the places of threads, each backlog, the lingering connections and the history's sync flags have a
//! Mutex each. None is taken while another is held, and nobody waits for a peer, a file or a terminal while holding one.
//!
//! # The promises
//!
//! 1. One order: an event gets its number and its place in one critical section, and history and members get it in that
//!    order (`server/room.rs`).
//! 2. A newcomer has the past up to number n, and live from n + 1 (`server/delivery/mod.rs`). So has who comes back after its
//!    connection broke: all that is known after its last event, then live (`server/members.rs`, `server/replay.rs`).
//! 3. Nobody waits for a slow peer but its own thread (`server/delivery/backlog.rs`).
//! 4. Every queue has a limit and a stated end: threads (`server/thread_budget.rs`), what is pending (`server/room.rs`), a backlog (`server/delivery/backlog.rs`), the log
//!    (`server/log.rs`), what waits for the history (`server/history/mod.rs`).
//! 5. Peer bytes are hostile: capped (`protocol/line.rs`), cleaned (`protocol/text.rs`), and never a panic; a handler that
//!    fails all the same ends one client (`server/acceptor.rs`, `server/session.rs`).
//! 6. An accept that fails backs off, says so, and recovers (`server/acceptor.rs`).
//! 7. A terminal or pipe that is gone ends nobody (`server/log.rs`).

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
