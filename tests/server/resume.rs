//! How a member whose connection broke comes back as itself, and gets what happened meanwhile.

use support::{Server, Value, json};

const UNKNOWN: &str = "nobody can come back by that token: log in with /json NAME";

#[test]
fn each_login_of_a_json_client_gets_a_token_of_its_own() {
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
fn who_comes_back_gets_all_that_happened_meanwhile_and_then_its_own_joining() {
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
fn who_takes_over_a_connection_that_is_held_still_was_never_gone() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    // For the server it is there, whatever became of its other end.
    let mut held = server.join_json("ala");
    ola.expect("* ala joined");
    held.expect_json(json!({"type": "joined"}));
    let seq = held.welcome["seq"].as_u64().unwrap() + 1;
    ola.send("hi");
    held.expect_json(json!({"type": "message", "seq": seq + 1}));

    let mut ala = server.resume(&held.token(), seq);
    assert_eq!(ala.welcome["id"], held.welcome["id"]);
    assert_eq!(ala.welcome["seq"], seq + 1);
    assert_eq!(ala.welcome["count"], 2);
    ala.expect_replay(json!({"type": "message", "seq": seq + 1, "text": "hi"}));
    held.expect_error("you came back on another connection");
    held.expect_end();
    // What is sent on the old connection is not said, and its end is nobody's leaving.
    held.send("from a ghost");
    drop(held);
    ala.send("from ala");
    ala.expect_json(json!({"type": "message", "seq": seq + 2, "text": "from ala"}));
    ola.expect("ala: from ala");
    ola.send("/online");
    ola.expect("* 2 online: ola, ala");
}

#[test]
fn lines_that_were_not_taken_before_the_coming_back_are_never_taken() {
    let server = Server::start(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let mut held = server.join_json("ala");
    // A burst of ten passes; the rest waits on the server's side of the connection.
    held.send_bytes("flood\n".repeat(1000).as_bytes());
    ola.expect("* ala joined");
    for _ in 0..10 {
        ola.expect("ala: flood");
    }
    let mut ala = server.resume(&held.token(), 0);
    let past = ala.welcome["seq"].as_u64().unwrap();
    ala.send("goodbye");
    let more = ola.skip_to("ala: goodbye").len() as u64;
    assert_eq!(
        past,
        2 + 10 + more,
        "what is in the past is all that was said"
    );
}

#[test]
fn coming_back_does_not_bring_another_burst() {
    let server = Server::start(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let token = server.join_json("ala").token();
    let mut ala = server.resume(&token, 999);
    ala.send("one\ntwo\nthree");
    ola.skip_to("ala: one");
    // The others come one a second, and this is not held up.
    ola.send("hi");
    while ala.json()["text"] != "hi" {}
    let next = ala.expect_json(json!({"type": "message", "from": "ala"}));
    assert_ne!(next["text"], "one", "it came before");
}

#[test]
fn a_reply_finds_who_came_back_and_who_came_back_can_reply() {
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
fn who_comes_back_has_the_name_that_it_had_last() {
    let server = Server::start(&[]);
    let mut ala = server.join_json("ala");
    let token = ala.token();
    ala.send("/nick ola");
    while ala.json()["type"] != "renamed" {}
    let taken_over = server.resume(&token, 0);
    assert_eq!(taken_over.welcome["name"], "ola");
    let mut other = server.join("ala");
    taken_over.hang_up();
    other.expect("* ola left");
    assert_eq!(server.resume(&token, 0).welcome["name"], "ola");
}

#[test]
fn a_name_that_another_has_taken_meanwhile_is_refused_and_another_one_can_be_given() {
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
    // The name is its own again when the other one has gone.
    other.send("/quit");
    ola.skip_to("* Ala left");
    assert_eq!(server.resume(&token, 0).welcome["name"], "ala");
}

#[test]
fn a_token_that_takes_nobody_back_is_refused_in_json_and_counts_as_a_wrong_name() {
    let server = Server::start(&[]);
    let mut stranger = server.greeted();
    stranger.send(&format!("/resume {} 0", "0".repeat(32)));
    stranger.expect_error(UNKNOWN);
    stranger.send("/resume");
    stranger.expect_error("type /resume TOKEN SEQ");
    stranger.send("/resume x -1");
    stranger.expect_error("type /resume TOKEN SEQ");
    for _ in 0..2 {
        stranger.send("/resume \u{202e} 0");
        stranger.expect_error(UNKNOWN);
    }
    stranger.expect_error("that was wrong 5 times: connect again");
    stranger.expect_end();
    server.stop();
}

#[test]
fn who_is_refused_may_log_in_anew() {
    let server = Server::start(&[]);
    let mut client = server.greeted();
    client.send("/resume c0de 7\n/json ala");
    client.expect_error(UNKNOWN);
    client.expect_json(json!({"type": "welcome", "name": "ala"}));
}

#[test]
fn who_quits_or_was_kicked_cannot_come_back() {
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
        let mut stranger = server.greeted();
        stranger.send(&format!("/resume {token} 0"));
        stranger.expect_error(UNKNOWN);
    }
}

#[test]
fn a_token_is_worth_nothing_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("room.jsonl");
    let args = ["--history", file.to_str().unwrap()];
    let server = Server::start(&args);
    let token = server.join_json("ala").token();
    server.stop();
    let server = Server::start(&args);
    let mut stranger = server.greeted();
    stranger.send(&format!("/resume {token} 0"));
    stranger.expect_error(UNKNOWN);
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        !kept.contains(&token),
        "a token is nobody's business: {kept}"
    );
}

#[test]
fn a_token_stands_for_the_password_that_was_given_for_it() {
    let server = Server::start(&["--password", "right"]);
    let mut ala = server.connect();
    ala.line();
    ala.send("/pass right\n/json ala");
    ala.welcome = ala.expect_json(json!({"type": "welcome"}));
    let mut stranger = server.connect();
    stranger.line();
    stranger.send("/resume c0de 0");
    stranger.expect_error(UNKNOWN);
    stranger.send("/json ola");
    stranger.expect_json(json!({"type": "error"}));
    stranger.send(&format!("/resume {} 0", ala.token()));
    stranger.expect_json(json!({"type": "welcome", "name": "ala"}));
}

#[test]
fn a_full_room_takes_back_who_is_in_it_and_nobody_else() {
    let server = Server::start(&["-m", "2"]);
    let mut ola = server.join("ola");
    let member = server.join_json("away");
    let away = member.token();
    member.hang_up();
    ola.expect_all(&["* away joined", "* away left"]);
    let here = server.join_json("here");
    let mut stranger = server.greeted();
    stranger.send(&format!("/resume {away} 0"));
    stranger.expect_error("the room is full (2)");
    stranger.expect_end();
    let back = server.resume(&here.token(), 0);
    assert_eq!(back.welcome["count"], 2);
    back.hang_up();
    ola.skip_to("* here left");
    assert_eq!(server.resume(&away, 0).welcome["name"], "away");
}

#[test]
fn what_is_not_known_any_more_is_counted() {
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
fn a_token_shows_nothing_of_the_time_before_that_a_newcomer_would_not_see() {
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
fn a_member_that_was_cut_for_being_too_slow_comes_back_to_where_it_was() {
    let server = Server::start(&["--rate", "0", "--replay", "all"]);
    let slow = server.join_json("slow");
    let mut speaker = server.join_json_live("speaker");
    let mut said = 0;
    // All that the kernel takes, and half a MiB behind that.
    loop {
        speaker.send(&format!("{said:01000}"));
        said += 1;
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
    assert_eq!(back.welcome.get("missing"), None, "all messages are known");
    while check(&back.json()) < back.welcome["seq"].as_u64().unwrap() + 1 {}
}
