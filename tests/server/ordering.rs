//! Ordering under load: members, newcomers and resuming members all see each event once and in the
//! same order.
//!
//! These tests race threads, so a byte-by-byte run would add nothing, and they are not in `room`.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use support::{Client, Server, Value, wait_until};

#[test]
fn all_members_see_each_message_once_and_in_the_same_order() {
    const EACH: usize = 300;
    let server = Server::start(&["--rate", "0"]);
    let mut json: Vec<Client> = (0..3)
        .map(|n| server.join_json(&format!("json{n}")))
        .collect();
    let mut plain: Vec<Client> = (0..3).map(|n| server.join(&format!("plain{n}"))).collect();
    let speak = |client: &mut Client| {
        for number in 0..EACH {
            client.send(&format!("{number}"));
        }
    };
    let all = 6 * EACH;
    let (seen, plain_lines) = thread::scope(|scope| {
        let json: Vec<_> = json
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    speak(client);
                    let mut seen = Vec::new();
                    let mut seq = client.welcome["seq"].as_u64().unwrap();
                    while seen.len() < all {
                        let event = client.json();
                        seq += 1;
                        assert_eq!(event["seq"], seq, "no gap and no duplicate: {event}");
                        if event["type"] == "message" {
                            let (from, text) = (
                                event["from"].as_str().unwrap(),
                                event["text"].as_str().unwrap(),
                            );
                            seen.push(format!("{from}: {text}"));
                        }
                    }
                    seen
                })
            })
            .collect();
        let plain: Vec<_> = plain
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    speak(client);
                    let mut lines = Vec::new();
                    while lines.len() < all - EACH {
                        let line = client.line();
                        if !line.starts_with('*') {
                            lines.push(line);
                        }
                    }
                    lines
                })
            })
            .collect();
        let seen: Vec<Vec<String>> = json
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        let plain_lines: Vec<Vec<String>> = plain
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        (seen, plain_lines)
    });
    let order = &seen[0];
    for other in &seen[1..] {
        assert!(other == order, "two JSON clients saw different orders");
    }
    let mut next: HashMap<&str, usize> = HashMap::new();
    for line in order {
        let (from, number) = line.split_once(": ").unwrap();
        let next = next.entry(from).or_default();
        assert_eq!(
            number,
            next.to_string(),
            "the messages of {from} are in order"
        );
        *next += 1;
    }
    for (number, lines) in plain_lines.iter().enumerate() {
        let own = format!("plain{number}: ");
        assert!(
            order
                .iter()
                .filter(|line| !line.starts_with(&own))
                .eq(lines),
            "plain{number} saw a different order"
        );
    }
}

/// The members and bytes are enough for sendfile(2), and too few for a late reader to be
/// disconnected.
#[test]
fn many_late_readers_receive_a_large_backlog_in_order() {
    const MEMBERS: usize = 40;
    const LINES: usize = 300;
    let server = Server::start(&["--rate", "0"]);
    let mut speaker = server.join("speaker");
    let plain: Vec<Client> = (0..MEMBERS)
        .map(|n| server.join(&format!("plain{n}")))
        .collect();
    let json: Vec<Client> = (0..MEMBERS)
        .map(|n| server.join_json(&format!("json{n}")))
        .collect();
    let lines: Vec<String> = (0..LINES).map(|number| format!("{number:01000}")).collect();
    speaker.send(&lines.join("\n"));
    for mut client in plain {
        let mut next = 0;
        while next < LINES {
            if let Some(number) = client.line().strip_prefix("speaker: ") {
                assert_eq!(number.parse(), Ok(next));
                next += 1;
            }
        }
    }
    for mut client in json {
        let mut next = 0;
        while next < LINES {
            let event = client.json();
            if event["type"] == "message" {
                assert_eq!(event["text"].as_str().unwrap().parse(), Ok(next));
                next += 1;
            }
        }
    }
}

/// Messages that a newcomer received, replayed and live, up to the last one of each speaker.
struct Received {
    /// Numbers of each speaker's messages, in order of arrival.
    numbers: BTreeMap<String, Vec<usize>>,
    /// Number of replayed messages.
    replayed: usize,
}

impl Received {
    fn new() -> Self {
        Self {
            numbers: BTreeMap::new(),
            replayed: 0,
        }
    }

