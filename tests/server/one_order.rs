//! All see one order, and each event once: members, newcomers, and who comes back again and again, while others talk.
//!
//! It is about threads that meet, and not about how bytes are cut: so it is a file of its own, and not run once more byte by byte.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use support::{Client, Server, Value, wait_until};

#[test]
fn all_see_one_order_and_each_message_once() {
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
    let (seen, heard) = thread::scope(|scope| {
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
                        assert_eq!(event["seq"], seq, "no gap and no double: {event}");
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
                    let mut heard = Vec::new();
                    while heard.len() < all - EACH {
                        let line = client.line();
                        if !line.starts_with('*') {
                            heard.push(line);
                        }
                    }
                    heard
                })
            })
            .collect();
        let seen: Vec<Vec<String>> = json
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        let heard: Vec<Vec<String>> = plain
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        (seen, heard)
    });
    let order = &seen[0];
    for other in &seen[1..] {
        assert!(other == order, "two JSON clients saw two orders");
    }
    let mut next: HashMap<&str, usize> = HashMap::new();
    for line in order {
        let (from, number) = line.split_once(": ").unwrap();
        let next = next.entry(from).or_default();
        assert_eq!(number, next.to_string(), "what {from} sent, in its order");
        *next += 1;
    }
    for (number, heard) in heard.iter().enumerate() {
        let own = format!("plain{number}: ");
        assert!(
            order
                .iter()
                .filter(|line| !line.starts_with(&own))
                .eq(heard),
            "{own} heard another order"
        );
    }
}

