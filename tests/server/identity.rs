//! Nobody speaks as another: whoever comes at the same moment, a name has one holder, and everybody sees the same one.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use support::{Client, Server, Value, json};

/// Reads on to the answer to a request for a name. Returns whether `client`, which has this ID if it is a member, now has
/// the name.
#[track_caller]
fn has_won(client: &mut Client, id: &Value) -> bool {
    loop {
        let event = client.json();
        match event["type"].as_str() {
            Some("welcome") => return true,
            Some("renamed") if event["id"] == *id => return true,
            Some("error") => {
                let text = event["text"].as_str().expect("a text");
                assert!(text.contains(" is taken: try "), "{text}");
                return false;
            }
            _ => {}
        }
    }
}

/// Has two sides try for the same names at the same moments, and asserts that each time one of them gets it.
fn race(
    rounds: usize,
    one: impl FnMut(usize) -> bool + Send,
    other: impl FnMut(usize) -> bool + Send,
) {
    let (to_one, from_other) = mpsc::channel();
    let (to_other, from_one) = mpsc::channel();
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(move || try_each(rounds, &to_other, &from_other, one));
        let other = scope.spawn(move || try_each(rounds, &to_one, &from_one, other));
        (one.join(), other.join())
    });
    let (one, other) = (one.expect("it tries"), other.expect("it tries"));
    for (round, (one, other)) in one.into_iter().zip(other).enumerate() {
        assert!(one != other, "round {round}: both or none have it: {one}");
    }
}

fn try_each(
    rounds: usize,
    to: &Sender<()>,
    from: &Receiver<()>,
    mut side: impl FnMut(usize) -> bool,
) -> Vec<bool> {
    // Where one side has failed, so does the other.
    let meet = || {
        to.send(()).expect("the other side tries as well");
        from.recv().expect("the other side tries as well");
    };
    let each = (0..rounds).map(|round| {
        meet();
        side(round)
    });
    let won = each.collect();
    // What one has won in the end is not free before the other has tried.
    meet();
    won
}

/// One side that logs in under a name of its own spelling, and stays for the round.
fn newcomer(server: &Server, name: &str) -> impl FnMut(usize) -> bool + Send {
    let mut here = None;
    move |round| {
        let mut client = server.connect();
        client.send(&format!("/json {name}{round}"));
        // The greeting.
        client.line();
        let has_won = has_won(&mut client, &Value::Null);
        drop(here.replace(client));
        has_won
    }
}

#[test]
fn of_two_who_come_at_once_for_one_name_one_gets_it_a_thousand_times() {
    let server = Server::start(&[]);
    race(1000, newcomer(&server, "ala"), newcomer(&server, "AlA"));
    server.stop();
}

/// One side that is here and takes one name after the other.
fn renaming(server: &Server, first: &str, name: &'static str) -> impl FnMut(usize) -> bool + Send {
    let mut client = server.join_json(first);
    let id = client.welcome["id"].clone();
    move |round| {
        client.send(&format!("/nick {name}{round}"));
        has_won(&mut client, &id)
    }
}

#[test]
fn of_two_who_rename_at_once_to_one_name_one_gets_it_a_thousand_times() {
    let server = Server::start(&["--rate", "0"]);
    race(
        1000,
        renaming(&server, "one", "ola"),
        renaming(&server, "other", "OLA"),
    );
    server.stop();
}

#[test]
fn of_a_rename_and_a_newcomer_at_once_one_gets_the_name() {
    let server = Server::start(&["--rate", "0"]);
    race(
        300,
        renaming(&server, "one", "ula"),
        newcomer(&server, "Ula"),
    );
    server.stop();
}

#[test]
fn a_name_that_is_left_and_taken_at_once_never_has_two_holders() {
    const TIMES: usize = 150;
    let server = Server::start(&[]);
    let mut watcher = server.join_json_live("watcher");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut held = 0;
                while held < TIMES {
                    let mut client = server.connect();
                    client.send("/json ala");
                    // The greeting, and then a place where there is one just now.
                    client.line();
                    if has_won(&mut client, &Value::Null) {
                        held += 1;
                        client.send("/quit");
                        while client.line_or_end().is_some() {}
                    }
                }
            });
        }
    });
    watcher.send("/msg watcher over");
    let mut holder = None;
    let mut held = 0;
    loop {
        let event = watcher.json();
        let id = Some(event["id"].clone());
        match event["type"].as_str() {
            Some("joined") => {
                assert_eq!(holder, None, "{event}");
                holder = id;
                held += 1;
            }
            Some("left") => {
                assert_eq!(holder, id, "{event}");
                holder = None;
            }
            _ => break,
        }
    }
    assert_eq!(held, 2 * TIMES);
    server.stop();
}

#[test]
fn what_a_member_says_is_always_under_the_name_that_it_has_then() {
    const ROUNDS: usize = 300;
    let server = Server::start(&["--rate", "0"]);
    let mut watcher = server.join_json_live("watcher");
    let mut ala = server.join_json("ala");
    let id = ala.welcome["id"].clone();
    watcher.expect_json(json!({"type": "joined"}));
    for round in 0..ROUNDS {
        ala.send(&format!("a\n/nick n{round}\nb"));
    }
    let mut name = Value::from("ala");
    for _ in 0..3 * ROUNDS {
        let event = watcher.expect_json(json!({"id": id, "from": name}));
        if event["type"] == "renamed" {
            name = event["to"].clone();
        }
    }
    assert_eq!(name, format!("n{}", ROUNDS - 1));
}
