//! Resuming: a member whose connection broke returns as itself and receives the missed events.

use support::{Client, Server, Value, json};

const UNKNOWN: &str = "that token is unknown or has expired: log in with /json NAME";

#[test]
fn each_json_login_gets_a_different_token() {
    let server = Server::start(&[]);
    let tokens = [
        server.join_json("ala").token(),
        server.join_json("ola").token(),
    ];
    assert_ne!(tokens[0], tokens[1]);
    for token in tokens {
        let is_long = token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_long, "{token}");
    }
}

#[test]
fn a_resumed_member_gets_the_missed_events_then_its_own_join() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = server.join_json("ala 3ID12");
    ala.expect_json(json!({"type": "joined", "name": "ala"}));
    ala.send("before");
    let last = ala.expect_json(json!({"type": "message"}))["seq"]
        .as_u64()
        .unwrap();
    let (id, token) = (ala.welcome["id"].clone(), ala.token());
    ola.expect_all(&["* ala (3ID12) joined", "ala: before"]);
    ala.reset();
    ola.expect("* ala left (connection lost)");
    ola.send("meanwhile");
    ola.send("/nick ula");
    ola.expect("* ola is now ula");

    let mut ala = server.resume(&token, last);
    ola.expect("* ala (3ID12) joined");
    let welcome = json!({"id": id, "name": "ala", "group": "3ID12", "count": 2, "token": token, "seq": last + 3});
    for (field, value) in welcome.as_object().unwrap() {
        assert_eq!(ala.welcome[field], *value, "{field} in {}", ala.welcome);
    }
    assert_eq!(ala.welcome.get("missing"), None);
    ala.expect_replay(
        json!({"type": "left", "seq": last + 1, "id": id, "reason": "connection lost"}),
    );
    ala.expect_replay(json!({"type": "message", "seq": last + 2, "text": "meanwhile"}));
    ala.expect_replay(json!({"type": "renamed", "seq": last + 3, "to": "ula"}));
    let joined =
        ala.expect_json(json!({"type": "joined", "seq": last + 4, "id": id, "group": "3ID12"}));
    assert_eq!(joined.get("replay"), None);
    ala.send("again");
    ala.expect_json(json!({"type": "message", "seq": last + 5, "id": id, "from": "ala"}));
    ola.expect("ala: again");
    server.expect_log(" is ala, who came back");
}

#[test]
fn resuming_replaces_an_open_connection_without_a_leave_notice() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    // The old connection stays open, as when the server has not noticed a broken network.
    let mut old = server.join_json("ala");
    ola.expect("* ala joined");
    old.expect_json(json!({"type": "joined"}));
    let seq = old.welcome["seq"].as_u64().unwrap() + 1;
    ola.send("hi");
    old.expect_json(json!({"type": "message", "seq": seq + 1}));

    let mut ala = server.resume(&old.token(), seq);
    assert_eq!(ala.welcome["id"], old.welcome["id"]);
    assert_eq!(ala.welcome["seq"], seq + 1);
    assert_eq!(ala.welcome["count"], 2);
    ala.expect_replay(json!({"type": "message", "seq": seq + 1, "text": "hi"}));
    old.expect_error("you came back on another connection");
    old.expect_end();
    // Lines on the old connection are discarded, and its end is not announced.
    old.send("from the old connection");
    drop(old);
    ala.send("from ala");
    ala.expect_json(json!({"type": "message", "seq": seq + 2, "text": "from ala"}));
    ola.expect("ala: from ala");
    ola.send("/online");
    ola.expect("* 2 online: ola, ala");
}

