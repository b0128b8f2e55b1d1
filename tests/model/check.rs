//! Compares what each peer has read, line by line, with the events in the order of the log.

use std::sync::Arc;

use chat_run::protocol::event::{Answer, Event, Listed, MemberId, Record, Welcome, write_plain};
use chat_run::protocol::json::Received;
use chat_run::protocol::request::Format;
use chat_run::protocol::text::Text;
use chat_run::server::model::MAX_BACKLOG;
use chat_run::server::replay::{ReplayBuffer, ReplayRange};

use super::peer::{Input, Plan, lines};
use super::{Seen, count};

const KICKED: &str = "you were kicked";
const TOO_SLOW: &str = "you were cut: your connection takes messages too slowly; join again";

/// A member that missed lines although neither the member nor the others were told why: the member
/// was too slow, its socket was full, and the room was already closed.
pub(super) const UNEXPLAINED: &str = "a member that was dropped without a word";

/// The errors that end a connection.
const REASONS: [&str; 3] = [KICKED, TOO_SLOW, "you came back on another connection"];

/// Checks that the log has each event once, in order of its number, up to the last one.
pub(super) fn check_order(records: &[Arc<Record>]) {
    let numbers: Vec<_> = records.iter().map(|record| record.seq).collect();
    let rising: Vec<_> = (1..=records.len() as u64).collect();
    assert_eq!(numbers, rising, "promise broken: the order of the log");
    assert!(
        matches!(&records[records.len() - 1].event, Event::Shutdown),
        "promise broken: the room's last event is not in the log"
    );
}

/// Checks that the messages of `name` are those that it sent, in order. Some may be missing at the
/// end of a connection, unless `has_sent_all` and the member left.
pub(super) fn check_said(records: &[Arc<Record>], name: &str, plans: &[Plan], has_sent_all: bool) {
    let said: Vec<_> = records
        .iter()
        .filter(|record| {
            let author = record.event.author();
            author.is_some_and(|(_, from)| from.as_str() == name)
        })
        .filter_map(|record| record.event.text())
        .map(Text::to_string)
        .collect();
    let has_left = records.iter().any(|record| match &record.event {
        Event::Left {
            name: left, reason, ..
        } => left.as_str() == name && reason.is_none(),
        Event::Message { .. }
        | Event::Joined(_)
        | Event::Renamed { .. }
        | Event::Server { .. }
        | Event::Shutdown => false,
    });
    let is_complete = has_sent_all && has_left;
    let mut rest = said.as_slice();
    for (which, plan) in plans.iter().enumerate() {
        let sent = lines(name, plan, which).flatten();
        for line in sent.filter(|line| line != "/online") {
            if let Some((next, after)) = rest.split_first()
                && *next == line
            {
                rest = after;
            } else {
                assert!(!is_complete, "promise broken: {name} has not said {line}");
                break;
            }
        }
    }
    assert!(rest.is_empty(), "promise broken: {name} said {said:#?}");
}

/// Checks the lines that were read on one connection. `is_patient`: no timeout has ended a
/// connection.
pub(super) fn check_input(records: &[Arc<Record>], input: &Input, is_patient: bool, seen: &Seen) {
    let text = std::str::from_utf8(&input.bytes).unwrap();
    let mut lines = text.split_inclusive('\n').peekable();
    let Some(found) = lines.find_map(|line| welcome(input, line)) else {
        return count(seen, "a peer that was not let in");
    };
    let (welcome_line, welcome) = found;
    let joined = records.iter().find(|record| {
        matches!(&record.event, Event::Joined(listed) if listed.name.as_str() == input.name)
    });
    let joined = joined.expect("promise broken: a member that has not joined");
    let (joined, id) = (joined.seq, joined.event.member().unwrap());
    let start = welcome.as_ref().map_or(joined - 1, |welcome| welcome.seq);
    assert!(
        input.after.is_some() || start == joined - 1,
        "promise broken: a newcomer's welcome is not from before its join"
    );
    let token = welcome.and_then(|welcome| welcome.token);
    let own = own_welcome(records, input, id, start, token);
    assert_eq!(welcome_line, own, "promise broken: the welcome");

    let range = ReplayRange {
        after: input.after.unwrap_or(0),
        since: joined - 1,
    };
    let expected = expected(records, input, id, start, range);
    if expected.iter().any(|(seq, _)| *seq <= start) {
        count(seen, "a replay");
    }
    let mut rest = expected.as_slice();
    let mut at = start.max(joined);
    let mut reason = None;
    while let Some(line) = lines.next() {
        if let Some(((seq, next), after)) = rest.split_first()
            && line == next
        {
            at = at.max(*seq);
            rest = after;
        } else if line == online(records, at, input.format) {
            count(seen, "an answer");
        } else if lines.peek().is_none()
            && let Some(told) = REASONS
                .iter()
                .find(|told| line == error(told, input.format))
        {
            reason = Some(*told);
        } else {
            let torn = lines.peek().is_none() && !line.ends_with('\n');
            assert!(
                torn && (!input.has_ended || !is_patient),
                "promise broken: {} read {line:?} after event {at} of {expected:#?}",
                input.name
            );
        }
    }
    if input.is_superseded {
        return count(seen, "a member that came back");
    }
    if !input.has_ended {
        return count(seen, "a peer that hung up");
    }
    let is_whole = rest.is_empty();
    // The reason for the member's departure that the others are told.
    let left = records[start as usize..].iter().map(|record| &record.event);
    let why = left
        .filter(|event| event.member() == Some(id))
        .find_map(|event| match event {
            Event::Left { reason, .. } => reason.as_ref().map(Text::as_str),
            Event::Message { .. }
            | Event::Joined(_)
            | Event::Renamed { .. }
            | Event::Server { .. }
            | Event::Shutdown => None,
        });
    match why {
        None => {}
        Some("kicked") => count(seen, "a member that was kicked"),
        Some("too slow") => count(seen, "a member that was too slow"),
        Some(_) => count(seen, "a member whose connection was lost"),
    }
    if !is_patient {
        return;
    }
    match (why, reason) {
        (None, None) | (Some("kicked"), Some(KICKED)) if is_whole => {}
        (Some("kicked"), Some(KICKED)) => {
            panic!("promise broken: {} did not read {rest:#?}", input.name)
        }
        // The others are told nothing after the last event, nor is the peer if its socket is full.
        (Some("too slow" | "kicked") | None, None)
        | (Some("too slow" | "kicked") | None, Some(TOO_SLOW)) => {
            if (why, reason) == (None, None) {
                count(seen, UNEXPLAINED);
            }
            let bytes: usize = expected.iter().map(|(_, line)| line.len()).sum();
            assert!(
                !is_whole && bytes > MAX_BACKLOG,
                "promise broken: {} was cut for {bytes} bytes",
                input.name
            );
        }
        _ => panic!(
            "promise broken: {} was told {reason:?}, and the others {why:?}",
            input.name
        ),
    }
}

