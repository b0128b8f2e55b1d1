//! Samples of a server's state, as a launcher gets them.

use chat_run::probe::sample::{ASK, BacklogSample, LockSample, Proof, Report, STOP, Sample};
use chat_run::protocol::checksum::Sum;
use chat_run::protocol::event::Record;
use chat_run::protocol::json::Received;
use support::observer::Observer;
use support::{Client, json, wait_until};

/// Asks for a sample.
#[track_caller]
fn sample(observer: &mut Observer) -> Sample {
    observer.send(ASK);
    let line = observer.report().expect("a report");
    match serde_json::from_str(&line).expect("a report is JSON") {
        Report::Sample(sample) => sample,
        Report::Proof(_) => panic!("a proof before the end"),
    }
}

#[track_caller]
fn lock<'a>(sample: &'a Sample, name: &str) -> &'a LockSample {
    let mut locks = sample.locks.iter();
    locks.find(|lock| lock.name == name).expect("it is sampled")
}

#[test]
fn a_sample_counts_members_deliveries_threads_and_holds_of_locks() {
    let (server, mut observer) = Observer::start(&[]);
    let mut ala = server.join_json_live("ala");
    let mut ola = server.join_json_live("ola");
    ala.expect_json(json!({"type": "joined"}));
    server.wait_for_member_threads(2);
    let before = sample(&mut observer);
    for text in ["one", "two", "three"] {
        ala.send(text);
        for client in [&mut ala, &mut ola] {
            client.expect_json(json!({"type": "message", "text": text}));
        }
    }
    // The server counts a batch just after sending it.
    let rounds = before.delivery.rounds + 3;
    let after = wait_until("all batches are counted", || {
        let sample = sample(&mut observer);
        (sample.delivery.rounds >= rounds).then_some(sample)
    });
    assert_eq!((after.members, after.send_buffer), (2, None));
    assert_eq!((after.pending.entries, after.pending.bytes), (0, 0));
    let more = |count: fn(&Sample) -> u64| count(&after) - count(&before);
    assert_eq!(more(|sample| sample.delivery.rounds), 3);
    assert_eq!(more(|sample| sample.delivery.sends), 6);
    assert_eq!(more(|sample| sample.delivery.deliveries), 6);
    let last = (after.delivery.last_events, after.delivery.last_recipients);
    assert_eq!(last, (1, 2));
    // deliver, linger, accept, c:ala and c:ola.
    assert_eq!((after.threads.started, after.threads.ended), (5, 0));
    for name in ["room", "pacer", "thread budget"] {
        let (before, after) = (lock(&before, name), lock(&after, name));
        assert!(after.held >= before.held && after.waiting == 0, "{after:?}");
    }
    // Each message was posted under the lock, and taken from the queue under the lock.
    let taken = lock(&after, "room").taken - lock(&before, "room").taken;
    assert!(taken >= 6, "the room's lock was taken {taken} times");
    assert!(after.at > before.at);
    server.stop();
}

#[test]
fn locks_are_not_measured_after_the_launcher_sends_stop() {
    let (server, mut observer) = Observer::start(&["--rate", "0"]);
    let mut ala = server.join_json_live("ala");
    let taken = |observer: &mut Observer| lock(&sample(observer), "room").taken;
    let before = taken(&mut observer);
    observer.send(STOP);
    let mut talk = |observer: &mut Observer| {
        for _ in 0..100 {
            ala.send("hi");
            ala.expect_json(json!({"type": "message"}));
        }
        taken(observer)
    };
    // The server may read the line only after some of the messages.
    wait_until("a pause is not measured", || {
        observer.send(STOP);
        let after = talk(&mut observer);
        (after < before + 100).then_some(())
    });
    assert!(talk(&mut observer) >= before + 100);
    server.stop();
}

