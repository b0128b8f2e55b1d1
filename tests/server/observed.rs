//! Samples of a server's state, as a launcher gets them.

use chat_run::probe::sample::{ASK, BacklogSample, LockSample, Report, STOP, Sample};
use support::observer::Observer;
use support::{json, wait_until};

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
    // The server counts a batch just after it was sent.
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
    // Each message was posted and taken.
    let taken = lock(&after, "room").taken - lock(&before, "room").taken;
    assert!(taken >= 6, "the room's lock was taken {taken} times");
    assert!(after.at > before.at);
    server.stop();
}

#[test]
fn nothing_is_measured_after_the_launcher_has_stopped_asking() {
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
    // The server may read the line late, when a few messages were sent.
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
    // A backlog that is longer than this is not sent as soon as ola's machine has sent an
    // acknowledgment.
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
    // With the kernel's default sizes, it takes thousands.
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
fn a_server_without_its_observer_goes_on() {
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
