//! What the user sees: the conversation on stdout, the rest on stderr.

use std::fmt::Display;
use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use termcolor::{BufferedStandardStream, ColorChoice, WriteColor};

use crate::cli;
use crate::client::ui::context::Conversation;
use crate::protocol::event::{Answer, Event, Record, Welcome};
use crate::protocol::json::Received;
use crate::protocol::text::{Text, clean};
use crate::tty::style;

/// The two streams. What is shown stays in memory until [`Plain::flush`].
pub(crate) struct Plain {
    out: BufferedStandardStream,
    err: BufferedStandardStream,
    conversation: Conversation,
}

impl Plain {
    pub(crate) fn new(color: cli::Color) -> Self {
        let choice = |coloured| match coloured {
            true => ColorChoice::Always,
            false => ColorChoice::Never,
        };
        let out = style::is_coloured_on(&io::stdout(), color);
        let err = style::is_coloured_on(&io::stderr(), color);
        Self {
            out: BufferedStandardStream::stdout(choice(out)),
            err: BufferedStandardStream::stderr(choice(err)),
            conversation: Conversation::new(TimeZone::system(), Timestamp::now()),
        }
    }

    /// Shows that the client is a member now.
    ///
    /// # Errors
    /// As [`Plain::flush`].
    pub(crate) fn welcome(&mut self, welcome: Welcome) -> io::Result<()> {
        self.conversation.enter(&welcome);
        writeln!(self.out, "{}", Answer::Welcome(welcome))
    }

    /// Shows what the server sent.
    ///
    /// # Errors
    /// As [`Plain::flush`].
    pub(crate) fn received(&mut self, received: &Received) -> io::Result<()> {
        match received {
            Received::Record(record, replay) => {
                write_record(&mut self.out, &mut self.conversation, record, *replay)
            }
            Received::Answer(Answer::Error(text)) => {
                self.show_error(text);
                Ok(())
            }
            Received::Answer(answer) => write_answer(&mut self.out, &mut self.conversation, answer),
            Received::Unknown => Ok(()),
        }
    }

    /// Shows why something is not done.
    pub(crate) fn show_error(&mut self, reason: &impl Display) {
        self.on_stderr(
            |err| style::paint_answer(err, &Answer::Error(Text::new(&reason.to_string()))),
            "\n",
        );
    }

    /// Says something that is not of the conversation.
    pub(crate) fn show_notice(&mut self, text: &str) {
        self.on_stderr(|err| write!(err, "* {}", clean(text)), "\n");
    }

    /// Shows what has failed.
    pub(crate) fn show_failure(&mut self, error: &impl Display) {
        self.on_stderr(
            |err| write!(err, "error: {}", clean(&error.to_string())),
            "\n",
        );
    }

    /// Asks for something, and leaves the cursor there.
    pub(crate) fn prompt(&mut self, question: &str) {
        self.on_stderr(|err| write!(err, "{question}"), "");
    }

    /// Goes on to the next line where the terminal has echoed something that ends no line, such as `^C`.
    pub(crate) fn end_prompt(&mut self) {
        self.on_stderr(|_| Ok(()), "\n");
    }

    /// Shows all that is still in memory.
    ///
    /// # Errors
    /// Stdout takes nothing more: a pipe is closed, a disk is full.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// In the order in which it happened, as both may be the same terminal. Where stderr is gone, nobody can be told.
    fn on_stderr(
        &mut self,
        write: impl FnOnce(&mut BufferedStandardStream) -> io::Result<()>,
        ending: &str,
    ) {
        let _ = self.out.flush();
        let _ = write(&mut self.err)
            .and_then(|()| write!(self.err, "{ending}"))
            .and_then(|()| self.err.flush());
    }
}

/// Writes an event, with what stands above it.
fn write_record(
    out: &mut dyn WriteColor,
    conversation: &mut Conversation,
    record: &Record,
    replay: bool,
) -> io::Result<()> {
    match conversation.turn(replay) {
        // How many there are is known only when the last has come, and they may be too many to keep.
        Some(true) => writeln!(out, "* the past messages")?,
        Some(false) => writeln!(out, "{}", Answer::PastEnds)?,
        None => {}
    }
    // What the user typed is on the screen, and who they are is in the welcome.
    let event = &record.event;
    let tells_of_user = matches!(event, Event::Message { .. } | Event::Joined(_));
    if tells_of_user && event.member().is_some_and(|id| conversation.is_own(id)) {
        return Ok(());
    }
    write_time(out, conversation, record.time)?;
    if conversation.calls(event) {
        style::paint_call(out, event)?;
    } else {
        style::paint_event(out, event)?;
    }
    out.write_all(b"\n")?;
    conversation.follow(event);
    Ok(())
}

