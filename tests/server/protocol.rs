//! Properties of framing, requests, events and answers, checked with random input.

use chat_run::protocol::color::ColorSlot;
use chat_run::protocol::commands::{Language, member_help};
use chat_run::protocol::event::{
    Answer, Event, Listed, MemberId, Record, Welcome, listed, write_plain,
};
use chat_run::protocol::json::{DecodeError, Received};
use chat_run::protocol::limits::{MAX_EVENT_LINE, MAX_LINE, MAX_LISTED, MAX_NAME_BYTES};
use chat_run::protocol::line::{LineError, Lines};
use chat_run::protocol::name::Name;
use chat_run::protocol::request::{Format, Login, Request, RequestError};
use chat_run::protocol::telnet::Telnet;
use chat_run::protocol::text::{Text, trim_hidden};
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Bytes with line endings, incomplete characters, and bytes that occur in no character.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"\n",
        b"\n",
        b"\n",
        b"\r",
        b"\r\n",
        b"a",
        b"bc",
        b" ",
        b"123456789",
        "ą".as_bytes(),
        "🔥".as_bytes(),
        b"\xc4",
        b"\x85",
        b"\xff",
        b"\0",
    ];
    vec(select(pieces), 0..60).prop_map(|pieces| pieces.concat())
}

/// Bytes of a telnet client: text, backspaces, and commands, which may be incomplete.
fn any_telnet_bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"\n",
        b"\r\0",
        b"\r",
        b"\0",
        b"a",
        b"bcd",
        b"\x08",
        b"\x7f",
        b"\x08\x08\x08",
        "ą".as_bytes(),
        "e\u{301}".as_bytes(),
        "👩🏽\u{200d}🚀".as_bytes(),
        b"\xc4",
        b"\xff\xf1",
        b"\xff\xf7",
        b"\xff\xf8",
        b"\xff\xff",
        b"\xff",
        b"\xff\xfb\x03",
        b"\xff\xfd\x03",
        b"\xff\xfe\x03",
        b"\xff\xfc",
        b"\xff\xfa\x18x\n\xff\xff\xff\xf0",
        b"\xf0",
    ];
    vec(select(pieces), 0..60).prop_map(|pieces| pieces.concat())
}

/// The lines of a telnet client whose bytes arrive in `pieces`, and the answers to its commands.
fn telnet_lines_of<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    max_line: usize,
) -> (Vec<Result<String, LineError>>, Vec<u8>) {
    let (mut telnet, mut lines) = (Telnet::default(), Lines::typed(max_line));
    let (mut found, mut answers) = (Vec::new(), Vec::new());
    for piece in pieces {
        answers.extend(telnet.decode(piece, &mut lines));
        while let Some(line) = lines.next_line() {
            found.push(line.map(str::to_owned));
        }
    }
    found.extend(lines.last_line().map(|line| line.map(str::to_owned)));
    (found, answers)
}

/// Lines of a stream that arrives in `pieces`, including a last line without an ending.
fn lines_of<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    max_line: usize,
) -> Vec<Result<String, LineError>> {
    let mut lines = Lines::new(max_line);
    let mut found = Vec::new();
    for piece in pieces {
        lines.push(piece);
        while let Some(line) = lines.next_line() {
            found.push(line.map(str::to_owned));
        }
    }
    found.extend(lines.last_line().map(|line| line.map(str::to_owned)));
    found
}

/// Reference implementation of [`lines_of`], straight from the specification.
fn reference_lines(bytes: &[u8], max_line: usize) -> Vec<Result<String, LineError>> {
    let mut parts: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    if parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    let line = |part: &[u8]| {
        let part = part.strip_suffix(b"\r").unwrap_or(part);
        match str::from_utf8(part) {
            _ if part.len() > max_line => Err(LineError::TooLong),
            Ok(line) => Ok(line.to_owned()),
            Err(_) => Err(LineError::NotUtf8),
        }
    };
    parts.into_iter().map(line).collect()
}

