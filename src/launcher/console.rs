//! The launcher's console: reads lines for the server from the terminal or a pipe.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::launcher::display::panes::TerminalWatchdog;
use crate::launcher::output::Output;
use crate::protocol::commands;
use crate::protocol::console::MAX_CONSOLE_LINE;
use crate::tty;
use crate::tty::console::{self, PROMPT};
use crate::tty::input::Keyboard;
use crate::tty::raw_mode;

/// How often a launcher in the background checks whether it is in the foreground again.
const BACKGROUND_PAUSE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// How long to wait for the terminal to show the last lines, in case it accepts no output.
const DETACH_TIME: Duration = Duration::from_millis(200);

/// The thread `console`, which reads stdin. Dropping this stops the thread and restores the
/// terminal.
pub(crate) struct ConsoleThread {
    stop: UnixStream,
    reader: Option<JoinHandle<()>>,
}

impl ConsoleThread {
    /// Starts the thread `console`. On a capable terminal, the user types lines in an editor below
    /// the log, and Tab completes `names`. If stdin isn't a terminal, the thread passes on a line
    /// only when `pipe`, to which the line will be written, has space for it: unlike a typed line,
    /// a dropped line could not be entered again.
    ///
    /// `on_line` gets each line with its ending, and gets the next line only after a call of
    /// [`ConsoleThread::line_handled`]. `on_suspend` is called after Ctrl+Z, and must make the main
    /// thread call [`console::Console::stop_job`]. Neither may block.
    ///
    /// # Errors
    /// A socket or thread can't be created.
    pub(crate) fn start(
        pipe: Option<OwnedFd>,
        output: &Output,
        is_colored: bool,
        names: Vec<String>,
        on_line: impl Fn(Vec<u8>) + Send + 'static,
        on_suspend: impl Fn(Arc<console::Console>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let stdin = io::stdin();
        let pipe = pipe.filter(|_| !stdin.is_terminal());
        let (stop, stopped) = UnixStream::pair()?;
        let has_editor = tty::is_capable() && tty::is_foreground(&stdin).is_some();
        let thread = thread::Builder::new().name("console".into());
        let reader = if has_editor {
            raw_mode::restore_on_panic(|| {});
            let keyboard = Keyboard::open()?.pausing_in_background(Some(stopped.try_clone()?));
            let (redrawn, output) = (output.clone(), output.clone());
            let console = console::Console::new(move || redrawn.redraw(), on_suspend);
            thread.spawn(move || {
                // Start the watchdog before the modes change, because it records the original
                // modes. If it cannot be started, the console works without it.
                let watchdog = TerminalWatchdog::start(&console::sequences()).ok();
                output.attach(Arc::clone(&console));
                let names = || names.clone();
                console.read_keys(keyboard, commands::of_console, names, |line| match line {
                    Ok(line) => {
                        output.say(&styled(is_colored, "\x1b[2m", &format!("{PROMPT}{line}")));
                        // Ignore the result: if this thread must stop, the keyboard's next read
                        // fails.
                        let _ = hand_over(format!("{line}\n").into(), &stopped, None, &on_line);
                    }
                    Err(refusal) => {
                        output.say(&styled(is_colored, "\x1b[33m", &format!("! {refusal}")));
                    }
                });
                output.detach(DETACH_TIME);
                // Only needed if the terminal accepts no output. Otherwise, the output thread has
                // restored it.
                raw_mode::restore();
                watchdog.into_iter().for_each(TerminalWatchdog::dismiss);
            })?
        } else {
            // Treat a read error like the end of input.
            thread.spawn(move || drop(read_lines(&stopped, pipe.as_ref(), on_line)))?
        };
        Ok(Self {
            stop,
            reader: Some(reader),
        })
    }

    /// Reports that the last line was handled. The thread then passes on the next line.
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

fn read_lines(
    stopped: &UnixStream,
    pipe: Option<&OwnedFd>,
    on_line: impl Fn(Vec<u8>),
) -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        let foreground = may_read(&io::stdin());
        let stdin = io::stdin();
        let mut waits = vec![PollFd::new(stopped, PollFlags::IN)];
        if foreground {
            waits.push(PollFd::new(&stdin, PollFlags::IN));
        }
        let timeout = (!foreground).then_some(&BACKGROUND_PAUSE);
        match rustix::event::poll(&mut waits, timeout) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if !waits[0].revents().is_empty() {
            return Ok(());
        }
        if waits.get(1).is_none_or(|wait| wait.revents().is_empty()) {
            continue;
        }
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            if !line.is_empty() {
                line.push(b'\n');
                hand_over(line, stopped, pipe, &on_line)?;
            }
            return Ok(());
        }
        for &byte in bytes {
            // Drop the end of a line that is too long. The rest of the line still exceeds the
            // limit, so the line is refused.
            if byte == b'\n' || line.len() < MAX_CONSOLE_LINE {
                line.push(byte);
            }
            if byte == b'\n' && !hand_over(std::mem::take(&mut line), stopped, pipe, &on_line)? {
                return Ok(());
            }
        }
        let count = bytes.len();
        input.consume(count);
    }
}

/// Passes on a line, and waits for [`ConsoleThread::line_handled`]. Returns false if the thread
/// must stop.
fn hand_over(
    line: Vec<u8>,
    mut stopped: &UnixStream,
    pipe: Option<&OwnedFd>,
    on_line: impl Fn(Vec<u8>),
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
    on_line(line);
    Ok(stopped.read(&mut [0])? > 0)
}

/// Whether stdin may be read now. Reading a terminal in the background would stop the job
/// (SIGTTIN).
fn may_read(stdin: &io::Stdin) -> bool {
    !stdin.is_terminal() || tty::is_foreground(stdin) == Some(true)
}
