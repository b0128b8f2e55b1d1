//! The host terminal, on which the panes are drawn.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use anyhow::{Result, bail};
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange,
};
use ratatui::crossterm::queue;
use ratatui::crossterm::style::{Print, ResetColor};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};

use crate::tty::raw_mode::{self, RawMode, Sequences};

/// Makes xterm send Escape and `1` for Alt+1, instead of `±` (`metaSendsEscape` and
/// `altSendsEscape`), and saves the previous settings (XTSAVE). Other terminals send Escape by
/// default.
const ALT_AS_ESCAPE: &str = "\x1b[?1036;1039s\x1b[?1036;1039h";

/// Restores the settings that [`ALT_AS_ESCAPE`] saved (XTRESTORE).
const RESTORE_ALT: &str = "\x1b[?1036;1039r";

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
        let mut enter = Vec::new();
        queue!(
            enter,
            EnterAlternateScreen,
            EnableBracketedPaste,
            EnableFocusChange,
            Print(ALT_AS_ESCAPE),
            Clear(ClearType::All)
        )?;
        let raw_mode = RawMode::enter(Sequences {
            enter,
            leave: leave_sequences().into(),
            has_flow_control: false,
        })?;
        Ok(Self {
            out,
            raw_mode: Some(raw_mode),
        })
    }

    /// Draws a frame. A terminal that supports synchronized updates shows the whole frame at once.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn show(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(frame.len() + 16);
        queue!(bytes, BeginSynchronizedUpdate)?;
        bytes.extend_from_slice(frame);
        queue!(bytes, EndSynchronizedUpdate)?;
        self.out.write_all(&bytes)
    }
}

impl Drop for HostTerminal {
    fn drop(&mut self) {
        // This waits for the terminal. If the terminal accepts no output, the watchdog restores it
        // when the process has ended.
        if let Some(raw_mode) = self.raw_mode.take() {
            raw_mode.restore_and_wait();
        }
    }
}

/// Returns the sequences that leave the alternate screen and restore the cursor.
pub(crate) fn leave_sequences() -> String {
    let mut bytes = Vec::new();
    // Ignore the result, because writing to memory can't fail.
    let _ = queue!(
        bytes,
        EndSynchronizedUpdate,
        Print(RESTORE_ALT),
        DisableFocusChange,
        DisableBracketedPaste,
        ResetColor,
        LeaveAlternateScreen,
        Show
    );
    String::from_utf8_lossy(&bytes).into_owned()
}