fn any_text() -> impl Strategy<Value = Text> {
    let tricky = "[ \\PC\t\r\n\\\\\"\u{1b}\u{85}\u{9b}\u{2028}\u{202e}\u{200d}\u{301}*!\\[/]{0,40}";
    tricky.prop_map(|raw| Text::new(&raw))
}

fn any_name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9ąćżłéИванमदी張偉][A-Za-z0-9_'ąćżл-]{0,8}"
        .prop_filter_map("a name", |raw| Name::new(&raw).ok())
}

fn any_name_text() -> impl Strategy<Value = Text> {
    any_name().prop_map(|name| name.text().clone())
}

fn any_id() -> impl Strategy<Value = MemberId> {
    any::<u64>().prop_map(MemberId)
}

/// A time in milliseconds, the precision on the wire.
fn any_time() -> impl Strategy<Value = Timestamp> {
    let range = Timestamp::MIN.as_millisecond()..=Timestamp::MAX.as_millisecond();
    range.prop_map(|millis| Timestamp::from_millisecond(millis).unwrap())
}

fn any_listed() -> impl Strategy<Value = Listed> {
    let color = option::of((0..12_u8).prop_map(|number| ColorSlot::new(number).unwrap()));
    (
        any_id(),
        any_name_text(),
        option::of(any_name_text()),
        color,
    )
        .prop_map(|(id, name, group, color)| Listed {
            id,
            name,
            group,
            color,
        })
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (any_id(), any_name_text(), any_text()).prop_map(|(id, from, text)| Event::Message {
            id,
            from,
            text
        }),
        any_listed().prop_map(Event::Joined),
        (any_id(), any_name_text(), option::of(any_text()))
            .prop_map(|(id, name, reason)| Event::Left { id, name, reason }),
        (any_id(), any_name_text(), any_name_text()).prop_map(|(id, from, to)| Event::Renamed {
            id,
            from,
            to
        }),
        any_text().prop_map(|text| Event::Server { text }),
        Just(Event::Shutdown),
    ]
}

fn any_record() -> impl Strategy<Value = Record> {
    (any::<u64>(), any_time(), any_event()).prop_map(|(seq, time, event)| Record {
        seq,
        time,
        event,
    })
}

fn any_welcome() -> impl Strategy<Value = Welcome> {
    let who = (any_text(), any_listed(), any::<u64>());
    let again = (option::of(any_text()), any::<u64>());
    let online = (vec(any_listed(), 0..5), 0..1000_usize);
    (who, again, online).prop_map(
        |((room, me, seq), (token, missing), (online, others))| Welcome {
            room,
            token,
            id: me.id,
            name: me.name,
            group: me.group,
            color: me.color,
            count: online.len() + others,
            online,
            seq,
            missing,
        },
    )
}

/// An answer of each kind that has a JSON form.
fn any_answer() -> impl Strategy<Value = Answer> {
    let private = || (any_time(), any_id(), any_name_text(), any_text());
    prop_oneof![
        any_welcome().prop_map(Answer::Welcome),
        private().prop_map(|(time, id, from, text)| Answer::PrivateFrom {
            time,
            id,
            from,
            text
        }),
        private().prop_map(|(time, id, to, text)| Answer::PrivateTo { time, id, to, text }),
        (vec(any_listed(), 0..5), 0..1000_usize).prop_map(|(members, others)| Answer::Online {
            count: members.len() + others,
            members
        }),
        vec(any_text(), 1..5).prop_map(Answer::Help),
        any_text().prop_map(Answer::Error),
        any_text().prop_map(Answer::Notice),
    ]
}

/// The only line in `bytes`, without its ending.
fn only_line(bytes: &[u8]) -> Result<&str, TestCaseError> {
    let text = str::from_utf8(bytes).unwrap();
    let line = text
        .strip_suffix('\n')
        .ok_or_else(|| TestCaseError::fail("no line ending"))?;
    prop_assert!(
        !line.contains(|c: char| c.is_control() || "\u{2028}\u{2029}".contains(c)),
        "{line:?}"
    );
    Ok(line)
}

