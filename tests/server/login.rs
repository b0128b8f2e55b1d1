//! Logging in: accepted and refused names, passwords, and connections that never log in.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use support::{Client, GREETING, Server, json, run};

const HINT: &str = "* a line ends with Enter: press it, or in a program, send a newline (LF, \"\\n\") after each line";

#[test]
fn a_client_joins_by_sending_a_name() {
    let server = Server::start(&[]);
    let mut ala = server.connect();
    ala.expect(GREETING);
    ala.send("ala");
    ala.expect("* welcome, ala: 1 online; /help lists the commands");
}

#[test]
fn a_client_that_sends_its_name_before_the_greeting_gets_the_usual_lines() {
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
fn other_members_see_the_group_beside_the_name() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    let mut ola = server.join("ola 3ID12/b.2");
    ala.expect("* ola (3ID12/b.2) joined");
    ola.send("/online");
    ola.expect("* 2 online: ala, ola (3ID12/b.2)");
}

#[test]
fn a_cr_before_the_lf_is_not_part_of_the_name() {
    let server = Server::start(&[]);
    let mut ala = server.greeted();
    ala.send_bytes(b"ala 3ID12\r\n/online\r\n");
    ala.expect_all(&[
        "* welcome, ala: 1 online; /help lists the commands",
        "* 1 online: ala (3ID12)",
    ]);
}

