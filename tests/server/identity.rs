//! Races for a name: a name has one holder at a time, and all members agree on the holder.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use support::{Client, GREETING, Server, Value, json};

/// Reads up to the answer to a login or rename, and returns whether `client` got the name. `id` is
/// the client's ID if it is a member already.
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

/// Lets two sides try for the same name at the same moment in each round, and checks that exactly
/// one gets it.
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
        assert!(one != other, "round {round}: both or neither got it: {one}");
    }
}

fn try_each(
    rounds: usize,
    to: &Sender<()>,
    from: &Receiver<()>,
    mut side: impl FnMut(usize) -> bool,
) -> Vec<bool> {
    // If one side fails, the other one fails too.
    let meet = || {
        to.send(()).expect("the other side tries as well");
        from.recv().expect("the other side tries as well");
    };
    let each = (0..rounds).map(|round| {
        meet();
        side(round)
    });
    let won = each.collect();
    // The winner of the last round keeps the name until the other side has tried.
    meet();
    won
}

/// A side that logs in with a new connection in each round, with its own spelling of the name.
fn newcomer(server: &Server, name: &str) -> impl FnMut(usize) -> bool + Send {
    let mut member = None;
    move |round| {
        let mut client = server.connect();
        client.send(&format!("/json {name}{round}"));
        client.expect(GREETING);
        let has_won = has_won(&mut client, &Value::Null);
        drop(member.replace(client));
        has_won
    }
}

#[test]
fn one_of_two_simultaneous_logins_gets_the_name() {
    let server = Server::start(&[]);
    race(1000, newcomer(&server, "ala"), newcomer(&server, "AlA"));
    server.stop();
}

/// A side that is a member and renames itself in each round.
fn renaming(server: &Server, first: &str, name: &'static str) -> impl FnMut(usize) -> bool + Send {
    let mut client = server.join_json(first);
    let id = client.welcome["id"].clone();
    move |round| {
        client.send(&format!("/nick {name}{round}"));
        has_won(&mut client, &id)
    }
}

#[test]
fn one_of_two_simultaneous_renames_gets_the_name() {
    let server = Server::start(&["--rate", "0"]);
    race(
        1000,
        renaming(&server, "one", "ola"),
        renaming(&server, "other", "OLA"),
    );
    server.stop();
}

#[test]
fn one_of_a_simultaneous_rename_and_login_gets_the_name() {
    let server = Server::start(&["--rate", "0"]);
    race(
        300,
        renaming(&server, "one", "ula"),
        newcomer(&server, "Ula"),
    );
    server.stop();
}

#[test]
fn a_name_released_and_claimed_at_once_never_has_two_holders() {
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
                    client.expect(GREETING);
                    if has_won(&mut client, &Value::Null) {
                        held += 1;
                        client.send("/quit");
                        while client.line_or_end().is_some() {}
                    }
                }
            });
        }
    });
    // The refusal of this message marks the end of the events.
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
fn each_message_has_the_name_its_author_had_at_that_moment() {
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