fn json_line(write: impl FnOnce(&mut Vec<u8>)) -> Result<String, TestCaseError> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    let line = only_line(&bytes)?;
    prop_assert!(line.starts_with("{\"type\":\""), "{line}");
    prop_assert!(bytes.len() <= MAX_EVENT_LINE);
    Ok(line.to_owned())
}

fn plain_line(shown: &impl std::fmt::Display) -> Result<String, TestCaseError> {
    let mut bytes = Vec::new();
    write_plain(shown, &mut bytes);
    Ok(only_line(&bytes)?.to_owned())
}

fn both_formats() -> impl Strategy<Value = Format> {
    select(vec![Format::Plain, Format::Json])
}

proptest! {
    #[test]
    fn lines_are_the_same_however_the_bytes_are_split(bytes in any_bytes(), cuts in vec(0..100_usize, 0..20), max in 1..12_usize) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        let expected = reference_lines(&bytes, max);
        prop_assert_eq!(lines_of(pieces, max), expected.clone());
        prop_assert_eq!(lines_of(bytes.chunks(1), max), expected);
    }

    #[test]
    fn telnet_input_is_read_the_same_however_its_bytes_are_split(bytes in any_telnet_bytes(), cuts in vec(0..200_usize, 0..20), max in 1..12_usize) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        let expected = telnet_lines_of([&bytes[..]], max);
        prop_assert_eq!(telnet_lines_of(pieces, max), expected.clone());
        prop_assert_eq!(telnet_lines_of(bytes.chunks(1), max), expected);
    }

    #[test]
    fn bytes_without_a_line_ending_are_counted(bytes in any_bytes(), max in 1..12_usize) {
        let mut lines = Lines::new(max);
        lines.push(&bytes);
        while lines.next_line().is_some() {}
        let unended = bytes.iter().rev().take_while(|&&byte| byte != b'\n').count();
        prop_assert_eq!(lines.unended(), unended);
    }

    #[test]
    fn an_event_survives_a_json_round_trip(record in any_record(), replay in any::<bool>()) {
        let line = json_line(|out| record.write_json(replay, out))?;
        match Received::decode(&line) {
            Ok(Received::Record(decoded, again)) => {
                prop_assert_eq!(decoded, record);
                prop_assert_eq!(again, replay);
            }
            other => prop_assert!(false, "{other:?} from {line}"),
        }
    }

    #[test]
    fn an_answer_survives_a_json_round_trip(answer in any_answer()) {
        let line = json_line(|out| answer.write_json(out))?;
        match Received::decode(&line) {
            Ok(Received::Answer(decoded)) => prop_assert_eq!(decoded, answer),
            other => prop_assert!(false, "{other:?} from {line}"),
        }
    }

    #[test]
    fn the_prefix_of_a_plain_line_tells_the_kind_of_event(event in any_event()) {
        let line = plain_line(&event)?;
        match &event {
            Event::Message { from, .. } => {
                let start = format!("{from}: ");
                prop_assert!(line.starts_with(&start), "{line}");
                prop_assert!(!line.starts_with(['*', '!', '[', '{', '/', ' ']), "{line}");
            }
            Event::Server { .. } => prop_assert!(line.starts_with("* the server: ")),
            Event::Joined(member) => {
                let start = format!("* {}", member.name);
                prop_assert!(line.starts_with(&start) && line.ends_with(" joined"), "{line}");
            }
            Event::Left { name, .. } => {
                let start = format!("* {name} left");
                prop_assert!(line.starts_with(&start));
            }
            Event::Renamed { from, to, .. } => prop_assert_eq!(line, format!("* {from} is now {to}")),
            Event::Shutdown => prop_assert_eq!(line, "* the server is shutting down"),
        }
    }

    #[test]
    fn the_prefix_of_a_plain_line_tells_the_kind_of_answer(answer in any_answer()) {
        if let Answer::Help(lines) = &answer {
            let mut bytes = Vec::new();
            write_plain(&answer, &mut bytes);
            let shown = str::from_utf8(&bytes).unwrap();
            prop_assert_eq!(shown.lines().count(), lines.len());
            prop_assert!(shown.lines().all(|line| line.starts_with("* ")));
            return Ok(());
        }
        let line = plain_line(&answer)?;
        let start = match &answer {
            Answer::Error(_) => "! ".to_owned(),
            Answer::PrivateFrom { from, .. } => format!("[{from}] "),
            Answer::PrivateTo { to, .. } => format!("[to {to}] "),
            Answer::Welcome(welcome) => format!("* welcome, {}: {} online", welcome.name, welcome.count),
            Answer::Online { count, .. } => format!("* {count} online"),
            Answer::Notice(_) | Answer::Help(_) | Answer::PastBegins(_) | Answer::PastEnds => "* ".to_owned(),
        };
        prop_assert!(line.starts_with(&start), "{line}");
    }

    #[test]
    fn any_json_object_from_a_server_is_either_refused_or_can_be_shown(
        kind in "message|joined|left|renamed|server|welcome|private|online|help|error|notice|new",
        count in 0..4_u32,
        text in "\\PC{0,10}",
        left_out in 0..12_usize,
    ) {
        let mut object = serde_json::json!({
            "type": kind, "seq": 1, "time": "2026-01-31T10:00:00.123Z", "id": 1, "name": text, "from": text, "to": text,
            "text": text, "room": text, "count": count, "lines": [text],
            "online": [{"id": 1, "name": text}], "members": [{"id": 1, "name": text}, {"id": 2, "name": text}],
        });
        let names: Vec<String> = object.as_object().unwrap().keys().cloned().collect();
        object.as_object_mut().unwrap().remove(&names[left_out]);
        match Received::decode(&object.to_string()) {
            Ok(Received::Record(record, _)) => drop(plain_line(&record.event)?),
            Ok(Received::Answer(answer)) => drop(plain_line(&answer)?),
            Ok(Received::Unknown) | Err(DecodeError::Json(_) | DecodeError::Missing(_)) => {}
        }
    }

    #[test]
    fn decoding_arbitrary_text_from_a_server_never_panics(line in "\\PC{0,60}") {
        let _ = Received::decode(&line);
        let _ = Received::decode(&format!("{{\"type\":{line}"));
    }

    #[test]
    fn a_members_line_is_a_text_or_a_command_or_empty_or_an_error(line in "[/ ]{0,2}\\PC{0,30}", format in both_formats()) {
        let request = Request::parse(&line, format);
        let line = trim_hidden(&line);
        match request {
            Ok(Request::Say(text)) => {
                let said = line.strip_prefix('/').unwrap_or(line);
                prop_assert_eq!(&text, &Text::new(said));
                prop_assert!(text.is_visible());
                prop_assert!(!line.starts_with('/') || line.starts_with("//"));
            }
            Ok(Request::Nothing) => prop_assert!(!Text::new(line.strip_prefix('/').unwrap_or(line)).is_visible()),
            Ok(Request::Msg(..) | Request::Reply(_) | Request::Rename(_) | Request::Online | Request::Help(_)) => {
                prop_assert!(line.starts_with('/'));
            }
            Ok(Request::Quit) => prop_assert!(line.starts_with('/') || format == Format::Plain),
            Err(error) => {
                prop_assert!(line.starts_with('/'));
                let shown = plain_line(&Answer::Error(Text::new(&error.to_string())))?;
                prop_assert!(shown.len() < 500, "{shown}");
            }
        }
    }

    #[test]
    fn a_line_that_starts_with_whitespace_is_text(rest in "\\PC{0,30}", space in select(vec![' ', '\t', '\u{a0}', '\u{3000}']), format in both_formats()) {
        let line = format!("{space}{rest}");
        prop_assert!(matches!(Request::parse(&line, format), Ok(Request::Say(_) | Request::Nothing)));
    }

    #[test]
    fn any_text_can_be_sent_as_a_message(text in "\\PC{0,30}", format in both_formats()) {
        // Only a leading slash must be doubled, as the refusal of an unknown command says.
        let text = trim_hidden(&text);
        let line = if text.starts_with('/') { format!("/{text}") } else { text.to_owned() };
        match Request::parse(&line, format) {
            Ok(Request::Say(said)) => prop_assert_eq!(said, Text::new(text)),
            Ok(Request::Nothing) => prop_assert!(!Text::new(text).is_visible()),
            Ok(Request::Quit) => prop_assert_eq!(text.trim_end().to_lowercase(), "exit"),
            other => prop_assert!(false, "{other:?} from {line:?}"),
        }
    }

    #[test]
    fn a_private_message_keeps_its_inner_spaces(name in any_name(), text in "[!-~ ]{0,20}[!-~]", spaces in "[ \t]{1,3}", command in "/[Mm][Ss][Gg]") {
        let line = format!("{command}{spaces}{name}{spaces}{text}");
        match Request::parse(&line, Format::Plain) {
            Ok(Request::Msg(to, said)) => {
                prop_assert_eq!(to, name);
                prop_assert_eq!(said.as_str(), text.trim_start());
            }
            other => prop_assert!(false, "{other:?} from {line:?}"),
        }
    }

    #[test]
    fn only_a_login_line_without_visible_characters_parses_as_nothing(line in "[/ ]{0,2}\\PC{0,40}") {
        let login = Login::parse(&line);
        let is_blank = !Text::new(&line).is_visible();
        prop_assert_eq!(matches!(login, Login::Nothing), is_blank);
    }
}

