//! The terminal that the panes are drawn on: whether it can, taken over, and given back.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic;

use anyhow::{Result, bail};
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange,
};
use ratatui::crossterm::queue;
use ratatui::crossterm::style::{Print, ResetColor};
use ratatui::crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};

/// Makes xterm send Escape and the digit for Alt+1, not `±`, and remembers how it was (XTSAVE; `metaSendsEscape` and `altSendsEscape`). Others do so anyway.
const ALT_AS_ESCAPE: &str = "\x1b[?1036;1039s\x1b[?1036;1039h";

/// Has it as it was (XTRESTORE).
const ALT_AS_BEFORE: &str = "\x1b[?1036;1039r";

/// Checks that this program stands on a terminal that panes can be drawn on.
///
/// # Errors
/// It does not: says what is missing.
pub(crate) fn check() -> Result<()> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        bail!("panes need a terminal as stdin and as stdout; start it in one, without a pipe");
    }
    if env::var_os("TERM").is_some_and(|term| term == "dumb") {
        bail!(
            "panes need a terminal that can place its cursor, and TERM is `dumb`; set TERM to what it is"
        );
    }
    Ok(())
}

/// The terminal, taken over. Dropping it gives it back.
pub(crate) struct HostTerminal {
    out: File,
}

impl HostTerminal {
    /// Takes the terminal: keys come as they are typed, and what is on the screen is kept aside. A panic in any thread gives it back, so that it can be
    /// read, and calls `on_panic`.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn take(on_panic: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        // Not std's stdout, whose lock a blocked writer may hold.
        let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        terminal::enable_raw_mode()?;
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back(&mut io::stdout());
            on_panic();
            previous(panic);
        }));
        let mut bytes = Vec::new();
        queue!(
            bytes,
            EnterAlternateScreen,
            EnableBracketedPaste,
            EnableFocusChange,
            Print(ALT_AS_ESCAPE),
            Clear(ClearType::All)
        )?;
        let taken = out.write_all(&bytes);
        let outer = Self { out };
        taken.map(|()| outer)
    }

    /// Shows a frame at once, where the terminal can do that.
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
        give_back(&mut self.out);
    }
}

/// Gives the terminal back, once. Nobody is left to mind where it is gone.
fn give_back(out: &mut impl Write) {
    if terminal::is_raw_mode_enabled().unwrap_or(false) {
        let _ = out.write_all(&leaving());
        let _ = out.flush();
        let _ = terminal::disable_raw_mode();
    }
}

/// What shows again what was on the screen before, with the cursor where it was.
pub(crate) fn leaving() -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = queue!(
        bytes,
        EndSynchronizedUpdate,
        Print(ALT_AS_BEFORE),
        DisableFocusChange,
        DisableBracketedPaste,
        ResetColor,
        LeaveAlternateScreen,
        Show
    );
    bytes
}
