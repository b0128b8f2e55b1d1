//! How a stranger becomes a member, and all the ways of not becoming one.

use support::{GREETING, Server, json};

#[test]
fn a_name_is_all_it_takes() {
    let server = Server::start(&[]);
    let mut ala = server.connect();
    ala.expect(GREETING);
    ala.send("ala");
    ala.expect("* welcome, ala: 1 online; /help lists the commands");
}

#[test]
fn a_client_that_speaks_before_it_is_greeted_gets_the_same_lines() {
    let server = Server::start(&[]);
    let mut ala = server.connect();
    ala.send_bytes(b"ala\n/online\n");
    ala.expect_all(&[
        GREETING,
        "* welcome, ala: 1 online; /help lists the commands",
        "* 1 online: ala",
    ]);
}

#[test]
fn a_group_is_shown_beside_the_name_to_those_who_are_here() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    let mut ola = server.join("ola 3ID12/b.2");
    ala.expect("* ola (3ID12/b.2) joined");
    ola.send("/online");
    ola.expect("* 2 online: ala, ola (3ID12/b.2)");
}

#[test]
fn a_cr_before_the_line_ending_is_no_part_of_the_name() {
    let server = Server::start(&[]);
    let mut ala = server.greeted();
    ala.send_bytes(b"ala 3ID12\r\n/online\r\n");
    ala.expect_all(&[
        "* welcome, ala: 1 online; /help lists the commands",
        "* 1 online: ala (3ID12)",
    ]);
}

#[test]
fn a_json_client_is_welcomed_with_who_is_here_and_then_sees_its_own_joining() {
    let server = Server::start(&[]);
    let ola = server.join_json_live("ola");
    let mut ala = server.join_json("ala 3ID12");
    let (welcome, ola) = (&ala.welcome, &ola.welcome);
    let id = &welcome["id"];
    assert_ne!(*id, ola["id"]);
    assert_eq!(welcome["room"], ola["room"]);
    assert_eq!(welcome["name"], "ala");
    assert_eq!(welcome["group"], "3ID12");
    assert_eq!(welcome["color"], 1);
    assert_eq!(welcome["count"], 2);
    let online = json!([{"id": ola["id"], "name": "ola", "color": 0}, {"id": id, "name": "ala", "group": "3ID12", "color": 1}]);
    assert_eq!(welcome["online"], online);
    assert!(
        ola.get("group").is_none(),
        "a missing group is absent: {ola}"
    );
    let seq = welcome["seq"].as_u64().unwrap();
    let joined = json!({"type": "joined", "seq": seq + 1, "id": id, "name": "ala", "group": "3ID12", "color": 1});
    ala.expect_json(joined);
}

#[test]
fn from_json_on_refusals_are_json_as_well() {
    let server = Server::start(&[]);
    let _ala = server.join("ala");
    let mut ola = server.greeted();
    ola.send("*");
    ola.expect_start("! a name begins with a letter or digit");
    ola.send("/json Ala");
    ola.expect_json(json!({"type": "error", "text": "the name Ala is taken: try Ala2"}));
    ola.send("admin");
    ola.expect_json(json!({"type": "error"}));
    ola.send("ola");
    ola.expect_json(json!({"type": "welcome", "name": "ola"}));
}

#[test]
fn a_taken_name_is_refused_with_one_that_is_free() {
    let server = Server::start(&[]);
    let _others = [server.join("ala"), server.join("ala2")];
    let mut third = server.greeted();
    third.send("ala");
    third.expect("! the name ala is taken: try ala3");
    third.send("ala3");
    third.expect("* welcome, ala3: 3 online; /help lists the commands");
}

#[test]
fn names_that_fold_or_look_the_same_cannot_meet() {
    let server = Server::start(&[]);
    let _members = [
        server.join("Ala"),
        server.join("José"),
        server.join("Straße"),
    ];
    for same in [
        "ala",
        "ALA",
        "аla",
        "Аlа",
        "Ａｌａ",
        "Jose\u{301}",
        "STRASSE",
    ] {
        let mut stranger = server.greeted();
        stranger.send(same);
        let refusal = stranger.expect_start("! the name ");
        assert!(refusal.contains(" is taken: try "), "{refusal}");
    }
}

#[test]
fn names_of_people_everywhere_can_meet() {
    let server = Server::start(&[]);
    let names = [
        "modem",
        "modern",
        "José",
        "O'Brien",
        "張偉",
        "Иван",
        "محمد",
        "नेहा",
        "Łukasz-2",
        "1a_",
    ];
    let mut members: Vec<_> = names.iter().map(|name| server.join(name)).collect();
    members[9].send("/online");
    members[9].expect(&format!("* 10 online: {}", names.join(", ")));
}

