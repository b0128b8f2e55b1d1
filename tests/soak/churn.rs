//! Members that join, send, rename, disconnect, resume and leave at random, and three watchers that
//! check every event.
//!
//! In the tests this takes seconds. `./run.sh soak MINUTES` runs it for longer and prints the
//! memory usage.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::thread;
use std::time::{Duration, Instant};

use crate::alone;
use support::{Client, GREETING, Server, Value, json, memory, wait_until};

const MEMBERS: u64 = 8;

/// Pause between two actions of a member.
const PACE: Duration = Duration::from_millis(2);

/// Allowed growth of the server's memory between a quarter of the time and the end, in KiB.
const MAX_GROWTH: u64 = 8 * 1024;

/// A member and its current connection.
struct Member<'a> {
    server: &'a Server,
    client: Client,
    number: u64,
    /// Number of the last event received.
    seen: u64,
    /// Number of messages sent, and of private messages sent to the watcher.
    sent: u64,
    sent_privately: u64,
    renames: u64,
    resumes: u64,
    /// Number of events that the server replayed when this member resumed.
    replayed: u64,
    /// State of the random number generator.
    random: u64,
}

impl<'a> Member<'a> {
    fn new(server: &'a Server, number: u64) -> Self {
        let mut member = Self {
            server,
            client: server.connect(),
            number,
            seen: 0,
            sent: 0,
            sent_privately: 0,
            renames: 0,
            resumes: 0,
            replayed: 0,
            random: number + 1,
        };
        member.log_in(&format!("/json member{number}"));
        member
    }