proptest! {
    // Few cases, since each has hundreds of members.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn answers_with_a_member_list_stay_within_the_length_limit_of_a_line(name_bytes in 1..=MAX_NAME_BYTES, group_bytes in 0..=MAX_NAME_BYTES, count in 0..700_usize) {
        let text = |bytes: usize| Text::new(&"x".repeat(bytes));
        let member = |number: usize| Listed {
            id: MemberId(u64::MAX - number as u64),
            name: text(name_bytes),
            group: (group_bytes > 0).then(|| text(group_bytes)),
            color: ColorSlot::new(11),
        };
        let all: Vec<Listed> = (0..count).map(member).collect();
        let some = listed(all.iter().cloned());
        prop_assert!(some.len() <= MAX_LISTED && some[..] == all[..some.len()]);
        let me = member(0);
        let welcome = Welcome {
            room: text(16),
            token: Some(text(32)),
            id: me.id,
            name: me.name,
            group: me.group,
            color: me.color,
            count,
            online: some.clone(),
            seq: u64::MAX,
            missing: u64::MAX,
        };
        json_line(|out| Answer::Welcome(welcome).write_json(out))?;
        let online = Answer::Online { count, members: some };
        json_line(|out| online.write_json(out))?;
        prop_assert!(plain_line(&online)?.len() < MAX_EVENT_LINE);
    }
}