#[test]
fn reserved_names_and_their_look_alikes_are_refused() {
    let server = Server::start(&[]);
    for name in [
        "server", "System", "ADMIN", "exit", "EXlT", "аdmin", "ѕystem",
    ] {
        let mut stranger = server.greeted();
        stranger.send(name);
        let refusal = stranger.expect_start("! ");
        assert!(refusal.contains("is reserved"), "{refusal}");
    }
}

#[test]
fn a_refused_name_says_why_and_what_to_try() {
    let server = Server::start(&[]);
    for (name, refusal) in [
        (
            "Jan Kowalski 3ID12",
            "! a name is one word, and a group one more: try Jan_Kowalski_3ID12",
        ),
        ("*ala", "! a name begins with a letter or digit: try ala"),
        ("-", "! a name begins with a letter or digit"),
        (
            "a:b",
            "! \":\" cannot be in a name: letters, digits, _ - ' can",
        ),
        (
            "a\u{202e}b",
            "! U+202E cannot be in a name: letters, digits, _ - ' can",
        ),
        (
            "a\u{1b}[31m",
            "! U+001B cannot be in a name: letters, digits, _ - ' can",
        ),
        (
            "abcdefghijklmnopqrstuvwxy",
            "! a name has 24 characters at most",
        ),
        (
            "ala grupa_siedemnasta",
            "! a group has 16 characters at most",
        ),
        (
            "ala a*b",
            "! \"*\" cannot be in a group: letters, digits, _ - ' / . can",
        ),
        (
            "/json",
            "{\"type\":\"error\",\"text\":\"a name is missing: type your name\"}",
        ),
        (
            "/msg ola hi",
            "! /msg is for members: type your name first, or /help",
        ),
    ] {
        let mut stranger = server.greeted();
        stranger.send(name);
        stranger.expect(refusal);
    }
}

#[test]
fn a_name_and_a_group_of_the_greatest_length_are_taken() {
    let server = Server::start(&[]);
    let mut ala = server.join("abcdefghijklmnopqrstuvwx 3ID12/4567890123");
    ala.send("/who");
    ala.expect("* 1 online: abcdefghijklmnopqrstuvwx (3ID12/4567890123)");
}

#[test]
fn five_wrong_names_end_the_connection_with_a_reason() {
    let server = Server::start(&[]);
    let mut stranger = server.greeted();
    for _ in 0..5 {
        stranger.send("*");
        stranger.expect("! a name begins with a letter or digit");
    }
    stranger.expect("! that was wrong 5 times: connect again");
    stranger.expect_end();
}

#[test]
fn lines_that_cannot_be_used_count_as_wrong_names() {
    let server = Server::start(&[]);
    let mut stranger = server.greeted();
    stranger.send_bytes(b"\xff\n");
    stranger.expect("! that line is not UTF-8: set your terminal to UTF-8");
    stranger.send(&"x".repeat(1025));
    stranger.expect("! that line is too long: it may have 1024 bytes, send it in parts");
    stranger.send_bytes(b"\xff\n\xff\n\xff\n");
    for _ in 0..3 {
        stranger.expect_start("! that line is not UTF-8");
    }
    stranger.expect("! that was wrong 5 times: connect again");
    stranger.expect_end();
}

#[test]
fn commands_of_members_do_not_count_as_wrong_names() {
    let server = Server::start(&[]);
    let mut ala = server.greeted();
    for _ in 0..10 {
        ala.send("/online");
        ala.expect("! /online is for members: type your name first, or /help");
    }
    ala.send("exit");
    ala.expect("! \"exit\" is reserved: try another name, or type /quit to leave");
    ala.send("ala");
    ala.expect_start("* welcome, ala");
    server.stop();
}

#[test]
fn empty_lines_before_the_name_do_nothing() {
    let server = Server::start(&[]);
    let mut ala = server.greeted();
    ala.send_bytes("\n\r\n  \t\n\u{200b}\n\n\n\n  ala  \n".as_bytes());
    ala.expect_start("* welcome, ala: ");
}

#[test]
fn a_stranger_can_ask_for_help_and_leave() {
    let server = Server::start(&[]);
    let mut stranger = server.greeted();
    for (help, line) in [
        ("/help", "* NAME or NAME GROUP: "),
        ("/Pomoc", "* NAZWA albo NAZWA GRUPA: "),
    ] {
        stranger.send(help);
        stranger.expect_start(line);
        for _ in 1..4 {
            stranger.expect_start("* /");
        }
    }
    stranger.send("/quit");
    stranger.expect_end();
}

