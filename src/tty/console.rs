//! A console on a terminal: the log and, below it, the line being typed.
//!
//! ```text
//!   terminal ──▶ Console::read_keys ──▶ Editor ──▶ on_line: a submitted line
//!                                         │ rows
//!                                         ▼
//!   log lines ───────────────────────▶ LogOutput ──▶ terminal
//! ```
//!
//! Only the thread that owns the [`LogOutput`], the log thread, writes to the terminal and sets its
//! modes. A terminal that blocks, as after Ctrl+S, delays only the log thread: keys still edit the
//! line, and Enter still submits it.
//!
//! While the process is in the background, the terminal belongs to the shell: no keys are read, no
//! modes are set, and log lines are written as if there were no console.
//!
//! Ctrl+Z involves three threads, because the log thread must restore the modes before the main
//! thread stops the job. The thread that reads keys notifies the log thread. The log thread
//! restores the terminal and notifies the main thread. The main thread calls [`Console::stop_job`].

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{Event, KeyCode};
use rustix::process::{Signal, kill_current_process_group};

use crate::os;
use crate::protocol::commands::{self, Argument, Command};
use crate::sync::Mutex;
use crate::tty;
use crate::tty::editor::{Completion, Editor, EditorAction, History, Purpose, Refusal};
use crate::tty::input::Keyboard;
use crate::tty::line::Line;
use crate::tty::log_wrap;
use crate::tty::modes::{self, Mode};
use crate::tty::raw_mode::{self, RawMode, Sequences};
use crate::tty::screen::Screen;
use crate::tty::stdin::InputEnd;

/// The prompt before the typed line.
pub(crate) const PROMPT: &str = "> ";

/// Returns the sequences that set and restore the modes of the terminal. The restoring sequences
/// also erase the cursor's row and all rows below it.
pub(crate) fn sequences() -> Sequences {
    Sequences {
        has_flow_control: true,
        ..modes::sequences(&[Mode::BracketedPaste, Mode::AltAsEscape], "\r\x1b[J")
    }
}

/// Input that [`Console::read_keys`] must handle because the editor cannot: a submitted line,
/// refused input, or Ctrl+C.
enum Input {
    Line(String),
    Refused(Refusal),
    Interrupt,
}

/// The line being typed, shared by the thread that reads keys and the log thread.
pub(crate) struct Console {
    state: Mutex<State>,
    /// Function that wakes the log thread, which draws the console.
    wake: Box<dyn Fn() + Send + Sync>,
    /// Function that asks the main thread to call [`Console::stop_job`].
    suspend: Box<dyn Fn(Arc<Self>) + Send + Sync>,
}

struct State {
    editor: Editor,
    phase: Phase,
    /// Whether the line has changed since it was last drawn.
    is_stale: bool,
    /// Whether the window was resized since the line was last drawn.
    is_resized: bool,
    /// Whether Ctrl+L was pressed, so that the log thread must clear the screen.
    is_cleared: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The console uses the terminal while the process is in the foreground.
    Active,
    /// Ctrl+Z was pressed: the log thread must restore the terminal.
    Suspending,
    /// The terminal is restored: the main thread must stop the job.
    Suspended,
    /// The console has ended: no more keys are read.
    Over,
}