#[test]
fn lines_that_the_server_had_not_read_before_a_resume_are_discarded() {
    let server = Server::start(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let mut old = server.join_json("ala");
    // A burst of ten lines is accepted; the rest waits in the server's receive buffer.
    old.send_bytes("flood\n".repeat(1000).as_bytes());
    ola.expect("* ala joined");
    for _ in 0..10 {
        ola.expect("ala: flood");
    }
    let mut ala = server.resume(&old.token(), 0);
    let last = ala.welcome["seq"].as_u64().unwrap();
    ala.send("goodbye");
    let more = ola.skip_to("ala: goodbye").len() as u64;
    assert_eq!(
        last,
        2 + 10 + more,
        "the past has all messages that were sent"
    );
}

#[test]
fn resuming_does_not_grant_another_burst() {
    let server = Server::start(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let token = server.join_json("ala").token();
    let mut ala = server.resume(&token, 999);
    ala.send("one\ntwo\nthree\nfour\nfive\nsix");
    ola.skip_to("ala: one");
    // The other lines come at one per second, and a message from ola is not delayed.
    ola.send("hi");
    while ala.json()["text"] != "hi" {}
    let next = ala.expect_json(json!({"type": "message", "from": "ala"}));
    assert_ne!(next["text"], "one", "it was delivered before");
}

#[test]
fn a_resumed_member_can_send_and_receive_replies() {
    let server = Server::start(&[]);
    let mut ola = server.join_json_live("ola");
    let mut ala = server.join_json_live("ala");
    ola.expect_json(json!({"type": "joined"}));
    for (from, to, name) in [(0, 1, "ala"), (1, 0, "ola")] {
        let two = [&mut ola, &mut ala];
        two[from].send(&format!("/msg {name} psst"));
        two[from].expect_json(json!({"type": "private", "to": name}));
        two[to].expect_json(json!({"type": "private", "text": "psst"}));
    }
    let token = ala.token();
    drop(ala);
    ola.expect_json(json!({"type": "left"}));
    let mut ala = server.resume(&token, 999);
    ala.expect_json(json!({"type": "joined"}));
    ola.expect_json(json!({"type": "joined"}));
    ola.send("/reply one");
    ala.expect_json(json!({"type": "private", "from": "ola", "text": "one"}));
    ala.send("/reply two");
    ola.expect_json(json!({"type": "private", "to": "ala"}));
    ola.expect_json(json!({"type": "private", "from": "ala", "text": "two"}));
}

#[test]
fn a_resumed_member_keeps_its_latest_name() {
    let server = Server::start(&[]);
    let mut ala = server.join_json("ala");
    let token = ala.token();
    ala.send("/nick ola");
    while ala.json()["type"] != "renamed" {}
    let resumed = server.resume(&token, 0);
    assert_eq!(resumed.welcome["name"], "ola");
    let mut other = server.join("ala");
    resumed.hang_up();
    other.expect("* ola left");
    assert_eq!(server.resume(&token, 0).welcome["name"], "ola");
}

#[test]
fn a_client_whose_name_was_taken_cannot_resume_and_can_choose_another_name() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let ala = server.join_json("ala");
    let token = ala.token();
    ala.hang_up();
    ola.expect_all(&["* ala joined", "* ala left"]);
    let mut other = server.join("Ala");
    let mut back = server.greeted();
    back.send(&format!("/resume {token} 0"));
    back.expect_error("the name ala is taken: try ala2");
    back.send("/json ala2");
    back.expect_json(json!({"type": "welcome", "name": "ala2"}));
    // After the other member has left, the token gives the old name again.
    other.send("/quit");
    ola.skip_to("* Ala left");
    assert_eq!(server.resume(&token, 0).welcome["name"], "ala");
}

/// Joins as a JSON client called `name` and resets the connection. Returns the token.
fn lose(server: &Server, watcher: &mut Client, name: &str) -> String {
    let member = server.join_json(name);
    let token = member.token();
    member.reset();
    watcher.skip_to(&format!("* {name} left (connection lost)"));
    token
}

/// The number of seconds in a refusal of `name`, which is kept for its owner.
#[track_caller]
fn seconds_kept(refusal: &str, name: &str, free: &str) -> u64 {
    let seconds = refusal
        .strip_prefix(&format!("! the name {name} is kept for its owner for "))
        .and_then(|rest| rest.strip_suffix(&format!(" s: try {free}")));
    let seconds = seconds.unwrap_or_else(|| panic!("{refusal}"));
    seconds.parse().unwrap()
}

#[test]
fn a_name_whose_connection_was_lost_is_kept_for_its_owner() {
    let server = Server::start(&["-m", "2"]);
    let mut ola = server.join("ola");
    let token = lose(&server, &mut ola, "teacher");
    let mut other = server.greeted();
    for (name, free) in [
        ("teacher", "teacher2"),
        ("TEACHER", "TEACHER2"),
        ("te\u{430}cher", "te\u{430}cher2"),
    ] {
        other.send(name);
        let seconds = seconds_kept(&other.line(), name, free);
        assert!((1..=30).contains(&seconds), "{seconds}");
    }
    ola.send("/nick Teacher\n/msg teacher hi");
    seconds_kept(&ola.line(), "Teacher", "Teacher2");
    ola.expect("! there is no member called \"teacher\"");
    assert_eq!(server.resume(&token, 0).welcome["name"], "teacher");
    ola.expect("* teacher joined");
}

#[test]
fn a_name_is_free_at_once_after_end_of_input_or_if_its_holder_is_a_plain_client() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    server.join_json("teacher").hang_up();
    ola.skip_to("* teacher left");
    server.join("teacher").reset();
    ola.skip_to("* teacher left (connection lost)");
    server.join("teacher");
}