    /// Records a message; a speaker's last one is counted in `finished`.
    fn record(&mut self, from: &str, text: &str, finished: &mut usize) {
        match text.strip_prefix("last after ") {
            Some(count) => {
                let last = self.numbers.get(from).and_then(|numbers| numbers.last());
                assert!(
                    last.is_none_or(|last| last + 1 == count.parse::<usize>().unwrap()),
                    "{from} ends after {count}, received {last:?}"
                );
                *finished += 1;
            }
            None => self
                .numbers
                .entry(from.into())
                .or_default()
                .push(text.parse().unwrap()),
        }
    }

    fn plain(mut client: Client, speakers: usize) -> Self {
        let mut received = Self::new();
        let mut finished = 0;
        let mut announced = None;
        while finished < speakers {
            let line = client.line();
            if let Some(count) = line
                .strip_prefix("* the last ")
                .and_then(|rest| rest.strip_suffix(" messages"))
            {
                assert_eq!(announced, None, "the replay is announced once");
                announced = Some(count.parse::<usize>().unwrap());
            } else if line == "* end of the past messages" {
                let so_far = received.numbers.values().map(Vec::len).sum::<usize>() + finished;
                assert_eq!(announced, Some(so_far), "as many messages as announced");
                received.replayed = so_far;
            } else if let Some((from, text)) =
                line.split_once(": ").filter(|_| !line.starts_with('*'))
            {
                received.record(from, text, &mut finished);
            }
        }
        received
    }

    fn json(mut client: Client, speakers: usize) -> Self {
        let mut received = Self::new();
        let mut finished = 0;
        let welcome = client.welcome["seq"].as_u64().unwrap();
        let id = client.welcome["id"].clone();
        let mut live = 0;
        let mut replayed_seq = 0;
        while finished < speakers {
            let event = client.json();
            let seq = event["seq"].as_u64().unwrap();
            if event["replay"] == true {
                assert_eq!(live, 0, "the replay comes first: {event}");
                assert!(
                    replayed_seq < seq && seq <= welcome,
                    "{event} after {replayed_seq}, welcomed at {welcome}"
                );
                replayed_seq = seq;
                received.replayed += 1;
            } else {
                live += 1;
                assert_eq!(seq, welcome + live, "no gap and no duplicate: {event}");
                assert!(
                    live > 1 || event["id"] == id && event["type"] == "joined",
                    "its own join event comes first: {event}"
                );
            }
            if event["type"] == "message" {
                received.record(
                    event["from"].as_str().unwrap(),
                    event["text"].as_str().unwrap(),
                    &mut finished,
                );
            }
        }
        received
    }
}