#[test]
fn the_longest_message_stays_within_the_length_limit_of_an_event() {
    // The characters that grow most when cleaned or escaped in JSON.
    for raw in ["\u{1}", "\"", "\\", "\u{85}"] {
        let text = Text::new(&raw.repeat(MAX_LINE / raw.len()));
        let name = Name::new(&"x".repeat(24)).unwrap();
        let event = Event::Message {
            id: MemberId(u64::MAX),
            from: name.text().clone(),
            text,
        };
        let record = Record {
            seq: u64::MAX,
            time: Timestamp::MIN,
            event,
        };
        let mut line = Vec::new();
        record.write_json(true, &mut line);
        assert!(line.len() < MAX_EVENT_LINE, "{}", line.len());
    }
}

#[test]
fn the_replay_has_no_marker_lines_in_json() {
    let mut out = Vec::new();
    Answer::PastBegins(7).write_json(&mut out);
    Answer::PastEnds.write_json(&mut out);
    assert!(out.is_empty());
}

#[test]
fn each_event_has_the_documented_json_form() {
    let time = "2026-01-31T10:00:00.123456Z".parse().unwrap();
    let text = |raw: &str| Text::new(raw);
    let id = MemberId(3);
    for (event, json) in [
        (
            Event::Message {
                id,
                from: text("ola"),
                text: text("hi"),
            },
            r#"{"type":"message","seq":41,"time":"2026-01-31T10:00:00.123Z","id":3,"from":"ola","text":"hi"}"#,
        ),
        (
            Event::Joined(Listed {
                id,
                name: text("ola"),
                group: Some(text("3ID12")),
                color: ColorSlot::new(4),
            }),
            r#"{"type":"joined","seq":41,"time":"2026-01-31T10:00:00.123Z","id":3,"name":"ola","group":"3ID12","color":4}"#,
        ),
        (
            Event::Left {
                id,
                name: text("ola"),
                reason: None,
            },
            r#"{"type":"left","seq":41,"time":"2026-01-31T10:00:00.123Z","id":3,"name":"ola"}"#,
        ),
        (
            Event::Left {
                id,
                name: text("ola"),
                reason: Some(text("too slow")),
            },
            r#"{"type":"left","seq":41,"time":"2026-01-31T10:00:00.123Z","id":3,"name":"ola","reason":"too slow"}"#,
        ),
        (
            Event::Renamed {
                id,
                from: text("ola"),
                to: text("ala"),
            },
            r#"{"type":"renamed","seq":41,"time":"2026-01-31T10:00:00.123Z","id":3,"from":"ola","to":"ala"}"#,
        ),
        (
            Event::Server { text: text("hi") },
            r#"{"type":"server","seq":41,"time":"2026-01-31T10:00:00.123Z","text":"hi"}"#,
        ),
        (
            Event::Shutdown,
            r#"{"type":"shutdown","seq":41,"time":"2026-01-31T10:00:00.123Z"}"#,
        ),
    ] {
        let mut line = Vec::new();
        let record = Record {
            seq: 41,
            time,
            event,
        };
        record.write_json(false, &mut line);
        assert_eq!(str::from_utf8(&line).unwrap().trim_end(), json);
        let mut past = Vec::new();
        record.write_json(true, &mut past);
        let past = String::from_utf8(past).unwrap();
        assert_eq!(past.trim_end(), json.replace('}', ",\"replay\":true}"));
    }
}

