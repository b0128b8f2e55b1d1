//! Members that come, say, rename, whisper, break off, come back and leave at random, and one that knows what it must have seen.
//!
//! In the tests this takes seconds; `./run.sh soak MINUTES` lets it go on for longer, and shows what became of memory,
//! threads and descriptors.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::alone;
use support::{Client, GREETING, Server, Value, json, memory, wait_until};

const MEMBERS: u64 = 8;

/// Time between two things that a member does.
const PACE: Duration = Duration::from_millis(2);

/// What the server may use more at the end than when all had been busy for a while, in KiB.
const GROWTH: u64 = 8 * 1024;

/// A member, on one connection after another.
struct Member<'a> {
    server: &'a Server,
    client: Client,
    number: u64,
    /// The last event that it saw.
    seen: u64,
    /// How much it has said, and whispered to the watcher.
    said: u64,
    whispered: u64,
    renamed: u64,
    breaks: u64,
    random: u64,
}

impl<'a> Member<'a> {
    fn new(server: &'a Server, number: u64) -> Self {
        let mut member = Self {
            server,
            client: server.connect(),
            number,
            seen: 0,
            said: 0,
            whispered: 0,
            renamed: 0,
            breaks: 0,
            random: number + 1,
        };
        member.log_in(&format!("/json member{number}"));
        member
    }

    /// On a new connection, by a name or by what it has of an old one.
    fn log_in(&mut self, line: &str) {
        self.client = self
            .server
            .connect()
            .named(&format!("member {}", self.number));
        self.client.send(line);
        self.client.expect(GREETING);
        self.client.welcome = self.client.expect_json(json!({"type": "welcome"}));
        assert_eq!(self.client.welcome.get("missing"), None);
        if line.starts_with("/json") {
            self.seen = self.welcomed();
        }
    }

    fn welcomed(&self) -> u64 {
        self.client.welcome["seq"].as_u64().expect("a number")
    }

    /// The next line; an event of the room is the one after the last.
    fn read(&mut self) -> Value {
        loop {
            let event = self.client.json();
            let Some(seq) = event["seq"].as_u64() else {
                return event;
            };
            if event["replay"] == true && seq <= self.seen {
                continue;
            }
            assert_eq!(seq, self.seen + 1, "member {}: {event}", self.number);
            self.seen = seq;
            return event;
        }
    }

    /// Reads on to an answer of this type, or an event of its own doing.
    fn read_to(&mut self, kind: &str) {
        let id = self.client.welcome["id"].clone();
        loop {
            let event = self.read();
            assert_ne!(event["type"], "error", "{event}");
            if event["type"] == kind && (event.get("seq").is_none() || event["id"] == id) {
                return;
            }
        }
    }

    /// Comes back after its connection broke, and gives whether what it had just said was said.
    fn come_back(&mut self, just_said: &str) -> bool {
        let token = self.client.token();
        self.log_in(&format!("/resume {token} {}", self.seen));
        self.breaks += 1;
        let mut was_said = false;
        while self.seen < self.welcomed() {
            let event = self.read();
            was_said |= event["text"] == *just_said && event["id"] == self.client.welcome["id"];
        }
        was_said
    }

    fn chance(&mut self, of: u64) -> u64 {
        // Marsaglia's xorshift64.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % of
    }

    fn act(&mut self) {
        let text = format!("member{} {}", self.number, self.said);
        match self.chance(20) {
            0 => {
                self.renamed += 1;
                self.client
                    .send(&format!("/nick m{}x{}", self.number, self.renamed));
                self.read_to("renamed");
            }
            1 | 2 => {
                self.client
                    .send(&format!("/msg watcher {} {}", self.number, self.whispered));
                self.read_to("private");
                self.whispered += 1;
            }
            3 => {
                self.client.send("/online");
                self.read_to("online");
            }
            4 => {
                self.client.send("/quit");
                while self.client.line_or_end().is_some() {}
                self.log_in(&format!("/json member{}", self.number));
            }
            // It breaks off while it says something, whose fate it learns when it is back.
            5 => {
                self.client.send(&text);
                let new = self.server.connect();
                let welcome = self.client.welcome.clone();
                let old = std::mem::replace(&mut self.client, new);
                self.client.welcome = welcome;
                let held = match self.chance(3) {
                    0 => Some(old),
                    1 => {
                        old.reset();
                        None
                    }
                    _ => {
                        drop(old);
                        None
                    }
                };
                self.said += u64::from(self.come_back(&text));
                drop(held);
            }
            _ => {
                self.client.send(&text);
                self.read_to("message");
                self.said += 1;
            }
        }
    }
}