#[test]
fn a_kept_name_is_free_after_a_kick_and_its_owner_cannot_resume() {
    let mut server = Server::start_with_console(&[]);
    let mut ola = server.join("ola");
    let token = lose(&server, &mut ola, "teacher");
    server.type_line("/kick TEACHER");
    server.expect_log("the name teacher is free");
    server.join("teacher");
    let mut client = server.greeted();
    client.send(&format!("/resume {token} 0"));
    client.expect_error(UNKNOWN);
}

#[test]
fn at_most_as_many_names_are_kept_as_there_are_seats() {
    let server = Server::start(&["-m", "3"]);
    let mut ola = server.join("ola");
    let teacher = server.join_json("teacher");
    for number in 0..10 {
        lose(&server, &mut ola, &format!("m{number}"));
    }
    teacher.reset();
    ola.skip_to("* teacher left (connection lost)");
    for number in 0..10 {
        lose(&server, &mut ola, &format!("n{number}"));
    }
    let mut other = server.greeted();
    other.send("teacher");
    seconds_kept(&other.line(), "teacher", "teacher2");
    let names = (0..10).flat_map(|number| [format!("m{number}"), format!("n{number}")]);
    let kept = names.filter(|name| {
        ola.send(&format!("/nick {name}"));
        ola.line().starts_with("! ")
    });
    assert_eq!(kept.count(), 2);
}

#[test]
fn an_unknown_token_is_refused_in_json_and_counts_as_an_invalid_name() {
    let server = Server::start(&[]);
    let mut client = server.greeted();
    client.send(&format!("/resume {} 0", "0".repeat(32)));
    client.expect_error(UNKNOWN);
    client.send("/resume");
    client.expect_error("usage: /resume TOKEN SEQ");
    client.send("/resume x -1");
    client.expect_error("usage: /resume TOKEN SEQ");
    for _ in 0..2 {
        client.send("/resume \u{202e} 0");
        client.expect_error(UNKNOWN);
    }
    client.expect_error("that was wrong 5 times: connect again");
    client.expect_end();
    server.stop();
}

#[test]
fn a_refused_resume_can_be_followed_by_a_new_login() {
    let server = Server::start(&[]);
    let mut client = server.greeted();
    client.send("/resume c0de 7\n/json ala");
    client.expect_error(UNKNOWN);
    client.expect_json(json!({"type": "welcome", "name": "ala"}));
}

#[test]
fn a_member_that_quit_or_was_kicked_cannot_resume() {
    let mut server = Server::start_with_console(&[]);
    let mut ala = server.join_json_live("ala");
    let mut ola = server.join_json_live("ola");
    let tokens = [ala.token(), ola.token()];
    ala.send("/quit");
    server.type_line("/kick ola");
    server.expect_log("ola left (kicked)");
    while ala.line_or_end().is_some() {}
    while ola.line_or_end().is_some() {}
    for token in tokens {
        let mut client = server.greeted();
        client.send(&format!("/resume {token} 0"));
        client.expect_error(UNKNOWN);
    }
}

#[test]
fn a_token_is_invalid_after_a_server_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("room.jsonl");
    let args = ["--history", file.to_str().unwrap()];
    let server = Server::start(&args);
    let token = server.join_json("ala").token();
    server.stop();
    let server = Server::start(&args);
    let mut client = server.greeted();
    client.send(&format!("/resume {token} 0"));
    client.expect_error(UNKNOWN);
    drop(client);
    server.expect_log(" asked to resume an unknown session");
    let stored = std::fs::read_to_string(&file).unwrap();
    assert!(
        !stored.contains(&token),
        "the file must not contain a token: {stored}"
    );
}