#[test]
fn a_json_client_gets_the_member_list_and_then_its_own_join_event() {
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
fn after_a_login_attempt_in_json_all_refusals_are_json() {
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
fn a_taken_name_is_refused_with_a_free_suggestion() {
    let server = Server::start(&[]);
    let _others = [server.join("ala"), server.join("ala2")];
    let mut third = server.greeted();
    third.send("ala");
    third.expect("! the name ala is taken: try ala3");
    third.send("ala3");
    third.expect("* welcome, ala3: 3 online; /help lists the commands");
}

#[test]
fn no_name_is_suggested_if_the_names_with_an_appended_number_are_taken_too() {
    let server = Server::start(&[]);
    let mut members = ["ala", "ala2", "ala3", "ala5"].map(|name| server.join(name));
    let mut next = server.greeted();
    next.send("ala");
    next.expect("! the name ala is taken: try another");
    // The server tries the numbers 2, 3 and 5 (the number of members plus one).
    members[3].send("/nick ola");
    members[3].expect("* ala5 is now ola");
    next.send("ala");
    next.expect("! the name ala is taken: try ala5");
    // A refused rename is answered in order with the lines before and after it.
    members[3].send("/online\n/nick ala\n/help\n/nick ala5");
    members[3].expect_start("* 4 online");
    members[3].expect("! the name ala is taken: try ala5");
    members[3].skip_to("* ola is now ala5");
}

#[test]
fn names_that_differ_only_in_case_or_look_alike_cannot_be_present_at_once() {
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
        let mut client = server.greeted();
        client.send(same);
        let refusal = client.expect_start("! the name ");
        assert!(refusal.contains(" is taken: try "), "{refusal}");
    }
}

#[test]
fn names_in_many_scripts_can_be_present_at_once() {
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
fn reserved_names_and_lookalikes_are_refused() {
    let server = Server::start(&[]);
    for name in [
        "server", "System", "ADMIN", "exit", "EXlT", "аdmin", "ѕystem",
    ] {
        let mut client = server.greeted();
        client.send(name);
        let refusal = client.expect_start("! ");
        assert!(refusal.contains("is reserved"), "{refusal}");
    }
}

#[test]
fn a_refusal_says_what_is_wrong_with_a_name_and_what_to_try() {
    let server = Server::start(&[]);
    for (name, refusal) in [
        (
            "Jan Kowalski 3ID12",
            "! a name is one word, and so is a group: try Jan_Kowalski_3ID12",
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
            "! a name can have at most 24 characters",
        ),
        (
            "ala grupa_siedemnasta",
            "! a group can have at most 16 characters",
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
        let mut client = server.greeted();
        client.send(name);
        client.expect(refusal);
    }
}

#[test]
fn a_name_and_group_of_maximum_length_are_accepted() {
    let server = Server::start(&[]);
    let mut ala = server.join("abcdefghijklmnopqrstuvwx 3ID12/4567890123");
    ala.send("/who");
    ala.expect("* 1 online: abcdefghijklmnopqrstuvwx (3ID12/4567890123)");
}

#[test]
fn five_invalid_names_close_the_connection_with_a_reason() {
    let server = Server::start(&[]);
    let mut client = server.greeted();
    for _ in 0..5 {
        client.send("*");
        client.expect("! a name begins with a letter or digit");
    }
    client.expect("! that was wrong 5 times: connect again");
    client.expect_end();
}

#[test]
fn unusable_lines_count_as_invalid_names() {
    let server = Server::start(&[]);
    let mut client = server.greeted();
    client.send_bytes(b"\xff\n");
    client.expect("! that line is not UTF-8: set your terminal to UTF-8");
    client.send(&"x".repeat(1025));
    client.expect("! that line is too long: the limit is 1024 bytes, so send it in parts");
    client.send_bytes(b"\xff\n\xff\n\xff\n");
    for _ in 0..3 {
        client.expect_start("! that line is not UTF-8");
    }
    client.expect("! that was wrong 5 times: connect again");
    client.expect_end();
}

#[test]
fn member_commands_before_login_do_not_count_as_invalid_names() {
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
fn blank_lines_before_the_name_are_ignored() {
    let server = Server::start(&[]);
    let mut ala = server.greeted();
    ala.send_bytes("\n\r\n  \t\n\u{200b}\n\n\n\n  ala  \n".as_bytes());
    ala.expect_start("* welcome, ala: ");
}

#[test]
fn a_client_can_ask_for_help_and_quit_before_login() {
    let server = Server::start(&[]);
    let mut client = server.greeted();
    for (help, line) in [
        ("/help", "* NAME or NAME GROUP: "),
        ("/Pomoc", "* NAZWA albo NAZWA GRUPA: "),
    ] {
        client.send(help);
        client.expect_start(line);
        for _ in 1..4 {
            client.expect_start("* /");
        }
    }
    client.send("/quit");
    client.expect_end();
}

#[test]
fn a_room_with_a_password_admits_clients_that_send_it() {
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
fn after_a_wrong_password_a_name_is_refused_with_the_wrong_password_error() {
    let server = Server::start(&["--password", "right"]);
    let mut ala = server.connect();
    ala.line();
    ala.send("/pass wrong");
    ala.expect("! wrong password: type /pass PASSWORD");
    ala.send("/json ala");
    ala.expect_json(json!({"type": "error", "text": "wrong password: type /pass PASSWORD"}));
    drop(ala);
    server.expect_log("left before joining (wrong password)");
}

#[test]
fn a_client_that_leaves_when_asked_for_a_password_is_not_logged_as_failed() {
    let server = Server::start(&["--password", "right"]);
    let mut asked = server.connect();
    asked.line();
    asked.send("/json ala");
    asked.expect_json(json!({"type": "error"}));
    drop(asked);
    server.expect_log(" was asked for the password");
    let exit = server.stop();
    assert!(!exit.stdout.contains("left before joining"), "{exit:?}");
}

#[test]
fn five_wrong_passwords_close_the_connection_with_a_reason() {
    let server = Server::start(&["--password", "right"]);
    let mut client = server.connect();
    client.line();
    for _ in 0..5 {
        client.send("/pass wrong");
        client.expect("! wrong password: type /pass PASSWORD");
    }
    client.expect("! that was wrong 5 times: connect again");
    client.expect_end();
}

#[test]
fn the_password_can_be_set_by_an_environment_variable() {
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
fn a_line_ending_after_the_password_is_not_part_of_it() {
    for ending in ["\n", "\r\n", "\r"] {
        let mut command = support::chat_server(&["-p", "0"]);
        command.env("CHAT_PASSWORD", format!("right{ending}"));
        let servers = [
            Server::start_as(command),
            Server::start(&["--password", &format!("right{ending}")]),
        ];
        for server in servers {
            let mut ala = server.connect();
            ala.line();
            ala.send_bytes(b"/pass right\nala\n");
            ala.expect_start("* welcome, ala");
        }
    }
}

#[test]
fn a_password_may_be_sent_in_any_unicode_form() {
    let server = Server::start(&["--password", "za\u{17c}o\u{301}\u{142}\u{107}"]);
    let mut ala = server.connect();
    ala.line();
    ala.send_bytes("/pass zaz\u{307}\u{f3}\u{142}c\u{301}\nala\n".as_bytes());
    ala.expect_start("* welcome, ala");
}

#[test]
fn the_pass_command_without_a_password_is_answered_with_its_usage() {
    let server = Server::start(&["--password", "right"]);
    let mut ala = server.connect();
    ala.line();
    for _ in 0..2 {
        ala.send("/pass");
        ala.expect("! usage: /pass PASSWORD");
    }
    ala.send_bytes(b"/pass right\nala\n");
    ala.expect_start("* welcome, ala");
}

#[test]
fn a_password_of_512_bytes_admits_clients_that_send_it() {
    let password = "ż".repeat(256);
    let server = Server::start(&["--password", &password]);
    let mut ala = server.connect();
    ala.line();
    ala.send(&format!("/pass {password}"));
    ala.send("ala");
    ala.expect_start("* welcome, ala");
}

#[test]
fn a_password_that_no_client_could_send_is_a_usage_error_that_does_not_show_it() {
    let too_long = "x".repeat(1019);
    for (password, reason) in [
        (&b"one\ntwo"[..], "cannot contain line breaks"),
        (b"two\n\n", "cannot contain line breaks"),
        (b"a\x1b[31mb", "cannot contain line breaks"),
        (
            b"\xef\xbb\xbfright\r\n",
            "cannot contain invisible characters",
        ),
        (b"\r\n", "needs at least one character"),
        (b"  ", "needs at least one character"),
        (b"caf\xe9", "must be UTF-8 text"),
        (too_long.as_bytes(), "can have at most 512 bytes"),
    ] {
        let password = OsStr::from_bytes(password);
        let mut variable = support::chat_server(&["-p", "0"]);
        variable.env("CHAT_PASSWORD", password);
        let mut option = support::chat_server(&["-p", "0", "--password"]);
        option.arg(password);
        for (command, place) in [(variable, "CHAT_PASSWORD"), (option, "--password")] {
            run(command).expect_code(2).expect_stderr(&format!(
                "error: invalid value in {place}: a password {reason}"
            ));
        }
    }
}

#[test]
fn sending_a_password_to_a_room_without_one_is_not_an_error() {
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
fn a_name_is_free_once_its_holder_has_left_even_if_the_socket_is_still_open() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut first = server.join("ala");
    first.send("/quit");
    ola.expect("* ala joined");
    ola.expect("* ala left");
    // The first client's socket stays open until the test ends.
    let mut second = server.join("ala");
    first.expect_end();
    second.send("/online");
    second.expect("* 2 online: ola, ala");
}

/// Reads an HTTP answer, which the greeting may precede if the request came slowly.
#[track_caller]
fn expect_http_answer(client: &mut Client) {
    let mut answer = client.lines_to_end();
    if answer[0] == GREETING {
        answer.remove(0);
    }
    let end_of_head = answer.iter().position(|line| line == "\r").unwrap();
    let (head, body) = answer.split_at(end_of_head);
    assert_eq!(head[0], "HTTP/1.1 400 Bad Request\r");
    assert_eq!(
        body[1..],
        ["This is a chat, not a web page. Join it with chat-client, or with nc and your name."]
    );
    let length = format!("Content-Length: {}\r", body[1].len() + 1);
    assert!(head.contains(&length), "{head:?}");
}

#[test]
fn an_http_request_gets_an_http_answer() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(3000));
    let requests: [&[u8]; 15] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\nHost: localhost\n\n",
        b"\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        b"GET /\r\n",
        b"get / http/1.1\r\n\r\n",
        b"Post /login HTTP/1.1\r\nContent-Length: 4\r\n\r\nola\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
        b"connect example.com:443\r\n",
        "\u{feff}GET / HTTP/1.1\r\n\r\n".as_bytes(),
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"ANYTHING /path HTTP/1.1\r\n\r\n",
        b"GET http://example.com/ HTTP/1.1\r\n\r\n",
        b"GET /caf\xe9 HTTP/1.1\r\n\r\n",
        long.as_bytes(),
    ];
    for request in requests {
        let mut client = server.connect();
        client.send_bytes(request);
        expect_http_answer(&mut client);
    }
    server.expect_log("it sent an HTTP request");
    ala.send("/online");
    ala.expect("* 1 online: ala");
}

#[test]
fn an_http_request_in_parts_is_answered_even_by_a_room_with_a_password() {
    let server = Server::start(&["--password", "right"]);
    for parts in [
        [&b"G"[..], b"ET / HTTP/1.1\r\n\r\n"],
        [b"GET ", b"/ HTTP/1.1\r\n\r\n"],
        [b"OPTIONS * HT", b"TP/1.1\r\n\r\n"],
        [b"PRI * HTTP/2.0\r\n\r\nS", b"M\r\n\r\n"],
        // Telnet: no operation.
        [b"\xff\xf1GET / HT", b"TP/1.1\r\n\r\n"],
        // The rest of this request is never sent.
        [b"GET", b" /"],
    ] {
        let mut client = server.connect();
        client.send_bytes(parts[0]);
        // The server waits for the rest of the request, although it greets others meanwhile.
        let mut other = server.connect();
        other.expect_start("* chat-server ");
        client.send_bytes(parts[1]);
        client.expect("HTTP/1.1 400 Bad Request\r");
    }
}

#[test]
fn an_http_method_can_be_a_name_and_a_request_can_be_a_message() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    let names = ["GET", "get2 3ID12", "Post 3ID12/b.2", "HEAD index.html"];
    let _members = names.map(|name| server.join(name));
    for _ in names {
        ala.line();
    }
    ala.send("/online");
    ala.expect("* 5 online: ala, GET, get2 (3ID12), Post (3ID12/b.2), HEAD (index.html)");
    let mut ola = server.join("ola");
    ala.expect("* ola joined");
    ala.send("GET / HTTP/1.1");
    ola.expect("ala: GET / HTTP/1.1");
}

#[test]
fn a_tls_client_is_closed_with_a_reason_in_the_log() {
    let server = Server::start(&[]);
    for parts in [
        [
            &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\nola\n\xff\xfb\x01"[..],
            b"ola\n",
        ],
        [b"\x16", b"\x03\x03\0\n\xff\xfd\x06ola\n"],
    ] {
        let mut client = server.connect();
        client.send_bytes(parts[0]);
        client.send_bytes(parts[1]);
        client.expect_end();
        server.expect_log("it uses TLS, which this server does not speak");
    }
}

#[test]
fn a_client_that_forgets_the_line_ending_gets_the_greeting_and_a_hint() {
    let server = Server::start(&[]);
    let parts = ["ala", "ola\rhello\r", "jan 3ID12", "/json ewa", "G"];
    let mut clients = parts.map(|part| {
        let mut client = server.connect().named(part);
        client.send_bytes(part.as_bytes());
        client
    });
    for client in &mut clients {
        client.expect_all(&[GREETING, HINT]);
    }
    clients[0].send("");
    clients[0].expect_start("* welcome, ala:");
}

#[test]
fn only_an_unfinished_plain_line_gets_the_line_ending_hint_and_only_once() {
    let server = Server::start(&[]);
    let mut plain = server.greeted();
    plain.send_bytes(b"al");
    plain.expect(HINT);
    plain.send_bytes(b"a");
    let mut silent = server.connect();
    // Telnet: "will send the window size". This is no part of a line.
    silent.send_bytes(&[255, 251, 31]);
    silent.expect_bytes(&[255, 254, 31]);
    silent.expect(GREETING);
    let mut json = server.greeted();
    json.send("/json *");
    json.expect_json(json!({"type": "error"}));
    json.send_bytes(b"ola");
    // When this client gets its hint, the time for the hints above is over.
    let mut last = server.greeted();
    last.send_bytes(b"jan");
    last.expect(HINT);
    plain.send("");
    plain.expect_start("* welcome, ala:");
    silent.send("/online");
    silent.expect_start("! /online is for members");
    json.send("");
    json.expect_json(json!({"type": "welcome", "name": "ola"}));
}

#[test]
fn connections_without_a_name_are_never_announced() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    let mut refused = server.greeted();
    refused.send("ALA");
    refused.expect_start("! ");
    drop(refused);
    server.expect_log("left before joining (the name ALA is taken)");
    let mut left = server.greeted();
    left.send("/quit");
    left.expect_end();
    server.expect_log("left before joining");
    ala.send("/online");
    ala.expect("* 1 online: ala");
}

#[test]
fn end_of_input_before_login_closes_the_connection() {
    let server = Server::start(&[]);
    let mut client = server.greeted();
    client.finish_sending();
    client.expect_end();
}

#[test]
fn a_name_without_a_line_ending_is_accepted_at_end_of_input() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = server.greeted();
    ala.send_bytes(b"ala 3ID12");
    ala.finish_sending();
    ala.expect_start("* welcome, ala: 2 online");
    ala.expect_end();
    ola.expect_all(&["* ala (3ID12) joined", "* ala left"]);
}
