//! The launcher: starts a server and its client windows, and stops them together.
//!
//! ```text
//!   chat-run ──── stdin (console), stdout (log) ──── chat-server
//!     │  │                                                │
//!     │  └── control socket ──────── chat-client ── TCP ──┘
//!     └───── starts ── emulator ── opens a window with ──┘
//! ```
//!
//! The built-in panes, or the tmux that chat-run runs in, can show the clients instead of an
//! emulator (`display`).
//!
//! One thread makes the decisions, the one that called [`run`]. The others send it events:
//! `server`, `chat 1`, … and `watchdog` wait for the end of a child, `log` copies the server's log,
//! `control` waits for the clients, `console` reads the terminal, and `ctrl-c` waits for signals.
//! `output` writes to the terminal, so that a terminal that blocks or is gone holds up nothing
//! else. The built-in panes have threads of their own and take over the terminal; `output` then
//! writes into the server's pane.

mod config;
mod console;
mod display;
mod locale;
mod output;
mod process;
mod programs;
mod server;
mod session;
mod shell;

use std::io::{self, Write};

use anyhow::{Context, Result, anyhow};
use rustix::io::Errno;

use crate::cli::Terminal;
use crate::launcher::display::panes;
use crate::launcher::programs::Programs;
use crate::net::listen::{self, ListenAddress};
use crate::os;

pub use crate::launcher::config::Config;

/// Runs a session until SIGINT, SIGTERM, SIGHUP, `/quit` on the console, or the server's end.
///
/// The main thread calls this before it starts any other. Writes to stdout and stderr, and reads
/// stdin.
///
/// # Errors
/// Something that a session needs is missing, no window opened, or the server ended by itself. No
/// process is left running in any case.
pub fn run(config: &Config) -> Result<()> {
    os::settle_signals();
    os::reset_sigchld().context("cannot handle signals")?;
    start(config).map_err(add_advice)
}

/// Adds what to try if the system ran out of something.
fn add_advice(error: anyhow::Error) -> anyhow::Error {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    let advice = match causes.find_map(|cause: &io::Error| Errno::from_io_error(cause)) {
        Some(Errno::MFILE | Errno::NFILE) => "raise `ulimit -n`",
        Some(Errno::AGAIN) => "end other programs, or raise `ulimit -u`",
        Some(Errno::TOOBIG) => "make the environment smaller",
        _ => return error,
    };
    anyhow!("{error:#}; {advice}")
}

/// Checks everything that can be checked before the first process starts, and runs the session.
fn start(config: &Config) -> Result<()> {
    let programs = Programs::find()?;
    listen::check(&ListenAddress::from(&config.room), config.room.port())?;
    // A session without clients takes over no terminal, unless panes are asked for by name.
    let by_name = matches!(config.terminal, Terminal::Tmux | Terminal::Panes);
    let backends = if config.clients == 0 && !by_name {
        Vec::new()
    } else {
        display::backends(config.terminal)?
    };
    session::run(config, programs, backends)
}

/// Runs the hidden helper process of the built-in panes and the console, which restores the terminal on stdout if
/// the launcher cannot. The launcher's socket is its stdin.
///
/// # Errors
/// Stdin is not that socket, or stdout is not a terminal.
pub fn keep_terminal(leave: &str) -> io::Result<()> {
    panes::keep_terminal(leave)
}

/// Lists the terminals: which are found, which one `auto` takes, and why the others do not work
/// here.
///
/// # Errors
/// Writing to stdout failed.
pub fn list_terminals() -> io::Result<()> {
    io::stdout().write_all(display::list().as_bytes())
}