impl Console {
    /// Creates a console with an empty line. `wake` must make the log thread call
    /// [`LogOutput::update`] soon, and `suspend` must make the main thread call
    /// [`Console::stop_job`]. Neither may block.
    pub(crate) fn new(
        wake: impl Fn() + Send + Sync + 'static,
        suspend: impl Fn(Arc<Self>) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                editor: Editor::new(PROMPT, Purpose::Command, History::default()),
                phase: Phase::Active,
                is_stale: true,
                is_resized: false,
                is_cleared: false,
            }),
            wake: Box::new(wake),
            suspend: Box::new(suspend),
        })
    }

    /// Reads keys until the terminal is gone or `keyboard` is stopped, and returns which of these
    /// happened. Tab completes `commands` and members' `names`. `on_line` gets each submitted line
    /// without its ending, or the reason why input was refused. Ctrl+C sends SIGINT to the process
    /// group.
    pub(crate) fn read_keys<Commands: Iterator<Item = &'static Command>>(
        &self,
        mut keyboard: Keyboard,
        commands: impl Fn() -> Commands,
        names: impl Fn() -> Vec<String>,
        on_line: impl Fn(Result<String, Refusal>),
    ) -> InputEnd {
        os::fail_background_reads();
        let mut is_interrupted = false;
        let end = loop {
            let event = match keyboard.read() {
                Ok(event) => event,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    break InputEnd::Stopped;
                }
                Err(_) => break InputEnd::of_terminal(),
            };
            let is_tab = matches!(&event, Event::Key(key) if [KeyCode::Tab, KeyCode::BackTab].contains(&key.code));
            // Get the names before taking the state's lock, because getting them takes another
            // lock.
            let names = if is_tab { names() } else { Vec::new() };
            match self.handle(event, |before| complete(before, commands(), &names)) {
                Some(Input::Interrupt) => is_interrupted = true,
                Some(Input::Line(line)) => on_line(Ok(line)),
                Some(Input::Refused(refusal)) => on_line(Err(refusal)),
                None => {}
            }
            // Count several Ctrl+C that arrive together as one, as the terminal driver does with
            // signals.
            if is_interrupted && !keyboard.has_partial_input() {
                is_interrupted = false;
                raw_mode::restart_output();
                // Signal the whole group, as the terminal driver does. This call can't fail for the
                // process's own group.
                let _ = kill_current_process_group(Signal::INT);
            }
            (self.wake)();
        };
        self.state.lock().phase = Phase::Over;
        (self.wake)();
        end
    }

    fn handle(&self, event: Event, complete: impl Fn(&str) -> Option<Completion>) -> Option<Input> {
        let mut state = self.state.lock();
        state.is_stale = true;
        match event {
            Event::Key(key) => match state.editor.key(key, complete)? {
                EditorAction::Submit => return Some(Input::Line(state.editor.take())),
                EditorAction::Refuse(refusal) => return Some(Input::Refused(refusal)),
                EditorAction::Clear => state.is_cleared = true,
                EditorAction::Interrupt => return Some(Input::Interrupt),
                // Ignore another Ctrl+Z until the job has been stopped.
                EditorAction::Suspend if state.phase == Phase::Active => {
                    state.phase = Phase::Suspending;
                    drop(state);
                    raw_mode::restart_output();
                }
                EditorAction::Suspend => {}
                // Ignore Ctrl+D: unlike a shell, this console doesn't end on it.
                EditorAction::EndOfInput => {}
            },
            Event::Paste(text) => return state.editor.paste(&text).err().map(Input::Refused),
            Event::Resize(..) => state.is_resized = true,
            Event::Mouse(mouse) => state.editor.scroll(mouse.kind),
            Event::FocusGained | Event::FocusLost => {}
        }
        None
    }

    /// Records that the log thread has restored the terminal. Returns true if it did so because of
    /// Ctrl+Z, so that the main thread must now stop the job.
    fn finish_suspending(&self) -> bool {
        let mut state = self.state.lock();
        let is_suspending = state.phase == Phase::Suspending;
        if is_suspending {
            state.phase = Phase::Suspended;
        }
        is_suspending
    }

    /// Stops the job. When the job continues, makes the console use the terminal again. Must be
    /// called from the main thread, like [`raw_mode::stop_job`].
    pub(crate) fn stop_job(&self) {
        // Ignore an error: the job is then not stopped, and the console continues at once.
        let _ = raw_mode::stop_job();
        let mut state = self.state.lock();
        if state.phase == Phase::Suspended {
            state.phase = Phase::Active;
        }
        drop(state);
        (self.wake)();
    }
}

