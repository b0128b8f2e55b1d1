//! Whatever a server sends, the client shows only text on the screen, and every decoded event stays
//! the same when it is encoded and decoded again.

#![no_main]

use chat_run::client::ui::format::{Formatter, Layout};
use chat_run::protocol::event::Answer;
use chat_run::protocol::json::Received;
use chat_run::protocol::limits::MAX_SERVER_LINE;
use chat_run::protocol::line::Lines;
use chat_run::tty::line::Line;
use chat_run_fuzz::assert_shown;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use termcolor::Buffer;

/// Widths of screens, in columns.
const SCREENS: [usize; 3] = [1, 20, 100];

fuzz_target!(|input: &[u8]| {
    for layout in [Layout::Stream, Layout::Screen] {
        show_all(
            input,
            Formatter::new(layout, TimeZone::UTC, Timestamp::UNIX_EPOCH),
        );
    }
});

fn show_all(input: &[u8], mut formatter: Formatter) {
    let mut lines = Lines::new(MAX_SERVER_LINE);
    lines.push(input);
    lines.push(b"\n");
    while let Some(line) = lines.next_line() {
        let Ok(line) = line else { continue };
        match Received::decode(line) {
            Ok(received) => {
                assert_read(&received);
                show(&mut formatter, &received);
            }
            Err(error) => assert_painted(&formatter.error(&error)),
        }
    }
}

/// Asserts that an event stays the same when it is encoded and decoded again, and that its plain
/// form is text.
fn assert_read(received: &Received) {
    let mut out = Vec::new();
    let plain = match received {
        Received::Record(record, replay) => {
            record.write_json(*replay, &mut out);
            record.event.to_string()
        }
        Received::Answer(answer) => {
            answer.write_json(&mut out);
            answer.to_string()
        }
        Received::Unknown => return,
    };
    plain.split('\n').for_each(assert_shown);
    let written = String::from_utf8(out).expect("UTF-8");
    let again = Received::decode(&written).expect("an encoded event can be decoded");
    let mut out = Vec::new();
    match &again {
        Received::Record(record, replay) => record.write_json(*replay, &mut out),
        Received::Answer(answer) => answer.write_json(&mut out),
        Received::Unknown => panic!("no longer known after encoding: {written:?}"),
    }
    assert_eq!(String::from_utf8(out).expect("UTF-8"), written);
}

fn show(formatter: &mut Formatter, received: &Received) {
    let lines = match received {
        Received::Record(record, replay) => formatter.record(record, *replay),
        Received::Answer(Answer::Welcome(welcome)) => vec![formatter.welcome(welcome, None)],
        Received::Answer(answer) => formatter.answer(answer),
        Received::Unknown => return,
    };
    lines.iter().for_each(assert_painted);
}

fn assert_painted(line: &Line) {
    for columns in SCREENS {
        for row in line.painted(columns, &mut Buffer::ansi()) {
            assert_shown(&without_sequences(&row));
        }
    }
}

/// Returns `row` without colors (ESC `[` … `m`) and hyperlinks (ESC `]8;;` … ESC `\`).
fn without_sequences(row: &str) -> String {
    let mut parts = row.split('\x1b');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if let Some(color) = part.strip_prefix('[') {
            let (color, rest) = color.split_once('m').expect("a color sequence ends with m");
            assert!(
                color
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b';')
            );
            text += rest;
        } else if let Some(link) = part.strip_prefix("]8;;") {
            assert!(link.bytes().all(|byte| byte.is_ascii_graphic()));
        } else {
            text += part
                .strip_prefix('\\')
                .expect("a hyperlink ends with ESC \\");
        }
    }
    text
}