#[test]
fn a_welcome_has_the_documented_json_form() {
    let mut welcome = Welcome {
        room: Text::new("9f2c"),
        token: Some(Text::new("c0de")),
        id: MemberId(7),
        name: Text::new("ala"),
        group: None,
        color: ColorSlot::new(0),
        count: 1,
        online: Vec::new(),
        seq: 40,
        missing: 0,
    };
    let shown = |welcome: &Welcome| {
        json_line(|out| Answer::Welcome(welcome.clone()).write_json(out)).unwrap()
    };
    let json = r#"{"type":"welcome","room":"9f2c","token":"c0de","seq":40,"id":7,"name":"ala","color":0,"count":1,"online":[]}"#;
    assert_eq!(shown(&welcome), json);
    welcome.missing = 5;
    assert_eq!(shown(&welcome), json.replace("[]}", "[],\"missing\":5}"));
}

#[test]
fn resume_takes_a_token_and_an_event_number() {
    for (line, login) in [
        ("/resume c0de 40", Some(("c0de", 40))),
        (" /Resume  c0de \t 40 ", Some(("c0de", 40))),
        ("/resume c0de", None),
        ("/resume c0de -1", None),
        ("/resume c0de 4 0", None),
        ("/resume c0de 18446744073709551616", None),
        ("/resume", None),
    ] {
        assert_eq!(Login::parse(line), Login::Resume(login), "{line}");
    }
}