/// Writes log lines to stdout, above a [`Console`] if one is attached. Owned by the log thread,
/// which is the only thread that writes to the terminal.
pub(crate) struct LogOutput {
    out: BufWriter<Stdout>,
    /// Whether stdout was a terminal at the start. Otherwise its width need not be asked for before
    /// each line, which would take longer than writing the line.
    is_terminal: bool,
    attached: Option<Attached>,
}

struct Attached {
    console: Arc<Console>,
    screen: Screen,
    /// The guard that restores the terminal when it is dropped. `None` while the console does not
    /// use the terminal.
    raw_mode: Option<RawMode>,
}

impl LogOutput {
    /// Creates output without a console. Must be called in the log thread.
    pub(crate) fn new() -> Self {
        // Allow output in the background, so that a write does not stop the process if it moves to
        // the background just before the write.
        os::allow_terminal_output();
        Self {
            out: BufWriter::new(io::stdout()),
            is_terminal: io::stdout().is_terminal(),
            attached: None,
        }
    }

    /// Attaches a console, which the next [`LogOutput::update`] shows below the log.
    pub(crate) fn attach(&mut self, console: Arc<Console>) {
        self.attached = Some(Attached {
            console,
            screen: Screen::new(true, false),
            raw_mode: None,
        });
    }

    /// Draws the pending lines, removes the typed line and restores the terminal.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn detach(&mut self) -> io::Result<()> {
        let Some(mut attached) = self.attached.take() else {
            return Ok(());
        };
        attached.release(&mut self.out)
    }

    /// Makes the terminal raw or restores it, as the console's state requires. Must be called
    /// before lines are written. Blocks while the process is in the background and `stty tostop`
    /// forbids output from there.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn update(&mut self) -> io::Result<()> {
        tty::wait_while_output_is_held();
        let Some(attached) = &mut self.attached else {
            return Ok(());
        };
        let (phase, is_cleared, is_resized) = {
            let mut state = attached.console.state.lock();
            if std::mem::take(&mut state.is_stale) {
                attached.screen.touch();
            }
            let is_cleared = std::mem::take(&mut state.is_cleared);
            let is_resized = std::mem::take(&mut state.is_resized);
            (state.phase, is_cleared, is_resized)
        };
        if phase == Phase::Active && !tty::is_background(&io::stdin()) {
            attached.take(&mut self.out)?;
            if is_resized {
                attached.screen.resize();
            }
            if is_cleared {
                attached.screen.clear();
            }
            return Ok(());
        }
        let released = attached.release(&mut self.out);
        if attached.console.finish_suspending() {
            (attached.console.suspend)(Arc::clone(&attached.console));
        }
        released
    }

    /// Whether a console is using the terminal, which is then raw.
    pub(crate) fn is_raw(&self) -> bool {
        let attached = self.attached.as_ref();
        attached.is_some_and(|attached| attached.raw_mode.is_some())
    }

    /// Writes whole lines, which [`LogOutput::flush`] shows. Without a console, the lines are
    /// wrapped between words if stdout is a terminal.
    ///
    /// # Errors
    /// Writing to stdout fails.
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Some(attached) = &mut self.attached
            && attached.raw_mode.is_some()
        {
            for line in String::from_utf8_lossy(lines).lines() {
                attached.screen.print(Line::of_log(line));
            }
            return Ok(());
        }
        let columns = if self.is_terminal {
            tty::columns(self.out.get_ref())
        } else {
            None
        };
        self.out.write_all(&log_wrap::fitting(lines, columns))
    }

    /// How long the next drawing should wait. `None` if there is nothing to draw.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let attached = self.attached.as_ref()?;
        attached.raw_mode.as_ref()?;
        attached.screen.wait()
    }

    /// Shows the lines written so far, unless [`LogOutput::wait`] says that drawing can wait.
    ///
    /// # Errors
    /// Writing to stdout fails.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.wait().is_some_and(|wait| wait.is_zero())
            && let Some(attached) = &mut self.attached
            && attached.screen.refresh_size()
        {
            let rows = {
                let state = attached.console.state.lock();
                let screen = &attached.screen;
                state.editor.rows(screen.columns(), screen.most_rows())
            };
            return attached.screen.draw(&rows, None);
        }
        self.out.flush()
    }
}