#[test]
fn a_room_with_a_password_lets_in_who_knows_it() {
    let server = Server::start(&["--password", "tajne hasło"]);
    let mut ala = server.connect();
    let greeting = ala.line();
    assert!(
        greeting.ends_with(": type /pass PASSWORD, then your name"),
        "{greeting}"
    );
    ala.send("ala");
    ala.expect("! this room has a password: type /pass PASSWORD first");
    ala.send("/pass tajne");
    ala.expect("! wrong password: type /pass PASSWORD");
    ala.send("/pass tajne hasło");
    ala.send("ala");
    ala.expect_start("* welcome, ala: ");
}

#[test]
fn a_wrong_password_is_told_as_such_also_when_a_name_follows_it() {
    let server = Server::start(&["--password", "right"]);
    let mut ala = server.connect();
    ala.line();
    ala.send("/pass wrong");
    ala.expect("! wrong password: type /pass PASSWORD");
    ala.send("/json ala");
    ala.expect_json(json!({"type": "error", "text": "wrong password: type /pass PASSWORD"}));
    drop(ala);
    server.expect_log("is gone, without a name: wrong password");
}

#[test]
fn five_wrong_passwords_end_the_connection_with_a_reason() {
    let server = Server::start(&["--password", "right"]);
    let mut stranger = server.connect();
    stranger.line();
    for _ in 0..5 {
        stranger.send("/pass wrong");
        stranger.expect("! wrong password: type /pass PASSWORD");
    }
    stranger.expect("! that was wrong 5 times: connect again");
    stranger.expect_end();
}

#[test]
fn the_password_may_come_by_environment() {
    let mut command = support::chat_server(&["-p", "0"]);
    command.env("CHAT_PASSWORD", "right");
    let server = Server::start_as(command);
    let mut ala = server.connect();
    ala.line();
    ala.send_bytes(b"ala\n/pass right\n/json ala\n");
    ala.expect_start("! this room has a password");
    ala.expect_json(json!({"type": "welcome"}));
}

#[test]
fn where_no_password_is_needed_one_is_no_mistake() {
    let server = Server::start(&[]);
    let mut ala = server.greeted();
    for _ in 0..6 {
        ala.send("/pass right");
        ala.expect("* no password is needed: type your name");
    }
    ala.send("ala");
    ala.expect_start("* welcome, ala: ");
}

#[test]
fn a_name_is_free_before_the_socket_of_who_left_is_closed() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut first = server.join("ala");
    first.send("/quit");
    ola.expect("* ala joined");
    ola.expect("* ala left");
    // The first one's socket is open until this test ends.
    let mut second = server.join("ala");
    first.expect_end();
    second.send("/online");
    second.expect("* 2 online: ola, ala");
}

#[test]
fn an_http_request_gets_an_http_answer() {
    let server = Server::start(&[]);
    let mut browser = server.connect();
    browser.send_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = browser.lines_to_end();
    let (head, body) = answer.split_at(answer.iter().position(|line| line == "\r").unwrap());
    assert_eq!(head[0], "HTTP/1.1 400 Bad Request\r");
    assert_eq!(
        body[1..],
        ["This is a chat, not a web page. Join it with chat-client, or with nc and your name."]
    );
    let length = format!("Content-Length: {}\r", body[1].len() + 1);
    assert!(head.contains(&length), "{head:?}");
}

#[test]
fn strangers_are_never_announced() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    let mut refused = server.greeted();
    refused.send("ALA");
    refused.expect_start("! ");
    drop(refused);
    server.expect_log("is gone, without a name: the name ALA is taken");
    let mut left = server.greeted();
    left.send("/quit");
    left.expect_end();
    server.expect_log("is gone, without a name");
    ala.send("/online");
    ala.expect("* 1 online: ala");
}

#[test]
fn an_end_of_input_before_a_name_is_leaving() {
    let server = Server::start(&[]);
    let mut stranger = server.greeted();
    stranger.finish_sending();
    stranger.expect_end();
}

#[test]
fn a_name_without_its_line_ending_counts_at_the_end_of_input() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = server.greeted();
    ala.send_bytes(b"ala 3ID12");
    ala.finish_sending();
    ala.expect_start("* welcome, ala: 2 online");
    ala.expect_end();
    ola.expect_all(&["* ala (3ID12) joined", "* ala left"]);
}