fn write_answer(
    out: &mut dyn WriteColor,
    conversation: &mut Conversation,
    answer: &Answer,
) -> io::Result<()> {
    // It came already, and cannot come again.
    if let Answer::Welcome(_) = answer {
        return Ok(());
    }
    if let Some(time) = answer.time() {
        write_time(out, conversation, time)?;
    }
    style::paint_answer(out, answer)?;
    out.write_all(b"\n")
}

/// Writes the time of day, and above it the day, where it is another one than that of the line before.
fn write_time(
    out: &mut dyn WriteColor,
    conversation: &mut Conversation,
    time: Timestamp,
) -> io::Result<()> {
    if let Some(day) = conversation.new_day(time) {
        writeln!(out, "* {day}")?;
    }
    write!(out, "{} ", conversation.clock(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use termcolor::Buffer;

    const NOON: &str = "2026-01-31T12:00:00Z";

    /// What `ala`, member 7, sees, with its colours.
    fn screen(received: &[Received]) -> String {
        let mut out = Buffer::ansi();
        let mut conversation = Conversation::new(TimeZone::UTC, NOON.parse().unwrap());
        let welcome =
            r#"{"type":"welcome","room":"r","id":7,"name":"ala","count":1,"online":[],"seq":0}"#;
        if let Ok(Received::Answer(Answer::Welcome(welcome))) = Received::decode(welcome) {
            conversation.enter(&welcome);
        }
        for received in received {
            match received {
                Received::Record(record, replay) => {
                    write_record(&mut out, &mut conversation, record, *replay)
                }
                Received::Answer(answer) => write_answer(&mut out, &mut conversation, answer),
                Received::Unknown => Ok(()),
            }
            .unwrap();
        }
        String::from_utf8(out.into_inner()).unwrap()
    }

    fn at(time: &str, id: u64, text: &str) -> Received {
        let line = format!(
            r#"{{"type":"message","seq":1,"time":"{time}","id":{id},"from":"ola","text":"{text}"}}"#
        );
        Received::decode(&line).unwrap()
    }

    fn past(received: Received) -> Received {
        match received {
            Received::Record(record, _) => Received::Record(record, true),
            other @ (Received::Answer(_) | Received::Unknown) => other,
        }
    }

    #[test]
    fn a_message_has_its_time_and_its_sender_in_colour() {
        let seen = screen(&[at(NOON, 3, "hi")]);
        assert!(seen.starts_with("12:00 \x1b[0m\x1b[38;5;"), "{seen:?}");
        assert!(seen.ends_with("mola\x1b[0m: hi\n"), "{seen:?}");
    }

    #[test]
    fn a_message_that_has_the_readers_name_in_it_stands_out() {
        assert!(screen(&[at(NOON, 3, "hi ala")]).contains("\x1b[1m"));
        assert!(!screen(&[at(NOON, 3, "hi koala")]).contains("\x1b[1m"));
    }

    #[test]
    fn what_the_user_said_is_not_shown_again() {
        assert_eq!(screen(&[at(NOON, 7, "hi")]), "");
    }

    #[test]
    fn the_past_has_a_frame_and_the_day_where_it_is_not_today() {
        let seen = screen(&[
            past(at("2026-01-30T09:00:00Z", 3, "old")),
            past(at("2026-01-31T09:00:00Z", 3, "older")),
            at(NOON, 3, "new"),
        ]);
        let mut plain = String::new();
        for (index, part) in seen.split('\x1b').enumerate() {
            let shown = if index == 0 {
                part
            } else {
                part.split_once('m').unwrap().1
            };
            plain.push_str(shown);
        }
        assert_eq!(
            plain,
            "* the past messages\n* 2026-01-30\n09:00 ola: old\n* 2026-01-31\n09:00 ola: older\n\
             * end of the past messages\n12:00 ola: new\n"
        );
    }

    #[test]
    fn a_private_message_is_in_brackets_and_in_a_colour_of_its_own() {
        let line =
            format!(r#"{{"type":"private","time":"{NOON}","id":3,"from":"ola","text":"psst"}}"#);
        let seen = screen(&[Received::decode(&line).unwrap()]);
        assert!(seen.contains("\x1b[35m["), "{seen:?}");
        assert!(seen.ends_with("\x1b[35m] psst\x1b[0m\n"), "{seen:?}");
    }
}