/// The welcome, if `line` is one; decoded for a JSON client.
fn welcome<'a>(input: &Input, line: &'a str) -> Option<(&'a str, Option<Welcome>)> {
    match input.format {
        Format::Plain => line.starts_with("* welcome").then_some((line, None)),
        Format::Json => {
            let received = Received::decode(line.trim_end());
            let Ok(Received::Answer(Answer::Welcome(welcome))) = received else {
                return None;
            };
            Some((line, Some(welcome)))
        }
    }
}

/// The welcome for a member that joins or resumes after the event `start`.
fn own_welcome(
    records: &[Arc<Record>],
    input: &Input,
    id: MemberId,
    start: u64,
    token: Option<Text>,
) -> String {
    let name = Text::new(input.name);
    // The color slot that the others were told when the member last joined, which may be the event
    // after `start`.
    let arrivals = records.iter().take_while(|record| record.seq <= start + 1);
    let colors = arrivals.filter_map(|record| match &record.event {
        Event::Joined(listed) if listed.id == id => listed.color,
        Event::Message { .. }
        | Event::Joined(_)
        | Event::Left { .. }
        | Event::Renamed { .. }
        | Event::Server { .. }
        | Event::Shutdown => None,
    });
    let color = colors.last();
    let mut online = roster(records, start);
    if online.iter().all(|member| member.id != id) {
        let name = name.clone();
        online.push(Listed {
            id,
            name,
            group: None,
            color,
        });
        online.sort_by_key(|member| member.id);
    }
    let welcome = Welcome {
        room: Text::new("room"),
        token,
        id,
        name,
        group: None,
        color,
        count: online.len(),
        online,
        seq: start,
        missing: 0,
    };
    line_of(&Answer::Welcome(welcome), input.format)
}

/// The lines other than answers that a member must read after its welcome, each with the number of
/// its event.
fn expected(
    records: &[Arc<Record>],
    input: &Input,
    id: MemberId,
    start: u64,
    range: ReplayRange,
) -> Vec<(u64, String)> {
    let mut replay = ReplayBuffer::new(100);
    let mut bytes = Vec::new();
    let (before, live) = records.split_at(start as usize);
    before
        .iter()
        .for_each(|record| replay.push(Arc::clone(record)));
    replay.write(range, input.format, &mut bytes);
    let past = String::from_utf8(bytes).unwrap();
    let past = past
        .split_inclusive('\n')
        .map(|line| (start, line.to_owned()));
    let is_plain = input.format == Format::Plain;
    let live = live
        .iter()
        .take_while(|record| !matches!(&record.event, Event::Left { id: left, .. } if *left == id))
        .filter(|record| {
            let is_echo = matches!(&record.event, Event::Joined(_) | Event::Message { .. });
            !(is_plain && is_echo && record.event.member() == Some(id))
        })
        .map(|record| {
            let mut bytes = Vec::new();
            match input.format {
                Format::Plain => write_plain(&record.event, &mut bytes),
                Format::Json => record.write_json(false, &mut bytes),
            }
            (record.seq, String::from_utf8(bytes).unwrap())
        });
    past.chain(live).collect()
}

/// The members online after the event `at`.
fn roster(records: &[Arc<Record>], at: u64) -> Vec<Listed> {
    let mut online: Vec<Listed> = Vec::new();
    for record in &records[..at as usize] {
        match &record.event {
            Event::Joined(listed) => online.push(listed.clone()),
            Event::Left { id, .. } => online.retain(|member| member.id != *id),
            Event::Message { .. }
            | Event::Renamed { .. }
            | Event::Server { .. }
            | Event::Shutdown => {}
        }
    }
    online.sort_by_key(|member| member.id);
    online
}

fn online(records: &[Arc<Record>], at: u64, format: Format) -> String {
    let members = roster(records, at);
    let count = members.len();
    line_of(&Answer::Online { count, members }, format)
}

fn error(text: &str, format: Format) -> String {
    line_of(&Answer::Error(Text::new(text)), format)
}

fn line_of(answer: &Answer, format: Format) -> String {
    let mut bytes = Vec::new();
    answer.write(format, &mut bytes);
    String::from_utf8(bytes).unwrap()
}