    /// Logs in on a new connection with `/json NAME` or `/resume TOKEN SEQ`.
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
            self.seen = self.welcome_seq();
        }
    }

    fn welcome_seq(&self) -> u64 {
        self.client.welcome["seq"].as_u64().expect("a number")
    }

    /// Reads the next line. A room event must have the number after the last one.
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
            self.replayed += u64::from(event["replay"] == true);
            return event;
        }
    }

    /// Reads up to an answer of this type, or an event of this type caused by this member.
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

    /// Resumes after its connection broke, and returns whether the message `last` was delivered.
    fn resume(&mut self, last: &str) -> bool {
        let token = self.client.token();
        self.log_in(&format!("/resume {token} {}", self.seen));
        self.resumes += 1;
        let mut was_delivered = false;
        while self.seen < self.welcome_seq() {
            let event = self.read();
            was_delivered |= event["text"] == *last && event["id"] == self.client.welcome["id"];
        }
        was_delivered
    }

    /// A random number below `limit`.
    fn random_below(&mut self, limit: u64) -> u64 {
        // Marsaglia's xorshift64.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit
    }

    /// Does one random action.
    fn act(&mut self) {
        let text = format!("member{} {}", self.number, self.sent);
        match self.random_below(20) {
            0 => {
                self.renames += 1;
                self.client
                    .send(&format!("/nick m{}x{}", self.number, self.renames));
                self.read_to("renamed");
            }
            1 | 2 => {
                self.client.send(&format!(
                    "/msg watcher {} {}",
                    self.number, self.sent_privately
                ));
                self.read_to("private");
                self.sent_privately += 1;
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
            // The connection breaks while it sends a message; it learns after the resume whether
            // the message was delivered.
            5 => {
                self.client.send(&text);
                let new = self.server.connect();
                let welcome = self.client.welcome.clone();
                let old = std::mem::replace(&mut self.client, new);
                self.client.welcome = welcome;
                let held = match self.random_below(3) {
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
                self.sent += u64::from(self.resume(&text));
                drop(held);
            }
            _ => {
                self.client.send(&text);
                self.read_to("message");
                self.sent += 1;
            }
        }
    }
}

/// Messages and private messages of each member, by the member's number.
type Counts = BTreeMap<u64, (u64, u64)>;

/// Checks every event and private message up to the message `over`. Returns the number of the last
/// event, the counts, and a hash of all events after the number `start`.
fn watch(mut watcher: Client, start: u64) -> (u64, Counts, u64) {
    let mut hasher = DefaultHasher::new();
    let mut seen = watcher.welcome["seq"].as_u64().expect("a number");
    let mut counts = Counts::new();
    loop {
        let event = watcher.json();
        if let Some(seq) = event["seq"].as_u64() {
            assert_eq!(seq, seen + 1, "the watcher: {event}");
            seen = seq;
            if seq > start {
                event.to_string().hash(&mut hasher);
            }
        }
        let text = event["text"].as_str().unwrap_or_default();
        let words = text.split_once(' ');
        let number_of = |member: &str| {
            member
                .trim_start_matches("member")
                .parse()
                .expect("a number")
        };
        match (event["type"].as_str(), words) {
            (Some("message"), None) => return (seen, counts, hasher.finish()),
            (Some("message"), Some((member, number))) => {
                let sent = &mut counts.entry(number_of(member)).or_default().0;
                assert_eq!(number, sent.to_string(), "once and in order: {event}");
                *sent += 1;
            }
            (Some("private"), Some((member, number))) => {
                let sent = &mut counts.entry(number_of(member)).or_default().1;
                assert_eq!(number, sent.to_string(), "once and in order: {event}");
                *sent += 1;
            }
            _ => {}
        }
    }
}

/// Memory in KiB, threads and descriptors of the server.
fn usage(server: &Server) -> (u64, usize, usize) {
    let process = server.process();
    let descriptors = process.fd_count().expect("it runs");
    (memory(&process).0, server.threads().len(), descriptors)
}

#[test]
fn random_joins_breaks_and_leaves_lose_no_event_and_leak_nothing() {
    let _alone = alone();
    let minutes = std::env::var("SOAK_MINUTES").ok();
    let time =
        match minutes.map(|minutes| minutes.parse::<f64>().expect("SOAK_MINUTES is a number")) {
            Some(minutes) => Duration::from_secs_f64(minutes * 60.0),
            None => Duration::from_secs(4),
        };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let history = directory.path().join("room.jsonl");
    let file = history.to_str().expect("a path in UTF-8");
    let server = Server::start(&["--rate", "0", "--history", file]);
    let watchers = ["watcher", "second", "third"].map(|name| server.join_json(name));
    let start = watchers[2].welcome["seq"].as_u64().expect("a number");
    server.wait_for_member_threads(watchers.len());
    let (_, threads, descriptors) = usage(&server);
    let began = Instant::now();

    let (watched, counts, (resumes, replayed), early, late) = thread::scope(|scope| {
        let watching = watchers.map(|watcher| scope.spawn(move || watch(watcher, start)));
        let members: Vec<_> = (0..MEMBERS)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let mut member = Member::new(server, number);
                    while began.elapsed() < time {
                        member.act();
                        // Otherwise more could happen during a resume than the server remembers.
                        thread::sleep(PACE);
                    }
                    member.client.send("/quit");
                    while member.client.line_or_end().is_some() {}
                    let resumed = (member.resumes, member.replayed);
                    (member.sent, member.sent_privately, resumed)
                })
            })
            .collect();
        // Buffers and stacks have reached their usual size by then.
        thread::sleep(time / 4);
        let early = usage(&server).0;
        let mut counts = Counts::new();
        let (mut resumes, mut replayed) = (0, 0);
        for (number, member) in members.into_iter().enumerate() {
            let (sent, sent_privately, resumed) = member.join().expect("no member failed");
            counts.insert(number as u64, (sent, sent_privately));
            resumes += resumed.0;
            replayed += resumed.1;
        }
        let late = usage(&server).0;
        let mut last = server.join_json("last");
        last.send("over");
        (
            watching.map(|watching| watching.join().expect("the watcher did not fail")),
            counts,
            (resumes, replayed),
            early,
            late,
        )
    });
    let [(last, seen, events), (_, _, second), (_, _, third)] = watched;
    assert_eq!(seen, counts, "messages received and sent");
    assert_eq!([second, third], [events; 2], "all watchers see the same");
    assert!(
        late < early + MAX_GROWTH,
        "{early} KiB of memory, and later {late} KiB"
    );
    wait_until("threads and descriptors are released", || {
        let (_, threads_left, descriptors_left) = usage(&server);
        (threads_left < threads && descriptors_left < descriptors).then_some(())
    });
    server.stop();
    let stored = std::fs::read_to_string(&history).expect("it can be read");
    assert!(
        stored.lines().count() as u64 > last,
        "all events are stored"
    );
    let (sent, sent_privately): (Vec<u64>, Vec<u64>) = counts.into_values().unzip();
    eprintln!(
        "soak: {} s, {last} events, {} messages and {} private ones, {resumes} connections broken, \
         {replayed} events replayed: lost 0; memory {early} KiB after a quarter of the time, {late} KiB at the end",
        time.as_secs(),
        sent.iter().sum::<u64>(),
        sent_privately.iter().sum::<u64>(),
    );
}