#[test]
fn a_member_that_does_not_read_is_shown_with_its_backlog_until_it_has_left() {
    let (server, mut observer) = Observer::start(&["--send-buffer", "4608", "--rate", "0"]);
    server.expect_log("small send buffer");
    let mut ala = server.join_json_live("ala");
    let ola = server.join_with_small_buffer("ola");
    ala.expect_json(json!({"type": "joined", "name": "ola"}));
    let mut say = || {
        ala.send(&"x".repeat(60));
        ala.expect_json(json!({"type": "message"}));
    };
    // A shorter backlog could be sent at once when an acknowledgment makes space in the kernel's
    // buffer.
    let is_long = |backlog: &BacklogSample| backlog.name == "ola" && backlog.bytes > 16 * 1024;
    let mut lines = 0;
    let first = loop {
        say();
        lines += 1;
        let backlogs = sample(&mut observer).backlogs;
        if let Some(backlog) = backlogs.into_iter().find(is_long) {
            break backlog;
        }
    };
    // With buffers of the kernel's default sizes, there would be thousands of lines.
    assert!(lines < 2000, "{lines} lines went into the kernel's buffers");
    assert!(first.limit > first.bytes && !first.closing, "{first:?}");
    assert_eq!(first.max_stall, 10_000_000_000);
    say();
    let second = wait_until("the backlog grows", || {
        let backlogs = sample(&mut observer).backlogs;
        let mut backlogs = backlogs.into_iter();
        backlogs.find(|backlog| backlog.bytes > first.bytes && backlog.stalled > first.stalled)
    });
    assert!(second.lock.taken > 0);
    assert!(server.threads().contains(&"w:ola".into()));
    drop(ola);
    wait_until("the backlog is gone", || {
        let sample = sample(&mut observer);
        (sample.behind == 0 && sample.members == 1).then_some(())
    });
    assert!(
        sample(&mut observer)
            .send_buffer
            .is_some_and(|bytes| bytes >= 4608)
    );
    server.stop();
}

#[test]
fn a_server_that_disconnects_its_observer_keeps_running() {
    let (server, mut observer) = Observer::start(&[]);
    let mut ala = server.join("ala");
    sample(&mut observer);
    observer.send("something else");
    assert_eq!(observer.report(), None);
    drop(observer);
    wait_until("the sampler has ended", || {
        (!server.threads().contains(&"sampler".into())).then_some(())
    });
    ala.send("/online");
    ala.expect("* 1 online: ala");
    server.stop();
}

/// Reads all events that a JSON client gets until the server closes the connection.
#[track_caller]
fn events_to_end(client: &mut Client) -> Vec<Record> {
    let lines = client.lines_to_end();
    let events = lines
        .iter()
        .filter_map(|line| match Received::decode(line) {
            Ok(Received::Record(record, _)) => Some(record),
            Ok(Received::Answer(_) | Received::Unknown) => None,
            Err(error) => panic!("{line}: {error}"),
        });
    events.collect()
}

fn sum<'a>(events: impl IntoIterator<Item = &'a Record>) -> u64 {
    let mut sum = Sum::default();
    events.into_iter().for_each(|event| sum.add(event));
    sum.0
}

/// Reads reports up to the proof, the last one.
#[track_caller]
fn proof(observer: &mut Observer) -> Proof {
    let line = observer.report().expect("a report");
    let Report::Proof(proof) = serde_json::from_str(&line).expect("a report is JSON") else {
        panic!("a sample without a request");
    };
    assert_eq!(observer.report(), None);
    proof
}

#[test]
fn the_proof_contains_the_sum_of_the_events_that_each_client_received() {
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("history");
    let args = ["--history", history.to_str().unwrap()];
    let mut numbers = Vec::new();
    for run in 0..2 {
        let (server, mut observer) = Observer::start(&args);
        let mut ala = server.join_json("ala");
        let mut jan = server.join("jan");
        ala.send(&format!("zażółć gęślą jaźń {run}"));
        // In the second run, the messages of the first run come first.
        jan.skip_to(&format!("ala: zażółć gęślą jaźń {run}"));
        let mut ola = server.join_json("ola 3ID12");
        jan.expect("* ola (3ID12) joined");
        ola.send("/nick ula");
        jan.expect("* ola is now ula");
        ola.send("hello");
        jan.expect("ula: hello");
        jan.send("/quit");
        jan.expect_end();
        server.stop();
        let proof = proof(&mut observer);
        assert_eq!(proof.threads.started, proof.threads.ended);
        assert!(proof.threads.started >= 6, "{:?}", proof.threads);
        for client in [&mut ala, &mut ola] {
            let joined = client.welcome["seq"].as_u64().unwrap();
            let mut events = events_to_end(client);
            events.retain(|event| event.seq > joined);
            let (first, last) = (events[0].seq, events[events.len() - 1].seq);
            assert_eq!(first, joined + 1);
            assert_eq!(proof.sum(first, last), Some(sum(&events)));
            numbers.push(first);
            // The sum differs if an event is missing, or has the contents of another event.
            assert_ne!(proof.sum(first, last), Some(sum(&events[1..])));
            events[1].event = events[0].event.clone();
            assert_ne!(proof.sum(first, last), Some(sum(&events)));
            // There are no sums for events from before the server's start.
            assert_eq!(proof.sum(proof.first, last), None);
        }
    }
    assert!(
        numbers.is_sorted() && numbers[0] < numbers[2],
        "{numbers:?}"
    );
}
