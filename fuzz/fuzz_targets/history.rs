//! Whatever a history file contains, the server either continues after its complete lines, apart
//! from empty lines at the end, or rejects it with an error that names the line, and leaves the
//! file unchanged.

#![no_main]

use std::fs;

use chat_run::os::Scratch;
use chat_run::protocol::event::{Event, Record};
use chat_run::protocol::request::Format;
use chat_run::protocol::text::Text;
use chat_run::server::history::History;
use chat_run::server::replay::{ReplayBuffer, ReplayRange};
use chat_run_fuzz::assert_shown;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

/// The room's ID if the file has none.
const NEW: &str = "0123456789abcdef";

fuzz_target!(|input: &[u8]| {
    let file = Scratch::new(input).expect("memory");
    let content = || fs::read(file.path()).expect("it is there");

    let mut past = ReplayBuffer::new(usize::MAX);
    let (mut history, loaded) = match History::open(file.path(), NEW.into(), &mut past) {
        Ok(opened) => opened,
        Err(error) => {
            let place = format!("{}:", file.path().display());
            let error = format!("{error:#}");
            assert!(error.starts_with(&place), "{error}");
            assert_shown(&error);
            assert_eq!(content(), input, "a rejected file is changed");
            return;
        }
    };
    assert_past(&past);
    let whole = input.len() - usize::try_from(loaded.torn + loaded.blank).expect("a length");
    let cut = &input[whole..];
    if loaded.torn > 0 {
        assert!(!cut.contains(&b'\n'), "complete lines are cut off");
    } else {
        let text = cut.strip_prefix("\u{feff}".as_bytes()).unwrap_or(cut);
        assert!(
            text.trim_ascii().is_empty(),
            "more than empty lines is cut off"
        );
    }

    let mut said = Vec::new();
    let Some(seq) = loaded.last_seq.checked_add(1) else {
        panic!("no sequence number is left for the next event");
    };
    let record = Record {
        seq,
        time: Timestamp::UNIX_EPOCH,
        event: Event::Server {
            text: Text::new("hi"),
        },
    };
    record.write_json(false, &mut said);
    history.append(&said, 1);
    assert!(history.close().is_empty());
    let written = content();
    assert!(written.starts_with(&input[..whole]) && written.ends_with(&said));

    let mut past = ReplayBuffer::new(usize::MAX);
    let (history, again) = History::open(file.path(), "another".into(), &mut past)
        .unwrap_or_else(|error| panic!("the server rejects its own file: {error:#}"));
    assert_eq!((again.room, again.torn, again.blank), (loaded.room, 0, 0));
    assert_eq!((again.last_seq, again.last_id), (seq, loaded.last_id));
    assert_past(&past);
    assert!(history.close().is_empty());
    assert_eq!(content(), written);
});

/// Asserts that the replay is text.
fn assert_past(past: &ReplayBuffer) {
    let span = ReplayRange { after: 0, since: 0 };
    for format in [Format::Plain, Format::Json] {
        let mut shown = Vec::new();
        past.write(span, format, &mut shown);
        let shown = String::from_utf8(shown).expect("UTF-8");
        shown.lines().for_each(assert_shown);
    }
}
