//! Whatever line a member sends is parsed as one request, and the recipients get one line of the
//! right kind.

#![no_main]

use std::fmt::Display;

use chat_run::protocol::event::{Answer, Event, MemberId, Record, write_plain};
use chat_run::protocol::json::Received;
use chat_run::protocol::limits::{MAX_EVENT_LINE, MAX_LINE};
use chat_run::protocol::line::Lines;
use chat_run::protocol::request::{Format, Request};
use chat_run::protocol::text::{Text, trim_hidden};
use chat_run_fuzz::{assert_name, assert_refusal, assert_shown};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

const ID: MemberId = MemberId(u64::MAX);

fuzz_target!(|input: &[u8]| {
    let mut lines = Lines::new(MAX_LINE);
    lines.push(input);
    lines.push(b"\n");
    while let Some(line) = lines.next_line() {
        match line {
            Ok(line) => {
                handle(line, Format::Plain);
                handle(line, Format::Json);
            }
            Err(error) => assert_refusal(&error),
        }
    }
});

fn handle(line: &str, format: Format) {
    let seen = trim_hidden(line);
    let is_command = seen.starts_with('/') && !seen.starts_with("//");
    let name = || Text::new("ala");
    match Request::parse(line, format) {
        Ok(Request::Nothing) => assert!(!Text::new(line).is_visible()),
        Ok(Request::Say(text)) => {
            assert!(!is_command, "{line:?}");
            let from = name();
            happens("ala: ", Event::Message { id: ID, from, text });
        }
        Ok(Request::Msg(to, text)) => {
            assert!(is_command, "{line:?}");
            assert_name(&to);
            let (time, id, from) = (Timestamp::UNIX_EPOCH, ID, name());
            let (to, sent) = (to.text().clone(), text.clone());
            answers(
                &format!("[to {to}] "),
                &Answer::PrivateTo { time, id, to, text },
            );
            let text = sent;
            answers(
                "[ala] ",
                &Answer::PrivateFrom {
                    time,
                    id,
                    from,
                    text,
                },
            );
        }
        Ok(Request::Reply(text)) => assert!(is_command && text.is_visible()),
        Ok(Request::Rename(to)) => {
            assert!(is_command, "{line:?}");
            assert_name(&to);
            let (from, to) = (name(), to.text().clone());
            happens("* ala is now ", Event::Renamed { id: ID, from, to });
        }
        Ok(Request::Online | Request::Help(_)) => assert!(is_command, "{line:?}"),
        Ok(Request::Quit) => assert!(is_command || format == Format::Plain),
        Err(error) => {
            assert!(is_command, "{line:?}");
            assert_refusal(&error);
            answers("! ", &Answer::Error(Text::new(&error.to_string())));
        }
    }
}

/// Asserts that an event for all members is encoded as one line in both formats. `start` is the
/// start of its plain form.
fn happens(start: &str, event: Event) {
    assert_plain(start, &event);
    let (seq, time) = (u64::MAX, Timestamp::UNIX_EPOCH);
    let record = Record { seq, time, event };
    let line = json(|out| record.write_json(true, out));
    let decoded = Received::decode(&line).expect("an encoded line can be decoded");
    assert_eq!(decoded, Received::Record(record, true));
}

/// Asserts that an answer is encoded as one line in both formats. `start` is the start of its plain
/// form.
fn answers(start: &str, answer: &Answer) {
    assert_plain(start, answer);
    let line = json(|out| answer.write_json(out));
    let decoded = Received::decode(&line).expect("an encoded line can be decoded");
    assert_eq!(decoded, Received::Answer(answer.clone()));
}

fn assert_plain(start: &str, shown: &impl Display) {
    let mut out = Vec::new();
    write_plain(shown, &mut out);
    let line = only_line(out);
    assert!(line.starts_with(start), "{line:?}");
}

fn json(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    only_line(out)
}

fn only_line(out: Vec<u8>) -> String {
    assert!(out.len() <= MAX_EVENT_LINE, "{} bytes", out.len());
    let mut line = String::from_utf8(out).expect("UTF-8");
    assert_eq!(line.pop(), Some('\n'));
    assert_shown(&line);
    line
}
