//! What the user sees: the conversation on stdout, the rest on stderr.

use std::fmt::Display;
use std::io::{self, Write};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use termcolor::{BufferedStandardStream, ColorChoice, WriteColor};

use crate::cli;
use crate::protocol::event::{Answer, Event, MemberId, Received, Record, Welcome};
use crate::protocol::text::{Text, clean};
use crate::style;

/// The two streams. What is shown stays in memory until [`View::flush`].
pub(super) struct View {
    out: BufferedStandardStream,
    err: BufferedStandardStream,
    conversation: Conversation,
}

impl View {
    pub(super) fn new(color: cli::Color) -> Self {
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
    /// As [`View::flush`].
    pub(super) fn welcome(&mut self, welcome: Welcome) -> io::Result<()> {
        self.conversation.own = Some((welcome.id, welcome.name.clone()));
        writeln!(self.out, "{}", Answer::Welcome(welcome))
    }

    /// Shows what the server sent.
    ///
    /// # Errors
    /// As [`View::flush`].
    pub(super) fn received(&mut self, received: &Received) -> io::Result<()> {
        match received {
            Received::Record(record, replay) => {
                self.conversation
                    .write_record(&mut self.out, record, *replay)
            }
            Received::Answer(Answer::Error(text)) => {
                self.refuse(text);
                Ok(())
            }
            Received::Answer(answer) => self.conversation.write_answer(&mut self.out, answer),
            Received::Unknown => Ok(()),
        }
    }

    /// Shows why something is not done.
    pub(super) fn refuse(&mut self, reason: &impl Display) {
        self.on_stderr(
            |err| style::paint_answer(err, &Answer::Error(Text::new(&reason.to_string()))),
            "\n",
        );
    }

    /// Shows what has failed.
    pub(super) fn fail(&mut self, error: &impl Display) {
        self.on_stderr(
            |err| write!(err, "error: {}", clean(&error.to_string())),
            "\n",
        );
    }

    /// Asks for something, and leaves the cursor there.
    pub(super) fn ask(&mut self, question: &str) {
        self.on_stderr(|err| write!(err, "{question}"), "");
    }

    /// Goes on to the next line where the terminal has echoed something that ends no line, such as `^C`.
    pub(super) fn end_line(&mut self) {
        self.on_stderr(|_| Ok(()), "\n");
    }

    /// Shows all that is still in memory.
    ///
    /// # Errors
    /// Stdout takes nothing more: a pipe is closed, a disk is full.
    pub(super) fn flush(&mut self) -> io::Result<()> {
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

/// How the conversation is put into lines.
struct Conversation {
    zone: TimeZone,
    /// The day that a reader takes a time to be of.
    day: Date,
    /// Who this client is.
    own: Option<(MemberId, Text)>,
    in_past: bool,
}

impl Conversation {
    fn new(zone: TimeZone, now: Timestamp) -> Self {
        Self {
            day: now.to_zoned(zone.clone()).date(),
            zone,
            own: None,
            in_past: false,
        }
    }

    fn write_record(
        &mut self,
        out: &mut dyn WriteColor,
        record: &Record,
        replay: bool,
    ) -> io::Result<()> {
        if replay != std::mem::replace(&mut self.in_past, replay) {
            // How many there are is known only when the last has come, and they may be too many to keep.
            match replay {
                true => writeln!(out, "* the past messages")?,
                false => writeln!(out, "{}", Answer::PastEnds)?,
            }
        }
        if !self.is_shown(&record.event) {
            return Ok(());
        }
        self.write_time(out, record.time)?;
        match &record.event {
            Event::Message { from, text, .. } if self.is_called_in(text) => {
                style::paint_call(out, from, text)?;
            }
            event => style::paint_event(out, event)?,
        }
        out.write_all(b"\n")?;
        if let (Event::Renamed { id, to, .. }, Some((own, name))) = (&record.event, &mut self.own)
            && id == own
        {
            *name = to.clone();
        }
        Ok(())
    }

    fn write_answer(&mut self, out: &mut dyn WriteColor, answer: &Answer) -> io::Result<()> {
        match answer {
            Answer::PrivateFrom { time, .. } | Answer::PrivateTo { time, .. } => {
                self.write_time(out, *time)?;
            }
            // It came already, and cannot come again.
            Answer::Welcome(_) => return Ok(()),
            Answer::PastBegins(_)
            | Answer::PastEnds
            | Answer::Online { .. }
            | Answer::Help(_)
            | Answer::Error(_)
            | Answer::Notice(_) => {}
        }
        style::paint_answer(out, answer)?;
        out.write_all(b"\n")
    }

    /// Whether the user does not know of `event` anyway: what they typed is on the screen, and who they are is in the welcome.
    fn is_shown(&self, event: &Event) -> bool {
        let own = self.own.as_ref().map(|(id, _)| *id);
        match event {
            Event::Message { id, .. } => own != Some(*id),
            Event::Joined(member) => own != Some(member.id),
            Event::Left { .. } | Event::Renamed { .. } | Event::Server { .. } | Event::Shutdown => {
                true
            }
        }
    }

    /// Writes the time of day, and above it the day, where it is another one than that of the line before.
    fn write_time(&mut self, out: &mut dyn WriteColor, time: Timestamp) -> io::Result<()> {
        let time = time.to_zoned(self.zone.clone());
        if time.date() != self.day {
            self.day = time.date();
            writeln!(out, "* {}", self.day)?;
        }
        write!(out, "{} ", time.strftime("%H:%M"))
    }

    /// Whether `text` has this client's name in it, as a word, in any case.
    fn is_called_in(&self, text: &Text) -> bool {
        let Some((_, name)) = &self.own else {
            return false;
        };
        let (name, text) = (name.as_str().to_lowercase(), text.as_str().to_lowercase());
        // The name may come from a server that lies.
        !name.is_empty()
            && text.match_indices(&name).any(|(at, _)| {
                let goes_on = |c: char| c.is_alphanumeric() || c == '_';
                !text[..at].ends_with(goes_on) && !text[at + name.len()..].starts_with(goes_on)
            })
    }
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
        conversation.own = Some((MemberId(7), Text::new("ala")));
        for received in received {
            match received {
                Received::Record(record, replay) => {
                    conversation.write_record(&mut out, record, *replay)
                }
                Received::Answer(answer) => conversation.write_answer(&mut out, answer),
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

    fn is_bold(received: Received) -> bool {
        screen(&[received]).contains("\x1b[1m")
    }

    #[test]
    fn a_message_has_its_time_and_its_sender_in_colour() {
        let seen = screen(&[at(NOON, 3, "hi")]);
        assert!(seen.starts_with("12:00 \x1b[0m\x1b[38;5;"), "{seen:?}");
        assert!(seen.ends_with("mola\x1b[0m: hi\n"), "{seen:?}");
    }

    #[test]
    fn a_message_that_has_the_readers_name_in_it_stands_out() {
        for text in ["ala", "ALA!", "hi ala, you", "@ala", "ala's"] {
            assert!(is_bold(at(NOON, 3, text)), "{text}");
        }
        for text in ["hi", "alabama", "koala", "ala_2", "żala"] {
            assert!(!is_bold(at(NOON, 3, text)), "{text}");
        }
    }

    #[test]
    fn the_name_that_stands_out_is_the_one_after_a_rename() {
        let rename = format!(
            r#"{{"type":"renamed","seq":1,"time":"{NOON}","id":7,"from":"ala","to":"ela"}}"#
        );
        let rename = Received::decode(&rename).unwrap();
        let before = screen(std::slice::from_ref(&rename));
        let after = screen(&[rename.clone(), at(NOON, 3, "hi ala")]);
        assert!(!after[before.len()..].contains("\x1b[1m"), "{after:?}");
        let after = screen(&[rename, at(NOON, 3, "hi ela")]);
        assert!(after[before.len()..].contains("\x1b[1m"), "{after:?}");
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