impl Attached {
    /// Makes the terminal raw unless it already is.
    fn take(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.raw_mode.is_none() || !raw_mode::is_taken() {
            // If a panic in another thread has restored the terminal, the old guard still exists.
            // Drop it first: dropped later, it would undo the new raw mode.
            self.raw_mode = None;
            out.flush()?;
            self.raw_mode = Some(RawMode::enter(sequences())?);
        } else if !raw_mode::retake()? {
            return Ok(());
        }
        self.screen.begin_below();
        self.screen.touch();
        Ok(())
    }

    /// Restores the terminal if it's raw.
    fn release(&mut self, out: &mut impl Write) -> io::Result<()> {
        let Some(raw_mode) = self.raw_mode.take() else {
            return Ok(());
        };
        if tty::is_background(&io::stdin()) {
            // Leave the screen alone: the shell is using the terminal again, and its prompt is in
            // the row of the typed line.
            drop(raw_mode);
            return out.write_all(self.screen.take_pending().as_bytes());
        }
        let left = self.screen.leave();
        drop(raw_mode);
        left
    }
}

/// Completes the last word of `before`. The candidates are `commands` for the first word, and
/// `names` after a command that expects a member's name.
pub(crate) fn complete(
    before: &str,
    mut commands: impl Iterator<Item = &'static Command>,
    names: &[String],
) -> Option<Completion> {
    if before.is_empty() {
        return None;
    }
    Completion::of_last_word(before, |before| {
        let command = before.trim_end().to_lowercase();
        let takes_member = |row: &Command| {
            row.argument == Argument::Member && row.names.contains(&command.as_str())
        };
        if command.is_empty() {
            let offered = commands::offered(commands);
            offered.into_iter().map(String::from).collect()
        } else if commands.any(takes_member) {
            names.to_vec()
        } else {
            Vec::new()
        }
    })
}

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyEvent, KeyModifiers};

    use super::*;

    #[test]
    fn ctrl_z_is_ignored_while_the_job_is_being_stopped_and_after_end_of_input() {
        let console = Console::new(|| {}, |_| {});
        let press_ctrl_z = || {
            let key = KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL);
            assert!(console.handle(Event::Key(key), |_| None).is_none());
        };
        press_ctrl_z();
        assert!(console.finish_suspending());
        press_ctrl_z();
        assert!(!console.finish_suspending());

        console.state.lock().phase = Phase::Active;
        press_ctrl_z();
        console.state.lock().phase = Phase::Over;
        assert!(!console.finish_suspending());
        assert!(console.state.lock().phase == Phase::Over);
    }

    #[test]
    fn tab_completes_commands_and_the_names_after_kick() {
        let names = ["ola", "Olek", "jan", "Łukasz"].map(String::from);
        for (before, expected) in [
            ("/k", &["/kick "][..]),
            ("/O", &["/online ", "/open "]),
            ("/kick ol", &["ola ", "Olek "]),
            ("/kick lu", &["Łukasz "]),
            ("/KICK ", &["ola ", "Olek ", "jan ", "Łukasz "]),
            ("", &[]),
            ("/kick ola ", &[]),
            ("/say o", &[]),
            ("/x", &[]),
        ] {
            let words = complete(before, commands::of_console(), &names);
            let words = words.map(|completion| completion.words);
            assert_eq!(words.unwrap_or_default(), expected, "{before:?}");
        }
    }
}
