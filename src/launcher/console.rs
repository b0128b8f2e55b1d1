//! The launcher's console: reads lines for the server from the terminal or a pipe.

use std::io::{self, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use crate::launcher::display::panes::TerminalWatchdog;
use crate::launcher::output::Output;
use crate::protocol::commands;
use crate::protocol::console::MAX_CONSOLE_LINE;
use crate::tty;
use crate::tty::console::{self, PROMPT};
use crate::tty::input::Keyboard;
use crate::tty::raw_mode;
use crate::tty::stdin::{self, InputEnd};

/// How long the console waits, when it ends, for the output thread to show the last lines and
/// restore the terminal. If the terminal accepts no output, the thread `console` itself restores it
/// after this time.
const DETACH_TIME: Duration = Duration::from_millis(200);

/// A report from the console.
pub(crate) enum ConsoleEvent {
    /// A line was typed. Includes its ending.
    Line(Vec<u8>),
    /// Ctrl+Z was pressed, and the terminal is restored. To suspend the program, the main thread
    /// must call [`console::Console::stop_job`].
    Suspend(Arc<console::Console>),
    /// The terminal is gone, or a program that owns the terminal, such as `su`, has exited (see
    /// [`tty::watch_owner`]).
    HangUp,
}

/// The thread `console`, which reads stdin. Dropping this stops the thread and restores the
/// terminal.
pub(crate) struct ConsoleThread {
    stop: UnixStream,
    reader: Option<JoinHandle<()>>,
}

impl ConsoleThread {
    /// Starts the thread `console`. On a capable terminal, the user types lines in an editor below
    /// the log, and Tab completes `names`.
    ///
    /// If stdin isn't a terminal, the thread passes on a line only when `pipe`, to which the caller
    /// writes the lines, has space. Otherwise, the caller would drop the line, and a script, unlike
    /// a person, would not enter it again.
    ///
    /// `on_event` must not block. It gets the next [`ConsoleEvent::Line`] only after a call of
    /// [`ConsoleThread::line_handled`].
    ///
    /// # Errors
    /// A socket or thread can't be created.
    pub(crate) fn start(
        pipe: Option<OwnedFd>,
        output: &Output,
        is_colored: bool,
        names: impl Fn() -> Vec<String> + Send + 'static,
        on_event: impl Fn(ConsoleEvent) + Clone + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let stdin = io::stdin();
        let pipe = pipe.filter(|_| !stdin.is_terminal());
        let (stop, stopped) = UnixStream::pair()?;
        let thread = thread::Builder::new().name("console".into());
        let reader = if tty::is_capable() {
            raw_mode::restore_on_panic(|| {});
            let keyboard = Keyboard::open()?.pausing_in_background(Some(stopped.try_clone()?));
            let (redrawn, output) = (output.clone(), output.clone());
            let suspending = on_event.clone();
            let console = console::Console::new(
                move || redrawn.redraw(),
                move |console| suspending(ConsoleEvent::Suspend(console)),
            );
            thread.spawn(move || {
                // Start the watchdog before the modes change, because it records the original
                // modes. If it cannot be started, the console works without it.
                let watchdog = TerminalWatchdog::start(&console::sequences()).ok();
                output.attach(Arc::clone(&console));
                let commands = commands::of_console;
                let end = console.read_keys(keyboard, commands, names, |line| match line {
                    Ok(line) => {
                        output.say(&styled(is_colored, "\x1b[2m", &format!("{PROMPT}{line}")));
                        // Ignore the result: if it says that this thread must stop, the next read
                        // of the keyboard fails and ends the loop.
                        let _ = hand_over(format!("{line}\n").into(), &stopped, None, &on_event);
                    }
                    Err(refusal) => {
                        output.say(&styled(is_colored, "\x1b[33m", &format!("! {refusal}")));
                    }
                });
                output.detach(DETACH_TIME);
                // If the terminal accepts no output, the output thread has not restored it. So
                // restore it here as well.
                raw_mode::restore();
                watchdog.into_iter().for_each(TerminalWatchdog::dismiss);
                report_hang_up(end, on_event);
            })?
        } else {
            thread.spawn(move || {
                let end = stdin::read_lines(Some(&stopped), MAX_CONSOLE_LINE, |line| {
                    hand_over(line, &stopped, pipe.as_ref(), &on_event).unwrap_or(false)
                });
                report_hang_up(end, on_event);
            })?
        };
        Ok(Self {
            stop,
            reader: Some(reader),
        })
    }

    /// Tells the thread `console` that the last line was handled, so that it passes on the next
    /// one.
    pub(crate) fn line_handled(&self) {
        // Ignore an error, which means that the thread has exited.
        let _ = (&self.stop).write_all(b"x");
    }
}

impl Drop for ConsoleThread {
    fn drop(&mut self) {
        let _ = self.stop.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn styled(is_colored: bool, style: &str, text: &str) -> String {
    if is_colored {
        format!("{style}{text}\x1b[m")
    } else {
        text.to_owned()
    }
}

fn report_hang_up(end: InputEnd, on_event: impl Fn(ConsoleEvent)) {
    match end {
        InputEnd::HangUp => on_event(ConsoleEvent::HangUp),
        InputEnd::Stopped | InputEnd::EndOfInput => {}
    }
}

/// Passes a line to `on_event`, and waits until [`ConsoleThread::line_handled`] is called. If there
/// is a `pipe`, first waits until the pipe has space. Returns false if the thread must stop.
fn hand_over(
    line: Vec<u8>,
    mut stopped: &UnixStream,
    pipe: Option<&OwnedFd>,
    on_event: impl Fn(ConsoleEvent),
) -> io::Result<bool> {
    if let Some(pipe) = pipe {
        let mut waits = [
            PollFd::new(stopped, PollFlags::IN),
            PollFd::new(pipe, PollFlags::OUT),
        ];
        while let Err(error) = rustix::event::poll(&mut waits, None) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
        if !waits[0].revents().is_empty() {
            return Ok(false);
        }
    }
    on_event(ConsoleEvent::Line(line));
    Ok(stopped.read(&mut [0])? > 0)
}