#[test]
fn resuming_with_a_valid_token_needs_no_password() {
    let server = Server::start(&["--password", "right"]);
    let mut ala = server.connect();
    ala.line();
    ala.send("/pass right\n/json ala");
    ala.welcome = ala.expect_json(json!({"type": "welcome"}));
    let mut client = server.connect();
    client.line();
    client.send("/resume c0de 0");
    client.expect_error(UNKNOWN);
    client.send("/json ola");
    client.expect_json(json!({"type": "error"}));
    client.send(&format!("/resume {} 0", ala.token()));
    client.expect_json(json!({"type": "welcome", "name": "ala"}));
}

#[test]
fn a_full_room_lets_only_present_members_resume() {
    let server = Server::start(&["-m", "2"]);
    let mut ola = server.join("ola");
    let member = server.join_json("away");
    let away = member.token();
    member.hang_up();
    ola.expect_all(&["* away joined", "* away left"]);
    let here = server.join_json("here");
    let mut client = server.greeted();
    client.send(&format!("/resume {away} 0"));
    client.expect_error("the room is full (2)");
    client.expect_end();
    let back = server.resume(&here.token(), 0);
    assert_eq!(back.welcome["count"], 2);
    back.hang_up();
    ola.skip_to("* here left");
    assert_eq!(server.resume(&away, 0).welcome["name"], "away");
}

#[test]
fn events_too_old_to_replay_are_counted_as_missing() {
    let server = Server::start(&["--rate", "0", "--replay", "0"]);
    let mut ala = server.join_json_live("ala");
    let (token, joined) = (ala.token(), ala.welcome["seq"].as_u64().unwrap() + 1);
    let lines: String = (0..1500).map(|number| format!("{number}\n")).collect();
    ala.send_bytes(lines.as_bytes());
    while ala.json()["text"] != "1499" {}
    let mut back = server.resume(&token, joined);
    assert_eq!(back.welcome["missing"], 500);
    for number in 500..1500 {
        back.expect_replay(
            json!({"type": "message", "seq": joined + 1 + number, "text": number.to_string()}),
        );
    }
    back.send("live");
    back.expect_json(json!({"type": "message", "seq": joined + 1501, "text": "live"}));
}

#[test]
fn a_token_replays_nothing_that_a_newcomer_could_not_see() {
    let server = Server::start(&["--replay", "1"]);
    let mut ola = server.join("ola");
    ola.send("one\ntwo\n/nick ula");
    ola.expect("* ola is now ula");
    let token = server.join_json("ala").token();
    let mut back = server.resume(&token, 0);
    back.expect_replay(json!({"type": "message", "text": "two"}));
    back.expect_replay(json!({"type": "joined", "name": "ala"}));
    assert_eq!(back.welcome.get("missing"), None);
}

#[test]
fn a_member_disconnected_for_being_too_slow_can_resume_without_loss() {
    let server = Server::start(&["--rate", "0", "--replay", "all"]);
    let slow = server.join_json("slow");
    let mut speaker = server.join_json_live("speaker");
    let mut sent = 0;
    // Fills the kernel's buffers and the 512 KiB that a member may be behind.
    loop {
        speaker.send(&format!("{sent:01000}"));
        sent += 1;
        if speaker.json()["type"] == "left" {
            break;
        }
    }
    let (mut seen, token) = (slow.welcome["seq"].as_u64().unwrap(), slow.token());
    let mut slow = slow;
    let mut check = |event: &Value| {
        if let Some(seq) = event["seq"].as_u64() {
            assert_eq!(seq, seen + 1, "{event}");
            seen = seq;
        }
        seen
    };
    while let Some(line) = slow.line_or_end() {
        check(&serde_json::from_str(&line).unwrap());
    }
    let mut back = server.resume(&token, check(&Value::Null));
    assert_eq!(
        back.welcome.get("missing"),
        None,
        "all missed messages are replayed"
    );
    while check(&back.json()) < back.welcome["seq"].as_u64().unwrap() + 1 {}
}