/// They are enough, and it is enough, to be sent without a copy for each. Nobody who reads late is cut for so much.
#[test]
fn many_who_read_late_get_all_of_much_in_its_order() {
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

/// What a newcomer got of the messages, from the past and live, up to the last one of each speaker.
struct Heard {
    /// The numbers of each speaker's messages, in order of arrival.
    numbers: BTreeMap<String, Vec<usize>>,
    past: usize,
}

impl Heard {
    fn new() -> Self {
        Self {
            numbers: BTreeMap::new(),
            past: 0,
        }
    }

    /// Takes a message; a speaker's last one counts for `over`.
    fn take(&mut self, from: &str, text: &str, over: &mut usize) {
        match text.strip_prefix("last after ") {
            Some(count) => {
                let last = self.numbers.get(from).and_then(|numbers| numbers.last());
                assert!(
                    last.is_none_or(|last| last + 1 == count.parse::<usize>().unwrap()),
                    "{from} ends after {count}, heard {last:?}"
                );
                *over += 1;
            }
            None => self
                .numbers
                .entry(from.into())
                .or_default()
                .push(text.parse().unwrap()),
        }
    }

    fn plain(mut client: Client, speakers: usize) -> Self {
        let mut heard = Self::new();
        let mut over = 0;
        let mut announced = None;
        while over < speakers {
            let line = client.line();
            if let Some(count) = line
                .strip_prefix("* the last ")
                .and_then(|rest| rest.strip_suffix(" messages"))
            {
                assert_eq!(announced, None, "the past comes once, and first");
                announced = Some(count.parse::<usize>().unwrap());
            } else if line == "* end of the past messages" {
                let so_far = heard.numbers.values().map(Vec::len).sum::<usize>() + over;
                assert_eq!(announced, Some(so_far), "as many as were announced");
                heard.past = so_far;
            } else if let Some((from, text)) =
                line.split_once(": ").filter(|_| !line.starts_with('*'))
            {
                heard.take(from, text, &mut over);
            }
        }
        heard
    }

    fn json(mut client: Client, speakers: usize) -> Self {
        let mut heard = Self::new();
        let mut over = 0;
        let welcome = client.welcome["seq"].as_u64().unwrap();
        let id = client.welcome["id"].clone();
        let mut live = 0;
        let mut past_seq = 0;
        while over < speakers {
            let event = client.json();
            let seq = event["seq"].as_u64().unwrap();
            if event["replay"] == true {
                assert_eq!(live, 0, "the past comes first: {event}");
                assert!(
                    past_seq < seq && seq <= welcome,
                    "{event} after {past_seq}, welcomed at {welcome}"
                );
                past_seq = seq;
                heard.past += 1;
            } else {
                live += 1;
                assert_eq!(seq, welcome + live, "no gap and no double: {event}");
                assert!(
                    live > 1 || event["id"] == id && event["type"] == "joined",
                    "its own joining first: {event}"
                );
            }
            if event["type"] == "message" {
                heard.take(
                    event["from"].as_str().unwrap(),
                    event["text"].as_str().unwrap(),
                    &mut over,
                );
            }
        }
        heard
    }
}

/// Three speakers go on while two threads join one newcomer after another, in both formats; gives what each heard.
fn join_a_room_that_talks(replay: &str) -> Vec<Heard> {
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
                    // Its own last line comes back when all have been sent it.
                    let last = Value::from((number - 1).to_string());
                    while !line_is_message(&mut client, &id, &last) {}
                }
                client.send(&format!("last after {number}"));
                let last = Value::from(format!("last after {number}"));
                while !line_is_message(&mut client, &id, &last) {}
            });
        }
        // There is more to be told by then than is told to some.
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
                        // Each reads on at once, in a thread of its own: none is to fall behind.
                        let reading = if (thread + number) % 2 == 0 {
                            let client = server.join(&name);
                            scope.spawn(move || Heard::plain(client, SPEAKERS))
                        } else {
                            let client = server.join_json(&name);
                            scope.spawn(move || Heard::json(client, SPEAKERS))
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

/// Reads a line, and returns whether it is this message.
fn line_is_message(client: &mut Client, id: &Value, text: &Value) -> bool {
    let event = client.json();
    event["type"] == "message" && event["id"] == *id && event["text"] == *text
}

#[test]
fn the_whole_past_and_live_meet_without_a_gap_or_a_double() {
    for heard in join_a_room_that_talks("all") {
        for (speaker, numbers) in heard.numbers {
            assert!(
                numbers.iter().copied().eq(0..numbers.len()),
                "{speaker}: {numbers:?}"
            );
        }
    }
}

#[test]
fn a_part_of_the_past_and_live_meet_without_a_gap_or_a_double() {
    let all = join_a_room_that_talks("40");
    assert!(
        all.iter().any(|heard| heard.past == 40),
        "somebody came late enough"
    );
    for heard in all {
        assert!(heard.past <= 40);
        for (speaker, numbers) in heard.numbers {
            let first = numbers[0];
            assert!(
                numbers.iter().copied().eq(first..first + numbers.len()),
                "{speaker}: {numbers:?}"
            );
        }
    }
}

/// Says that it is over when it goes out of scope.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_member_that_comes_back_again_and_again_sees_each_event_once_and_in_order() {
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
                    wait_until("the server will not forget what ala has not seen", || {
                        let is_near = echo < seen_by_ala.load(Ordering::Relaxed) + 500;
                        (is_near || over.load(Ordering::Relaxed)).then_some(())
                    });
                }
            });
        }
        // Also where this fails.
        let _over = Over(&over);
        let mut seen = 0;
        let mut held = Vec::new();
        for time in 0..TIMES {
            let mut ala = server.resume(&token, seen);
            assert_eq!(
                ala.welcome.get("missing"),
                None,
                "too much happened meanwhile"
            );
            let welcomed = ala.welcome["seq"].as_u64().unwrap();
            // Some of the past alone, or some of what follows as well.
            let enough = seen + (time as u64 * 7) % 50;
            ala.send(&format!("time {time}"));
            while seen < enough || time % 2 == 0 && seen <= welcomed {
                let event = ala.json();
                if event["type"] == "error" {
                    panic!("{event}");
                }
                assert_eq!(event["seq"], seen + 1, "{event}");
                assert_eq!(event["replay"] == true, seen < welcomed, "{event}");
                seen += 1;
                seen_by_ala.store(seen, Ordering::Relaxed);
            }
            match time % 3 {
                // It is there for the server, and nobody reads it.
                0 => held.push(ala),
                1 => ala.reset(),
                _ => drop(ala),
            }
        }
        seen
    });
    assert!(last > 100, "only {last} events were seen");
}
