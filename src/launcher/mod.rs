//! The launcher: starts a server and its client windows, and stops them together.
//!
//! ```text
//!   chat-run ──── stdin (console), stdout (log) ──── chat-server
//!     │  │                                                │
//!     │  └── control socket ──────── chat-client ── TCP ──┘
//!     └───── starts ── emulator ── opens a window with ──┘
//! ```
//!
//! Instead of an emulator, the built-in panes or the tmux in which chat-run runs can show the
//! clients (`display`).
//!
//! The thread that called [`run`] makes all decisions. The other threads send events to it:
//! `server`, `chat 1`, … and `watchdog` each wait for a child process to end, `log` copies the
//! server's log, `control` listens for clients on the control socket, `console` reads the terminal,
//! and `ctrl-c` waits for signals. If chat-run runs on the terminal of a program such as `su`,
//! `owner` waits for that program to exit. `screen` reads the size of the X11 screen, and `focus`
//! keeps the keyboard focus where it was while windows open. While the live view is shown, `live`
//! asks the server for samples and reads from `/proc` what the server's threads do. `output` writes
//! to the terminal, so that no other thread waits for a terminal that is blocked or gone. The
//! built-in panes have threads of their own and take over the terminal; `output` then writes to the
//! server's pane.

mod config;
mod console;
mod display;
mod frozen_client;
mod live;
mod locale;
mod output;
mod process;
mod programs;
mod proof;
mod room_names;
mod server;
mod session;
mod shell;

use std::io::{self, Write};

use anyhow::{Context, Result, anyhow};
use rustix::io::Errno;

use crate::cli::Terminal;
use crate::launcher::display::{Backend, panes};
use crate::launcher::programs::Programs;
use crate::net::listen::{self, ListenAddress};
use crate::os;

pub use crate::launcher::config::Config;

/// Runs a session until SIGINT, SIGTERM, SIGHUP or `/quit` on the console, or until the server
/// ends.
///
/// Call this function from the main thread before any other thread is started. It reads stdin, and
/// writes to stdout and stderr.
///
/// # Errors
/// Something that a session needs is missing, no window opened, or the server ended by itself. Even
/// after an error, no process is left running.
pub fn run(config: &Config) -> Result<()> {
    os::settle_signals();
    os::reset_sigchld().context("cannot handle signals")?;
    start(config).map_err(add_advice)
}

/// Adds advice to an error that reports a lack of some resource, such as file descriptors.
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

/// Checks everything that can be checked before the first process starts, and then runs the
/// session.
fn start(config: &Config) -> Result<()> {
    let programs = Programs::find()?;
    listen::check(&ListenAddress::from(&config.room), config.room.port())?;
    // Keep the log file open until the session ends. If it is a pipe, its reader would otherwise
    // see the end of the input before the server opens the pipe.
    let _log = config.room.log.as_deref().map(os::open_log).transpose()?;
    // Without clients, do not look for an emulator, because a later `/open` does so. But if the
    // user chose tmux or panes by name, check now that they can be used.
    let is_chosen_by_name = matches!(config.terminal, Terminal::Tmux | Terminal::Panes);
    let backends = if config.clients == 0 && !is_chosen_by_name {
        Vec::new()
    } else {
        display::backends(config.terminal)?
    };
    if let ([Backend::Tmux(tmux)], None) = (&backends[..], &config.room.password) {
        display::tmux::check_password(tmux)?;
    }
    session::run(config, programs, backends)
}

/// Runs the terminal watchdog of the built-in panes and the console, which is a hidden mode of
/// `chat-run`. The watchdog restores the terminal on stdout, with the escape sequences `leave`, if
/// the launcher dies. Its stdin is a socket from the launcher.
///
/// # Errors
/// Stdin is not such a socket, or stdout is not a terminal.
pub fn run_terminal_watchdog(leave: &str) -> io::Result<()> {
    panes::run_terminal_watchdog(leave)
}

/// Runs the watchdog of a frozen client, which is a hidden mode of `chat-run`. The watchdog
/// continues the client if the launcher dies. Its stdin is a socket from the launcher, and its
/// stdout is the client's pidfd.
///
/// # Errors
/// Stdin is not such a socket, or stdout is not a pidfd.
pub fn run_thaw_watchdog() -> io::Result<()> {
    frozen_client::run_watchdog()
}

/// Lists all terminals on stdout. The row of each terminal says where its program is, or why the
/// terminal is not available. Also shows which terminal `auto` selects.
///
/// # Errors
/// Writing to stdout failed.
pub fn list_terminals() -> io::Result<()> {
    io::stdout().write_all(display::list().as_bytes())
}