/// What was said and whispered by each member, by number.
type Counts = BTreeMap<u64, (u64, u64)>;

/// Sees every event and every whisper, to the end; gives the number of the last event, and what it counted.
fn watch(mut watcher: Client) -> (u64, Counts) {
    let mut seen = watcher.welcome["seq"].as_u64().expect("a number");
    let mut counts = Counts::new();
    loop {
        let event = watcher.json();
        if let Some(seq) = event["seq"].as_u64() {
            assert_eq!(seq, seen + 1, "the watcher: {event}");
            seen = seq;
        }
        let text = event["text"].as_str().unwrap_or_default();
        let words = text.split_once(' ');
        let of = |member: &str| {
            member
                .trim_start_matches("member")
                .parse()
                .expect("a number")
        };
        match (event["type"].as_str(), words) {
            (Some("message"), None) => return (seen, counts),
            (Some("message"), Some((member, number))) => {
                let said = &mut counts.entry(of(member)).or_default().0;
                assert_eq!(number, said.to_string(), "said once, and in order: {event}");
                *said += 1;
            }
            (Some("private"), Some((member, number))) => {
                let whispered = &mut counts.entry(of(member)).or_default().1;
                assert_eq!(
                    number,
                    whispered.to_string(),
                    "whispered once, and in order: {event}"
                );
                *whispered += 1;
            }
            _ => {}
        }
    }
}

/// What the server uses: memory in KiB, threads, descriptors.
fn usage(server: &Server) -> (u64, usize, usize) {
    let process = server.process();
    let descriptors = process.fd_count().expect("it runs");
    (memory(&process).0, server.threads().len(), descriptors)
}

#[test]
fn whoever_comes_and_goes_nothing_is_lost_and_nothing_is_left_behind() {
    let _alone = alone();
    let minutes = std::env::var("SOAK_MINUTES").ok();
    let time =
        match minutes.map(|minutes| minutes.parse::<f64>().expect("SOAK_MINUTES is a number")) {
            Some(minutes) => Duration::from_secs_f64(minutes * 60.0),
            None => Duration::from_secs(4),
        };
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let history = folder.path().join("room.jsonl");
    let file = history.to_str().expect("a path in UTF-8");
    let server = Server::start(&["--rate", "0", "--history", file]);
    let watcher = server.join_json("watcher");
    wait_until("the watcher has its thread", || {
        server.threads().contains(&"c:watcher".into()).then_some(())
    });
    let (_, threads, descriptors) = usage(&server);
    let began = Instant::now();

    let (watched, counts, breaks, early, late) = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(watcher));
        let members: Vec<_> = (0..MEMBERS)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let mut member = Member::new(server, number);
                    while began.elapsed() < time {
                        member.act();
                        // Or more could happen during a coming back than the server remembers.
                        thread::sleep(PACE);
                    }
                    member.client.send("/quit");
                    while member.client.line_or_end().is_some() {}
                    (member.said, member.whispered, member.breaks)
                })
            })
            .collect();
        // What buffers and stacks take is taken by then.
        thread::sleep(time / 4);
        let early = usage(&server).0;
        let mut counts = Counts::new();
        let mut breaks = 0;
        for (number, member) in members.into_iter().enumerate() {
            let (said, whispered, broken) = member.join().expect("a member saw all");
            counts.insert(number as u64, (said, whispered));
            breaks += broken;
        }
        let late = usage(&server).0;
        let mut last = server.join_json("last");
        last.send("over");
        (
            watching.join().expect("the watcher saw all"),
            counts,
            breaks,
            early,
            late,
        )
    });
    let (last, seen) = watched;
    assert_eq!(seen, counts, "what was seen, and what was said");
    assert!(
        late < early + GROWTH,
        "{early} KiB of memory, and later {late} KiB"
    );
    wait_until("threads and descriptors are as before", || {
        let (_, threads_left, descriptors_left) = usage(&server);
        (threads_left < threads && descriptors_left < descriptors).then_some(())
    });
    server.stop();
    let kept = std::fs::read_to_string(&history).expect("it can be read");
    assert!(kept.lines().count() as u64 > last, "all is kept");
    let (said, whispered): (Vec<u64>, Vec<u64>) = counts.into_values().unzip();
    eprintln!(
        "soak: {} s, {last} events, {} messages and {} private ones, {breaks} connections broken: lost 0; \
         memory {early} KiB after a quarter of the time, {late} KiB at the end",
        time.as_secs(),
        said.iter().sum::<u64>(),
        whispered.iter().sum::<u64>(),
    );
}
