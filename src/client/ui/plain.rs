//! The plain UI: the conversation on stdout, errors and prompts on stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use termcolor::{BufferedStandardStream, ColorChoice};

use crate::cli;
use crate::client::ui::format::{Formatter, Layout};
use crate::protocol::event::{Answer, Welcome};
use crate::protocol::json::Received;
use crate::tty::line::Line;
use crate::tty::style;
use crate::tty::wrap;

/// Stdout and stderr. Stdout is buffered until [`Plain::flush`].
pub(crate) struct Plain {
    out: BufferedStandardStream,
    err: BufferedStandardStream,
    pub(crate) formatter: Formatter,
}

impl Plain {
    pub(crate) fn new(color: cli::Color) -> Self {
        let choice = |is_colored| {
            if is_colored {
                ColorChoice::Always
            } else {
                ColorChoice::Never
            }
        };
        let out = style::is_colored_on(&io::stdout(), color);
        let err = style::is_colored_on(&io::stderr(), color);
        let mut formatter = Formatter::new(Layout::Stream, TimeZone::system(), Timestamp::now());
        if io::stdout().is_terminal() {
            formatter.names.fit_terminal(|| None);
        }
        Self {
            out: BufferedStandardStream::stdout(choice(out)),
            err: BufferedStandardStream::stderr(choice(err)),
            formatter,
        }
    }

    /// Shows that the client has joined. `last_shown` is `Some` if the client has rejoined: it is
    /// the number of the last event shown.
    ///
    /// # Errors
    /// Stdout cannot be written to.
    pub(crate) fn welcome(&mut self, welcome: &Welcome, last_shown: Option<u64>) -> io::Result<()> {
        let line = self.formatter.welcome(welcome, last_shown);
        self.write_out(&[line])
    }

    /// Shows an event or answer from the server.
    ///
    /// # Errors
    /// Stdout cannot be written to.
    pub(crate) fn received(&mut self, received: &Received) -> io::Result<()> {
        let lines = match received {
            Received::Record(record, replay) => self.formatter.record(record, *replay),
            Received::Answer(Answer::Error(text)) => {
                self.show_error(text);
                return Ok(());
            }
            Received::Answer(answer) => self.formatter.answer(answer),
            Received::Unknown => return Ok(()),
        };
        self.write_out(&lines)
    }

    fn write_out(&mut self, lines: &[Line]) -> io::Result<()> {
        for line in lines {
            line.write_to(&mut self.out)?;
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Shows why a request failed.
    pub(crate) fn show_error(&mut self, reason: &impl Display) {
        let line = self.formatter.error(reason);
        self.write_err(&line, "\n");
    }

    /// Shows a notice that is not part of the conversation.
    pub(crate) fn show_notice(&mut self, text: &str) {
        let line = self.formatter.notice(text);
        self.write_err(&line, "\n");
    }

    /// Shows an error that ends the client or loses input.
    pub(crate) fn show_failure(&mut self, error: &impl Display) {
        self.write_err(&Formatter::failure(error), "\n");
    }

    /// Asks a question, and leaves the cursor on the same line.
    pub(crate) fn prompt(&mut self, question: &str) {
        let question = question.replace(wrap::NO_BREAK, " ");
        self.write_err(&Line::plain(&question), "");
    }

    /// Moves to a new line after a prompt.
    pub(crate) fn end_prompt(&mut self) {
        self.write_err(&Line::default(), "\n");
    }

    /// Writes all buffered output to stdout.
    ///
    /// # Errors
    /// Stdout cannot be written to: a pipe is closed, a disk is full.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes to stderr. Flushes stdout first, because both may be the same terminal. Ignores
    /// errors, because there is no other place to report them.
    fn write_err(&mut self, line: &Line, ending: &str) {
        let _ = self.out.flush();
        let _ = line
            .write_to(&mut self.err)
            .and_then(|()| self.err.write_all(ending.as_bytes()))
            .and_then(|()| self.err.flush());
    }
}