/// Lets two threads join newcomers in both formats while three speakers send messages. Returns what
/// each newcomer received.
fn join_a_busy_room(replay: &str) -> Vec<Received> {
    const SPEAKERS: usize = 3;
    const JOINING: usize = 2;
    const NEWCOMERS: usize = 6;
    let server = Server::start(&["--rate", "0", "--replay", replay]);
    let to_join = AtomicUsize::new(JOINING * NEWCOMERS);
    thread::scope(|scope| {
        for speaker in 0..SPEAKERS {
            let (server, to_join) = (&server, &to_join);
            scope.spawn(move || {
                let mut client = server.join_json(&format!("speaker{speaker}"));
                let id = client.welcome["id"].clone();
                let mut number = 0;
                while to_join.load(Ordering::Relaxed) > 0 {
                    let lines: String = (number..number + 8)
                        .map(|number| format!("{number}\n"))
                        .collect();
                    client.send_bytes(lines.as_bytes());
                    number += 8;
                    // The echo of its last line arrives once the line is sent to all members.
                    let last = Value::from((number - 1).to_string());
                    while !line_is_message(&mut client, &id, &last) {}
                }
                client.send(&format!("last after {number}"));
                let last = Value::from(format!("last after {number}"));
                while !line_is_message(&mut client, &id, &last) {}
            });
        }
        // Waits until there are more past messages than a partial replay has.
        let mut first = server.join("first");
        for _ in 0..60 {
            first.line();
        }
        drop(first);
        let joining: Vec<_> = (0..JOINING)
            .map(|thread| {
                let (server, to_join) = (&server, &to_join);
                scope.spawn(move || {
                    let mut newcomers = Vec::new();
                    for number in 0..NEWCOMERS {
                        let name = format!("new{thread}-{number}");
                        // Each newcomer reads in its own thread, so that none falls behind.
                        let reading = if (thread + number) % 2 == 0 {
                            let client = server.join(&name);
                            scope.spawn(move || Received::plain(client, SPEAKERS))
                        } else {
                            let client = server.join_json(&name);
                            scope.spawn(move || Received::json(client, SPEAKERS))
                        };
                        to_join.fetch_sub(1, Ordering::Relaxed);
                        newcomers.push(reading);
                    }
                    newcomers
                })
            })
            .collect();
        let reading: Vec<_> = joining
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        reading
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// Reads an event and returns whether it is this message.
fn line_is_message(client: &mut Client, id: &Value, text: &Value) -> bool {
    let event = client.json();
    event["type"] == "message" && event["id"] == *id && event["text"] == *text
}

#[test]
fn live_events_follow_a_full_replay_without_gaps_or_duplicates() {
    for received in join_a_busy_room("all") {
        for (speaker, numbers) in received.numbers {
            assert!(
                numbers.iter().copied().eq(0..numbers.len()),
                "{speaker}: {numbers:?}"
            );
        }
    }
}

#[test]
fn live_events_follow_a_partial_replay_without_gaps_or_duplicates() {
    let all = join_a_busy_room("40");
    assert!(
        all.iter().any(|received| received.replayed == 40),
        "at least one newcomer got a full replay"
    );
    for received in all {
        assert!(received.replayed <= 40);
        for (speaker, numbers) in received.numbers {
            let first = numbers[0];
            assert!(
                numbers.iter().copied().eq(first..first + numbers.len()),
                "{speaker}: {numbers:?}"
            );
        }
    }
}

/// Sets the flag on drop.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_member_that_resumes_repeatedly_sees_each_event_once_in_order() {
    const SPEAKERS: usize = 3;
    const TIMES: usize = 300;
    let server = Server::start(&["--rate", "0"]);
    let (over, seen_by_ala) = (AtomicBool::new(false), AtomicU64::new(0));
    let token = server.join_json("ala").token();
    let last = thread::scope(|scope| {
        for number in 0..SPEAKERS {
            let (server, over, seen_by_ala) = (&server, &over, &seen_by_ala);
            scope.spawn(move || {
                let mut speaker = server.join_json(&format!("speaker{number}"));
                while !over.load(Ordering::Relaxed) {
                    speaker.send("hi");
                    let echo = loop {
                        let event = speaker.json();
                        if event["id"] == speaker.welcome["id"] {
                            break event["seq"].as_u64().unwrap();
                        }
                    };
                    // The server remembers 1000 events; ala must not fall further behind.
                    wait_until("ala is close behind", || {
                        let is_near = echo < seen_by_ala.load(Ordering::Relaxed) + 500;
                        (is_near || over.load(Ordering::Relaxed)).then_some(())
                    });
                }
            });
        }
        // Stops the speakers even if an assertion below fails.
        let _stop = SetOnDrop(&over);
        let mut seen = 0;
        let mut held = Vec::new();
        for time in 0..TIMES {
            let mut ala = server.resume(&token, seen);
            assert_eq!(ala.welcome.get("missing"), None, "ala fell too far behind");
            let welcomed = ala.welcome["seq"].as_u64().unwrap();
            // Reads part of the replay, or all of it and live events.
            let enough = seen + (time as u64 * 7) % 50;
            ala.send(&format!("time {time}"));
            while seen < enough || time % 2 == 0 && seen <= welcomed {
                let event = ala.json();
                assert!(event["type"] != "error", "{event}");
                assert_eq!(event["seq"], seen + 1, "{event}");
                assert_eq!(event["replay"] == true, seen < welcomed, "{event}");
                seen += 1;
                seen_by_ala.store(seen, Ordering::Relaxed);
            }
            match time % 3 {
                // To the server, the old connection is still open, but the test does not read it
                // any more.
                0 => held.push(ala),
                1 => ala.reset(),
                _ => drop(ala),
            }
        }
        seen
    });
    assert!(last > 100, "only {last} events were seen");
}
