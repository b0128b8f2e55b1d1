//! The host terminal, on which the panes are drawn.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use anyhow::{Result, bail};
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};

use crate::tty::modes::{self, Mode};
use crate::tty::raw_mode::{self, RawMode, Sequences};

/// Returns the sequences that set and restore the modes of the terminal.
pub(crate) fn sequences() -> Sequences {
    let modes = [
        Mode::AlternateScreen,
        Mode::BracketedPaste,
        Mode::FocusReports,
        Mode::AltAsEscape,
        Mode::NoWheelKeys,
    ];
    modes::sequences(&modes, "")
}

/// Checks that panes can be drawn on this program's terminal.
///
/// # Errors
/// Panes cannot be drawn here. The error says why, and what to try.
pub(crate) fn check() -> Result<()> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        bail!(
            "panes need a terminal as stdin and as stdout; start chat-run in one, without a pipe"
        );
    }
    if env::var_os("TERM").is_some_and(|term| term == "dumb") {
        bail!(
            "panes need a terminal that can move its cursor, and TERM is `dumb`; \
             set TERM to the type of this terminal"
        );
    }
    Ok(())
}

/// The host terminal. It is in raw mode and shows the alternate screen until this is dropped.
pub(crate) struct HostTerminal {
    /// A duplicate of stdout, used because a blocked writer may hold the lock of std's stdout.
    out: File,
    raw_mode: Option<RawMode>,
}

impl HostTerminal {
    /// Takes over the terminal. From then on, a panic in any thread restores the terminal, so that
    /// the panic message can be read, and calls `on_panic`.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn take(on_panic: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        raw_mode::restore_on_panic(on_panic);
        let raw_mode = RawMode::enter(sequences())?;
        Ok(Self {
            out,
            raw_mode: Some(raw_mode),
        })
    }

    /// Draws a frame. A terminal that supports synchronized updates shows the whole frame at once.
    ///
    /// # Errors
    /// The terminal is gone, or was restored because a thread panicked or the program is exiting.
    pub(crate) fn show(&mut self, frame: &[u8]) -> io::Result<()> {
        if !raw_mode::is_taken() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut bytes = Vec::with_capacity(frame.len() + 16);
        queue!(bytes, BeginSynchronizedUpdate)?;
        bytes.extend_from_slice(frame);
        queue!(bytes, EndSynchronizedUpdate)?;
        self.out.write_all(&bytes)
    }
}

impl Drop for HostTerminal {
    fn drop(&mut self) {
        // This waits until the terminal has accepted the output that restores it. If the process
        // ends before that, the watchdog tries to restore the terminal.
        if let Some(raw_mode) = self.raw_mode.take() {
            raw_mode.restore_and_wait();
        }
    }
}