#[test]
fn the_client_accepts_unknown_json_fields_and_event_types() {
    let later = r#"{"type":"message","seq":1,"time":"2026-01-31T10:00:00Z","id":3,"from":"a","text":"b","new":[{}]}"#;
    assert!(matches!(
        Received::decode(later),
        Ok(Received::Record(Record { seq: 1, .. }, false))
    ));
    assert!(matches!(
        Received::decode(r#"{"type":"later","text":5}"#),
        Ok(Received::Unknown) | Err(DecodeError::Json(_))
    ));
    assert!(matches!(
        Received::decode(r#"{"type":"later"}"#),
        Ok(Received::Unknown)
    ));
}

#[test]
fn an_invalid_color_slot_is_ignored() {
    // A parser that first copied this would reject it, since serde_json limits the depth to 128.
    let deep = "[".repeat(500) + &"]".repeat(500);
    for (color, slot) in [
        (deep.as_str(), None),
        ("0", ColorSlot::new(0)),
        ("11", ColorSlot::new(11)),
        ("12", None),
        ("255", None),
        ("256", None),
        ("-1", None),
        ("1.5", None),
        ("null", None),
        ("\"red\"", None),
        ("[0]", None),
        ("{\"slot\":[1,{}]}", None),
    ] {
        let member = format!(r#""id":3,"name":"ola","color":{color}"#);
        let joined =
            format!(r#"{{"type":"joined","seq":1,"time":"2026-01-31T10:00:00Z",{member}}}"#);
        let online = format!(r#"{{"type":"online","count":1,"members":[{{{member}}}]}}"#);
        let welcome = format!(
            r#"{{"type":"welcome","room":"r",{member},"count":1,"online":[{{{member}}}],"seq":0}}"#
        );
        for line in [joined, online, welcome] {
            let slots = match Received::decode(&line) {
                Ok(Received::Record(record, _)) => match record.event {
                    Event::Joined(member) => vec![member.color],
                    event => panic!("{event:?}"),
                },
                Ok(Received::Answer(Answer::Online { members, .. })) => vec![members[0].color],
                Ok(Received::Answer(Answer::Welcome(welcome))) => {
                    vec![welcome.color, welcome.online[0].color]
                }
                other => panic!("{line}: {other:?}"),
            };
            assert!(
                slots.iter().all(|found| *found == slot),
                "{line}: {slots:?}"
            );
        }
    }
    let none = r#"{"type":"online","count":1,"members":[{"id":3,"name":"ola"}]}"#;
    assert!(matches!(
        Received::decode(none),
        Ok(Received::Answer(Answer::Online { members, .. })) if members[0].color.is_none()
    ));
}

#[test]
fn decoded_text_cannot_control_a_terminal() {
    let line = r#"{"type":"error","text":"a\u001b[2J\u009b\u202e\u2028b"}"#;
    match Received::decode(line) {
        Ok(Received::Answer(Answer::Error(text))) => assert_eq!(text.as_str(), "a␛[2J\u{fffd} b"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_error_for_a_missing_field_names_it() {
    let refusal = |line: &str| Received::decode(line).unwrap_err().to_string();
    assert_eq!(
        refusal(r#"{"type":"shutdown","seq":1}"#),
        "the field \"time\" is missing"
    );
    assert_eq!(
        refusal(r#"{"type":"error"}"#),
        "the field \"text\" is missing"
    );
    assert!(refusal("{}").contains("type"));
    assert!(Received::decode("[]").is_err());
}

#[test]
fn every_alias_of_a_command_is_accepted() {
    let parse = |line: &str| Request::parse(line, Format::Plain);
    for line in ["/changename ola", "/nick ola", "/NICK  ola "] {
        assert!(
            matches!(parse(line), Ok(Request::Rename(name)) if name.as_str() == "ola"),
            "{line}"
        );
    }
    for line in ["/online", "/who", "/Who now"] {
        assert!(matches!(parse(line), Ok(Request::Online)), "{line}");
    }
    for line in ["/help", "/?", "/HELP me"] {
        assert!(
            matches!(parse(line), Ok(Request::Help(Language::English))),
            "{line}"
        );
    }
    assert!(matches!(
        parse("/pomoc"),
        Ok(Request::Help(Language::Polish))
    ));
    for line in [
        "/quit", "/exit", "/wyjdz", "/wyjdź", "/WYJDŹ", "exit", "Exit", "EXIT  ",
    ] {
        assert!(matches!(parse(line), Ok(Request::Quit)), "{line}");
    }
    assert!(matches!(parse("/reply  hi "), Ok(Request::Reply(text)) if text.as_str() == "hi"));
    assert!(matches!(
        Request::parse("exit", Format::Json),
        Ok(Request::Say(_))
    ));
}

#[test]
fn invisible_and_control_characters_do_not_hide_a_command() {
    for line in [
        "\u{feff}/msg ola hi",
        "\u{200b}\u{2060}/msg ola hi",
        "/\u{200b}msg ola hi",
        "/m\u{ad}sg \u{202a}ola hi",
        // Control characters, such as the one that telnet sends for Ctrl+D in character mode.
        "\u{4}/msg ola hi",
        "\u{1b}\u{feff}\u{0}/msg ola hi",
    ] {
        for format in [Format::Plain, Format::Json] {
            let request = Request::parse(line, format);
            assert!(matches!(request, Ok(Request::Msg(..))), "{line:?}");
        }
    }
    let request = Request::parse("\u{feff}exit", Format::Plain);
    assert!(matches!(request, Ok(Request::Quit)));
    let request = Request::parse("\u{feff}//online", Format::Plain);
    assert!(matches!(request, Ok(Request::Say(text)) if text.as_str() == "/online"));
    let request = Request::parse("\u{feff} /online", Format::Plain);
    assert!(matches!(request, Ok(Request::Say(text)) if text.as_str() == " /online"));
    for text in ["\u{4}hi", "\t/online", "\u{4} /online", "\u{1b}[A/online"] {
        let request = Request::parse(text, Format::Plain);
        assert!(matches!(request, Ok(Request::Say(said)) if said == Text::new(text)));
    }
    for line in ["\u{feff}/json ala", " \u{feff} /\u{200b}json ala"] {
        let login = Login::parse(line);
        assert_eq!(login, Login::Enter(Some(Format::Json), "ala"), "{line:?}");
    }
    assert_eq!(Login::parse("\u{feff}ala"), Login::Enter(None, "ala"));
    assert_eq!(Login::parse("\u{feff}GET / HTTP/1.1"), Login::Http);
}

#[test]
fn a_command_without_its_arguments_is_refused_with_its_usage() {
    for line in [
        "/msg",
        "/msg ola",
        "/msg ola ",
        "/reply",
        "/reply  ",
        "/nick",
        "/changename",
    ] {
        let error = Request::parse(line, Format::Plain).unwrap_err();
        assert!(matches!(error, RequestError::Usage(_)), "{line}: {error}");
        assert!(error.to_string().starts_with("usage: /"), "{error}");
    }
}

#[test]
fn help_names_every_command_in_both_languages() {
    for language in [Language::English, Language::Polish] {
        let lines = member_help(language);
        for command in [
            "/msg",
            "/reply",
            "/changename",
            "/online",
            "/help",
            "/pomoc",
            "//",
        ] {
            assert!(
                lines.iter().any(|line| line.as_str().contains(command)),
                "{command} in {language:?}"
            );
        }
    }
}
