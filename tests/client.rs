//! The client as a user and a script meet it: in a pipe, on a terminal, against the real server and against bad ones.

#![allow(
    clippy::unwrap_used,
    reason = "as in tests, which these functions are parts of"
)]

#[path = "support/client.rs"]
mod helpers;
mod support;

use std::net::{Ipv6Addr, TcpListener};
use std::process::Stdio;

use helpers::{FakeServer, Terminal, WELCOME, at_ten, chat_client, piped};
use support::{Exit, Program, Server, Signal, hearing_hangups, run};

/// Runs a client in a pipe that brings `input`.
#[track_caller]
fn feed(server: &Server, args: &[&str], input: &str) -> Exit {
    let mut client = piped(server, args);
    client.type_bytes(input.as_bytes());
    client.close_stdin();
    client.exit()
}

/// Fails unless the client ended so.
#[track_caller]
fn assert_exit(exit: &Exit, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(at_ten(&exit.stdout), stdout, "stdout of {exit:#?}");
    assert_eq!(at_ten(&exit.stderr), stderr, "stderr of {exit:#?}");
    assert_eq!(exit.status.code(), Some(code), "{exit:#?}");
}

// In a pipe.

#[test]
fn what_comes_through_a_pipe_is_sent_and_the_conversation_goes_to_stdout() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola 3ID12");
    let mut ala = piped(&server, &[]);
    ala.type_line("ala 3ID11");
    ola.expect("* ala (3ID11) joined");
    ola.send("cześć");
    ola.send("/msg ala psst");
    ala.expect_stdout("psst");
    ala.type_line("hej ola");
    ala.type_line("/msg ola tak");
    ala.type_line("/online");
    ola.expect_all(&["[to ala] psst", "ala: hej ola", "[ala] tak"]);
    ala.expect_stdout("2 online: ");
    ola.send("/nick ela");
    ala.expect_stdout("is now");
    ola.send("/quit");
    ala.expect_stdout("left");
    ala.close_stdin();
    assert_exit(
        &ala.exit(),
        0,
        "\
* welcome, ala: 2 online; /help lists the commands
10:00 ola: cześć
10:00 [ola] psst
10:00 [to ola] tak
* 2 online: ola (3ID12), ala (3ID11)
10:00 * ola is now ela
10:00 * ela left
",
        "",
    );
}

#[test]
fn with_a_name_given_every_line_of_a_pipe_is_sent() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let exit = feed(
        &server,
        &["-n", "ala", "-g", "3ID12"],
        "one\n\n  two\nthree",
    );
    assert_exit(
        &exit,
        0,
        "* welcome, ala: 2 online; /help lists the commands\n",
        "",
    );
    ola.expect_all(&[
        "* ala (3ID12) joined",
        "ala: one",
        "ala:   two",
        "ala: three",
        "* ala left",
    ]);
}

#[test]
fn a_group_that_is_given_goes_with_a_name_from_a_pipe_that_has_none() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    feed(&server, &["-g", "3ID12"], "ala\n").expect_code(0);
    feed(&server, &["-g", "3ID12"], "ala 3ID11\n").expect_code(0);
    ola.expect_all(&[
        "* ala (3ID12) joined",
        "* ala left",
        "* ala (3ID11) joined",
        "* ala left",
    ]);
}

#[test]
fn the_past_is_shown_in_a_frame() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    ola.send("one");
    ola.send("two");
    ola.send("/online");
    ola.expect_start("* 1 online");
    let exit = feed(&server, &["-n", "ala"], "");
    assert_exit(
        &exit,
        0,
        "\
* welcome, ala: 2 online; /help lists the commands
* the past messages
10:00 ola: one
10:00 ola: two
* end of the past messages
",
        "",
    );
}

#[test]
fn what_the_server_refuses_goes_to_stderr() {
    let server = Server::start(&[]);
    let exit = feed(&server, &["-n", "ala"], "/msg jan hej\n/reply hej\n");
    assert_exit(
        &exit,
        0,
        "* welcome, ala: 1 online; /help lists the commands\n",
        "! jan is not here\n! nobody has written to you in private yet: use /msg NAME TEXT\n",
    );
}

#[test]
fn a_refused_name_ends_a_pipe_and_no_other_line_is_tried_as_one() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    for input in ["ola\njan\n", "OLA\njan\n"] {
        let exit = feed(&server, &[], input);
        let name = &input[..3];
        let error = format!("error: the name {name} is taken: try {name}2\n");
        assert_exit(&exit, 1, "", &error);
    }
    // Nobody came meanwhile.
    ola.send("/online");
    ola.expect("* 1 online: ola");
}

#[test]
fn a_name_that_cannot_be_is_refused_before_anything_is_sent() {
    let server = FakeServer::new();
    for (name, reason) in [
        ("!ala", "a name begins with a letter or digit: try ala"),
        (
            "ala ola ela",
            "a name is one word, and a group one more: try ala_ola_ela",
        ),
        ("admin", "\"admin\" is reserved: try another name"),
        ("exit", "\"exit\" is reserved: try another name"),
        ("", "a name is missing: type your name"),
    ] {
        let exit = run(chat_client(&[&server.address(), "-n", name]));
        assert_exit(&exit, 1, "", &format!("error: {reason}\n"));
    }
    assert!(!server.is_called());
}

#[test]
fn a_pipe_without_a_name_is_refused() {
    let server = FakeServer::new();
    let mut client = Program::start(chat_client(&[&server.address()]));
    client.close_stdin();
    let error = "error: there is no name: give one with -n, or in the first line\n";
    assert_exit(&client.exit(), 1, "", error);
    assert!(!server.is_called());
}

#[test]
fn a_line_that_cannot_be_sent_is_told_and_the_others_are_sent() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = piped(&server, &["-n", "ala"]);
    ala.type_line(&"x".repeat(1024));
    ala.type_line(&"y".repeat(1025));
    ala.type_bytes(b"\xff\xfe\n");
    ala.type_line("the last");
    ala.close_stdin();
    assert_exit(
        &ala.exit(),
        1,
        "* welcome, ala: 2 online; /help lists the commands\n",
        "\
error: line 2 is not sent: that line is too long: it may have 1024 bytes, send it in parts
error: line 3 is not sent: that line is not UTF-8: set your terminal to UTF-8
",
    );
    ola.expect("* ala joined");
    ola.expect(&format!("ala: {}", "x".repeat(1024)));
    ola.expect_all(&["ala: the last", "* ala left"]);
}

#[test]
fn a_line_that_leaves_ends_a_pipe_that_goes_on() {
    let server = Server::start(&["--replay", "0"]);
    let mut ola = server.join("ola");
    for line in ["exit", "/quit", "/EXIT", "/wyjdź"] {
        let mut ala = piped(&server, &["-n", "ala"]);
        ala.type_bytes(format!("hi\n{line}\nnot this\n").as_bytes());
        let exit = ala.exit();
        assert_exit(
            &exit,
            0,
            "* welcome, ala: 2 online; /help lists the commands\n",
            "",
        );
        ola.expect_all(&["* ala joined", "ala: hi", "* ala left"]);
    }
}

#[test]
fn a_server_that_slows_a_pipe_down_gets_every_line_and_what_is_left_is_told() {
    const LINES: usize = 380;
    // The first 200 at once, the others in 9 s.
    let server = Server::start(&["--rate", "20"]);
    let mut ola = server.join("ola");
    let mut ala = piped(&server, &["-n", "ala"]);
    for n in 0..LINES {
        ala.type_line(&n.to_string());
    }
    ala.close_stdin();
    ola.expect("* ala joined");
    for n in 0..LINES {
        ola.expect(&format!("ala: {n}"));
        if n == 200 {
            ola.send("meanwhile");
            ala.expect_stdout("ola: meanwhile");
        }
    }
    ola.expect("* ala left");
    ala.exit()
        .expect_code(0)
        .expect_stderr(" lines are left to be sent\n");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_client_quietly() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut command = chat_client(&[&server.address.to_string(), "-n", "ala"]);
    command.stdout(Stdio::piped());
    let mut ala = Program::start_unread(command);
    ola.expect("* ala joined");
    drop(ala.take_stdout());
    ola.send("is anybody there?");
    ola.expect("* ala left");
    assert_exit(&ala.exit(), 0, "", "");
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_is_full_is_told() {
    let server = Server::start(&[]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let mut command = chat_client(&[&server.address.to_string(), "-n", "ala"]);
    command.stdout(full.unwrap());
    let exit = Program::start_unread(command).exit();
    let error = "error: cannot write to stdout: No space left on device (os error 28)\n";
    assert_exit(&exit, 1, "", error);
}

#[test]
fn nobody_at_the_address_is_told_with_the_address() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let exit = run(chat_client(&[&address, "-n", "ala"]));
    let error = format!(
        "error: cannot connect to {address} (nobody listens there): is `chat-server` running there?\n"
    );
    assert_exit(&exit, 1, "", &error);
}

#[test]
fn a_host_that_has_no_address_is_told_without_controls() {
    let exit = run(chat_client(&["no\x1b[2J host", "-n", "ala"])).expect_code(1);
    exit.expect_stderr("error: cannot find the address of `no␛[2J host`: check the name: ");
}

#[test]
fn a_server_is_reached_by_ipv6() {
    let server = Server::start(&["--host", "::1"]);
    assert_eq!(server.address.ip(), Ipv6Addr::LOCALHOST);
    let port = server.port().to_string();
    for args in [
        &["::1", &port][..],
        &["::1", "-p", &port],
        &[&format!("[::1]:{port}")],
    ] {
        let mut command = chat_client(args);
        command.args(["-n", "ala"]).stdin(Stdio::null());
        run(command).expect_code(0).expect_stdout("* welcome, ala");
    }
}

#[test]
fn a_lone_number_is_a_port_on_this_machine() {
    let server = Server::start(&[]);
    let mut command = chat_client(&[&server.port().to_string(), "-n", "ala"]);
    command.stdin(Stdio::null());
    run(command).expect_code(0).expect_stdout("* welcome, ala");
}

#[test]
fn a_wrong_command_line_is_usage() {
    for args in [
        &["8080", "-p", "80"][..],
        &["host:80", "81"],
        &["host", "80", "-p", "80"],
        &["99999"],
        &["host", "x"],
        &["-p", "0"],
        &["-g", "two words"],
        &["--password", "two\nlines"],
        &["--nonsense"],
    ] {
        let exit = run(chat_client(args)).expect_code(2);
        assert!(exit.stderr.starts_with("error: "), "{args:?}: {exit:#?}");
        assert!(exit.stderr.contains("--help"), "{args:?}: {exit:#?}");
    }
}

#[test]
fn two_ports_are_told_by_where_they_were_given() {
    for (args, ports) in [
        (&["-p", "5", "6"][..], "-p 5 and 6"),
        (&["6", "-p", "5"], "-p 5 and 6"),
        (&["host:6", "--port", "5"], "-p 5 and 6"),
        (&["host:5", "6"], "5 and 6"),
        (&["5", "6"], "5 and 6"),
    ] {
        run(chat_client(args))
            .expect_code(2)
            .expect_stderr(&format!(
                "error: two ports, {ports}: leave one of them out\n"
            ));
    }
}

#[test]
fn a_password_is_given_by_option_or_environment() {
    let server = Server::start(&["--password", "tajne hasło"]);
    feed(&server, &["-n", "ala", "--password", "tajne hasło"], "")
        .expect_code(0)
        .expect_stdout("* welcome, ala");
    let mut command = chat_client(&[&server.address.to_string(), "-n", "ala"]);
    command
        .env("CHAT_PASSWORD", "tajne hasło")
        .stdin(Stdio::null());
    run(command).expect_code(0).expect_stdout("* welcome, ala");
}

#[test]
fn a_password_that_is_wrong_or_missing_ends_a_pipe() {
    let server = Server::start(&["--password", "tajne"]);
    let wrong = feed(&server, &["-n", "ala", "--password", "jawne"], "");
    assert_exit(&wrong, 1, "", "error: that is not the room's password\n");
    let missing = feed(&server, &["-n", "ala"], "");
    let error = "error: this room has a password: give it with --password, or in CHAT_PASSWORD\n";
    assert_exit(&missing, 1, "", error);
}

#[test]
fn a_password_does_no_harm_where_there_is_none() {
    let server = Server::start(&[]);
    feed(&server, &["-n", "ala", "--password", "tajne"], "").expect_code(0);
    let _ola = server.join("ola");
    let taken = feed(&server, &["-n", "ola", "--password", "tajne"], "");
    assert_exit(&taken, 1, "", "error: the name ola is taken: try ola2\n");
}

#[test]
fn a_full_room_is_told() {
    let server = Server::start(&["-m", "1"]);
    let _ola = server.join("ola");
    let exit = feed(&server, &["-n", "ala"], "");
    assert_exit(&exit, 1, "", "error: the room is full (1)\n");
}

#[test]
fn a_server_that_shuts_down_ends_a_pipe_with_success() {
    let server = Server::start(&[]);
    let ala = piped(&server, &["-n", "ala"]);
    ala.expect_stdout("welcome");
    server.stop();
    assert_exit(
        &ala.exit(),
        0,
        "\
* welcome, ala: 1 online; /help lists the commands
10:00 * the server is shutting down
",
        "",
    );
}

#[test]
fn a_server_that_dies_ends_a_pipe_with_failure() {
    let server = Server::start(&[]);
    let ala = piped(&server, &["-n", "ala"]);
    ala.expect_stdout("welcome");
    server.kill();
    ala.exit().expect_code(1).expect_stderr("error: the ");
}

#[test]
fn who_is_kicked_is_told_why() {
    let mut server = Server::start_with_console(&[]);
    let ala = piped(&server, &["-n", "ala"]);
    ala.expect_stdout("welcome");
    server.type_line("/kick ala too loud");
    assert_exit(
        &ala.exit(),
        1,
        "* welcome, ala: 1 online; /help lists the commands\n",
        "\
! you were kicked: too loud
error: the server closed the connection: start chat-client again to come back
",
    );
}

#[test]
fn colours_go_into_a_pipe_only_where_that_is_asked_for() {
    let server = Server::start(&[]);
    let coloured = piped(&server, &["-n", "ala", "--color", "always"]);
    coloured.expect_stdout("welcome");
    let plain = piped(&server, &["-n", "ela"]);
    coloured.expect_stdout("\x1b[32m* ela joined");
    let _ola = server.join("ola");
    assert_eq!(
        at_ten(&plain.expect_stdout("ola joined")),
        "10:00 * ola joined\n"
    );
}

#[test]
fn a_signal_leaves_in_order() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let command = chat_client(&[&server.address.to_string(), "-n", "ala"]);
        let mut command = hearing_hangups(command);
        command.stdin(Stdio::piped());
        let ala = Program::start(command);
        ola.expect("* ala joined");
        ala.expect_stdout("welcome");
        ala.signal(signal);
        let exit = ala.exit();
        assert_exit(
            &exit,
            0,
            "* welcome, ala: 2 online; /help lists the commands\n",
            "",
        );
        ola.expect("* ala left");
    }
}

// Servers that are not to be trusted.

#[test]
fn whatever_a_server_sends_only_text_reaches_the_screen() {
    let fake = FakeServer::new();
    let mut ala = fake.piped();
    let mut server = fake.accept();
    server.expect("/json ala");
    server.send("* chat-server 9: \x1b[2J type your name");
    server.send(&WELCOME.replace("ala", r"\u001b[31mala\u0007"));
    for event in [
        r#"{"type":"message","seq":1,"time":"2026-01-31T10:00:00Z","id":3,"from":"\u001b]0;x\u0007","text":"\u009b2J\r\u0008\u202e"}"#,
        r#"{"type":"joined","seq":2,"time":"2026-01-31T10:00:00Z","id":4,"name":"\u001b[1m","group":"\u009d"}"#,
        r#"{"type":"left","seq":3,"time":"2026-01-31T10:00:00Z","id":4,"name":"\u001b[1m","reason":"\u001bc"}"#,
        r#"{"type":"renamed","seq":4,"time":"2026-01-31T10:00:00Z","id":4,"from":"\u001b[1m","to":"\u001bP"}"#,
        r#"{"type":"server","seq":5,"time":"2026-01-31T10:00:00Z","text":"\u001b[1m"}"#,
        r#"{"type":"private","time":"2026-01-31T10:00:00Z","id":3,"from":"\u001b[1m","text":"\u001b[1m"}"#,
        r#"{"type":"private","time":"2026-01-31T10:00:00Z","id":3,"to":"\u001b[1m","text":"\u001b[1m"}"#,
        r#"{"type":"online","count":1,"members":[{"id":3,"name":"\u001b[1m","group":"\u001b[1m"}]}"#,
        r#"{"type":"help","lines":["\u001b[1m"]}"#,
        r#"{"type":"error","text":"\u001b[1m"}"#,
        r#"{"type":"notice","text":"\u001b[1m"}"#,
        "! \x1b[1m plain \u{9b}1m",
        "\x1b[2J plain",
        "{\"type\":\"\x1b[2J\"}",
        "{\"type\":\"error\",\"text\":\x1b[2J}",
        r#"{"type":"error","text":"x","id":"\u001b[2J\u009b"}"#,
    ] {
        server.send(event);
    }
    server.send(r#"{"type":"notice","text":"the end"}"#);
    ala.expect_stdout("* the end");
    ala.close_stdin();
    server.expect_end();
    drop(server);
    let exit = ala.exit().expect_code(0);
    for text in [&exit.stdout, &exit.stderr] {
        let control = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "{exit:#?}");
        assert!(!text.contains('\u{202e}'), "{exit:#?}");
    }
    assert!(exit.stdout.lines().count() > 10, "{exit:#?}");
}

#[test]
fn events_that_make_no_sense_are_told_and_the_others_are_shown() {
    let fake = FakeServer::new();
    let mut ala = fake.piped();
    let mut server = fake.let_in();
    for event in [
        "",
        "{",
        "{}",
        r#"{"type":"message"}"#,
        r#"{"type":"message","seq":-1,"time":"2026-01-31T10:00:00Z","id":3,"from":"ola","text":"hi"}"#,
        r#"{"type":"message","seq":1,"time":"yesterday","id":3,"from":"ola","text":"hi"}"#,
        r#"{"type":"message","seq":1,"time":7,"id":[],"from":{},"text":null}"#,
        r#"{"type":["error"],"text":"x"}"#,
        r#"{"type":"a type of the future","text":"x"}"#,
        r#"{"type":"online","count":0,"members":[{"id":3,"name":"ola"}]}"#,
        r#"{"type":"welcome"}"#,
        WELCOME,
    ] {
        server.send(event);
    }
    server.send_bytes(b"{\"type\":\"error\",\"text\":\"\xff\"}\n");
    let deep = "[".repeat(500_000);
    server.send(&format!(r#"{{"type":"error","text":{deep}"#));
    server.send(r#"{"type":"notice","text":"the end"}"#);
    ala.expect_stdout("* the end");
    ala.close_stdin();
    server.expect_end();
    drop(server);
    let exit = ala.exit().expect_code(0);
    assert_eq!(
        exit.stdout,
        "\
* welcome, ala: 1 online; /help lists the commands
* 0 online: ola
* the end
"
    );
    let told = exit.stderr.lines();
    assert!(
        told.clone()
            .all(|line| line.starts_with("! the server sent something that is no event: ")),
        "{exit:#?}"
    );
    assert_eq!(told.count(), 10, "{exit:#?}");
}

#[test]
fn a_line_without_end_ends_the_client() {
    let fake = FakeServer::new();
    let ala = fake.piped();
    let mut server = fake.accept();
    server.send_bytes(&vec![b'{'; 1024 * 1024 + 2]);
    let exit = ala.exit();
    let error = format!(
        "error: {} sends a line without end: is it a `chat-server`?\n",
        fake.address()
    );
    assert_exit(&exit, 1, "", &error);

    let ala = fake.piped();
    let mut server = fake.let_in();
    server.send_bytes(&vec![b'{'; 1024 * 1024 + 2]);
    assert_exit(
        &ala.exit(),
        1,
        "* welcome, ala: 1 online; /help lists the commands\n",
        "error: the server sends a line of over 1 MiB: it is no chat-server\n",
    );
}

#[test]
fn a_server_that_closes_at_once_is_told() {
    let fake = FakeServer::new();
    let ala = fake.piped();
    let mut server = fake.accept();
    server.expect("/json ala");
    drop(server);
    let error = format!(
        "error: {} closed the connection before it let anybody in: is it a `chat-server`?\n",
        fake.address()
    );
    assert_exit(&ala.exit(), 1, "", &error);
}

#[test]
fn a_plain_refusal_before_the_end_is_told() {
    let fake = FakeServer::new();
    let ala = fake.piped();
    let mut server = fake.accept();
    server.send("! no thread left: come back later");
    server.expect("/json ala");
    drop(server);
    assert_exit(
        &ala.exit(),
        1,
        "",
        "error: no thread left: come back later\n",
    );
}

#[test]
fn a_server_that_never_closes_does_not_hold_a_user_who_leaves() {
    let fake = FakeServer::new();
    let ala = fake.piped();
    let _server = fake.let_in();
    ala.expect_stdout("welcome");
    ala.signal(Signal::INT);
    ala.exit().expect_code(0);
}

// On a terminal.

/// What a user does to leave.
type Leave<'a> = &'a dyn Fn(&mut Terminal);

#[test]
fn a_terminal_is_asked_for_a_name_before_anything_is_connected() {
    let fake = FakeServer::new();
    let mut ala = Terminal::start(&[&fake.address()]);
    ala.expect("name, and group if you like: ");
    assert!(!fake.is_called());
    ala.type_line("ala");
    let _server = fake.let_in();
    ala.expect("welcome, ala");
}

#[test]
fn a_terminal_is_asked_again_where_a_name_is_refused() {
    let server = Server::start(&[]);
    let _ola = server.join("ola");
    let mut ala = Terminal::start(&[&server.address.to_string()]);
    for (name, refusal) in [
        ("", "! a name is missing: type your name"),
        ("!ala", "! a name begins with a letter or digit: try ala"),
        ("Ola", "! the name Ola is taken: try Ola2"),
    ] {
        ala.expect("name, and group if you like");
        ala.type_line(name);
        ala.expect(refusal);
    }
    ala.expect("name, and group if you like [Ola2]: ");
    ala.type_line("ala 3ID12");
    ala.expect("* welcome, ala: 2 online; /help lists the commands");
    server.expect_log("* ala (3ID12) joined");
}

#[test]
fn a_given_name_that_is_refused_is_asked_for_on_a_terminal() {
    let server = Server::start(&[]);
    let _ola = server.join("ola");
    let mut ala = Terminal::start(&[&server.address.to_string(), "-n", "ola"]);
    ala.expect("! the name ola is taken: try ola2");
    ala.expect("name, and group if you like [ola2]: ");
    ala.type_line("ala");
    ala.expect("welcome, ala");
}

#[test]
fn a_full_room_ends_a_terminal_that_no_other_name_would_help() {
    let server = Server::start(&["-m", "1"]);
    let _ola = server.join("ola");
    let mut ala = Terminal::start(&[&server.address.to_string()]);
    ala.expect("name, and group if you like: ");
    ala.type_line("ala");
    ala.expect("error: the room is full (1)\r\n");
    let screen = ala.exit(1);
    let after = screen.split("the room is full").last().unwrap();
    assert!(!after.contains("name, and group"), "{screen}");
}

#[test]
fn a_refusal_ends_a_terminal_where_the_server_closes_whatever_it_says() {
    let fake = FakeServer::new();
    for refusal in [
        r#"{"type":"error","text":"not today"}"#,
        "! not today",
        "{\"type\":\"error\",\"text\":\"not today\"}\n{\"type\":\"notice\",\"text\":\"bye\"}",
    ] {
        let mut ala = Terminal::start(&[&fake.address(), "-n", "ala"]);
        let mut server = fake.accept();
        server.expect("/json ala");
        server.send(refusal);
        drop(server);
        ala.expect("error: not today\r\n");
        let screen = ala.exit(1);
        assert!(!screen.contains("name, and group"), "{screen}");
    }
}

#[test]
fn another_name_is_asked_for_where_the_server_stays_and_says_no_more() {
    let fake = FakeServer::new();
    let mut ala = Terminal::start(&[&fake.address(), "-n", "ala"]);
    let mut server = fake.accept();
    server.expect("/json ala");
    server.send(r#"{"type":"error","text":"not this name"}"#);
    ala.expect("! not this name");
    ala.expect("name, and group if you like: ");
}

#[test]
fn two_terminals_talk() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    let mut ala = Terminal::start(&[&address, "-n", "ala"]);
    ala.expect("welcome");
    let mut ola = Terminal::start(&[&address, "-n", "ola"]);
    ola.expect("welcome");
    ala.expect("\x1b[32m* ola joined");
    ola.type_line("dzień dobry");
    ala.expect("ola");
    ala.expect(": dzień dobry\r\n");
    ala.type_line("cześć Ola");
    // Her name is in it.
    ola.expect("\x1b[1m\x1b[38;5;");
    ola.expect(": cześć Ola");
    ola.type_line("/msg ala psst");
    ala.expect("\x1b[35m] psst");
    ala.type_line("/nonsense");
    ala.expect("\x1b[38;5;130m! unknown command /nonsense");
    ola.type_line("exit");
    ala.expect("\x1b[31m* ola left");
    let screen = ola.exit(0);
    // What was typed is there as the terminal echoed it, and not once more.
    assert_eq!(screen.matches("dzień dobry").count(), 1, "{screen}");
}

#[test]
fn what_happens_is_shown_in_its_order() {
    let fake = FakeServer::new();
    let mut ala = Terminal::start(&[&fake.address(), "-n", "ala"]);
    let mut server = fake.let_in();
    let mut lines = String::new();
    for n in 0..100 {
        lines += &format!("{{\"type\":\"notice\",\"text\":\"notice {n}\"}}\n");
        lines += &format!("{{\"type\":\"error\",\"text\":\"error {n}\"}}\n");
    }
    server.send_bytes(lines.as_bytes());
    // One goes to stdout, the other to stderr, and both are the same terminal.
    for n in 0..100 {
        ala.expect(&format!("* notice {n}\r\n"));
        ala.expect(&format!("! error {n}"));
    }
}

#[test]
fn a_terminal_shows_no_colours_where_they_are_not_wanted() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    let ala = [&address, "-n", "ala"];
    for (args, environment) in [
        (&ala[..], &[("NO_COLOR", "1")][..]),
        (&[&ala[..], &["--color", "never"]].concat(), &[]),
    ] {
        let mut terminal = Terminal::start_with(args, environment);
        terminal.expect("welcome");
        let _ola = server.join("ola");
        terminal.expect(" * ola joined");
        let text = terminal.text();
        let colours = text.split("\x1b[").find(|sequence| {
            let end = sequence.find(|c: char| !c.is_ascii_digit() && c != ';');
            end.is_some_and(|end| sequence[end..].starts_with('m'))
        });
        assert_eq!(colours, None, "{text:?}");
        terminal.press("\x04");
        terminal.exit(0);
    }
}

#[test]
fn a_dumb_terminal_gets_plain_lines_and_nothing_else() {
    let server = Server::start(&[]);
    let mut ala = Terminal::start_with(&[&server.address.to_string()], &[("TERM", "dumb")]);
    ala.expect("name, and group if you like: ");
    ala.type_line("ala");
    ala.expect("welcome");
    let mut ola = server.join("ola");
    ala.expect(" * ola joined\r\n");
    ala.type_line("hi");
    ola.expect("ala: hi");
    assert!(!ala.text().contains('\x1b'), "{:?}", ala.text());
    ala.press("\x04");
    ala.exit(0);
}

#[test]
fn every_way_to_leave_a_terminal_leaves_in_order() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let ways: [(&str, Leave); 6] = [
        ("exit", &|ala| ala.type_line("exit")),
        ("/quit", &|ala| ala.type_line("/quit")),
        ("Ctrl+D", &|ala| ala.press("\x04")),
        ("Ctrl+C", &|ala| ala.press("\x03")),
        ("SIGTERM", &|ala| ala.signal(Signal::TERM)),
        ("SIGHUP", &|ala| ala.signal(Signal::HUP)),
    ];
    for (way, leave) in ways {
        let mut ala = Terminal::start(&[&server.address.to_string(), "-n", "ala"]);
        ala.expect("welcome");
        ola.expect("* ala joined");
        leave(&mut ala);
        ola.expect("* ala left");
        let screen = ala.exit(0);
        assert!(!screen.contains("error"), "{way}: {screen}");
    }
}

#[test]
fn one_can_leave_before_there_is_a_name() {
    let fake = FakeServer::new();
    for keys in ["exit\r", "/quit\r", "\x04", "\x03"] {
        let mut ala = Terminal::start(&[&fake.address()]);
        ala.expect("name, and group if you like: ");
        ala.press(keys);
        ala.exit(0);
    }
    assert!(!fake.is_called());
}

#[test]
fn one_can_leave_while_a_server_is_silent() {
    let fake = FakeServer::new();
    let mut ala = Terminal::start(&[&fake.address(), "-n", "ala"]);
    let mut server = fake.accept();
    server.expect("/json ala");
    ala.press("\x03");
    ala.exit(0);
}

#[test]
fn a_password_is_asked_for_and_never_shown() {
    let server = Server::start(&["--password", "tajne"]);
    let mut ala = Terminal::start(&[&server.address.to_string()]);
    ala.expect("name, and group if you like: ");
    ala.type_line("ala");
    ala.expect("password: ");
    assert!(!ala.echoes());
    ala.type_line("jawne");
    ala.expect("! that is not the room's password");
    ala.expect("password: ");
    ala.type_line("tajne");
    ala.expect("welcome, ala");
    ala.type_line("exit");
    let screen = ala.exit(0);
    assert!(!screen.contains("tajne"), "{screen}");
    assert!(!screen.contains("jawne"), "{screen}");
}

#[test]
fn the_terminal_is_given_back_where_a_password_is_not_given() {
    let server = Server::start(&["--password", "tajne"]);
    let ways: [Leave; 5] = [
        &|ala| ala.press("\x03"),
        &|ala| ala.press("\x04"),
        &|ala| ala.signal(Signal::INT),
        &|ala| ala.signal(Signal::TERM),
        &|ala| ala.signal(Signal::HUP),
    ];
    for leave in ways {
        let mut ala = Terminal::start(&[&server.address.to_string(), "-n", "ala"]);
        ala.expect("password: ");
        assert!(!ala.echoes());
        leave(&mut ala);
        // Looks at the modes.
        ala.exit(0);
    }
}

#[test]
fn a_line_that_is_too_long_is_refused_on_a_terminal_and_stays_to_be_edited() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = Terminal::start(&[&server.address.to_string(), "-n", "ala"]);
    ala.expect("welcome");
    ala.type_line(&"x".repeat(1025));
    ala.expect("! that line is too long: it may have 1024 bytes, send it in parts");
    // It stays to be edited.
    ala.press("\x7f");
    ala.press("\r");
    ola.expect("* ala joined");
    ola.expect(&format!("ala: {}", "x".repeat(1024)));
    ala.type_line("short");
    ola.expect("ala: short");
    ala.type_line("exit");
    ala.exit(0);
}

#[test]
fn a_lost_server_is_told_on_a_terminal() {
    let server = Server::start(&[]);
    let mut ala = Terminal::start(&[&server.address.to_string(), "-n", "ala", "--no-reconnect"]);
    ala.expect("welcome");
    server.kill();
    ala.expect("error: the ");
    ala.exit(1);
}

#[test]
fn a_server_that_shuts_down_ends_a_terminal_with_success() {
    let server = Server::start(&[]);
    let mut ala = Terminal::start(&[&server.address.to_string(), "-n", "ala", "--no-reconnect"]);
    ala.expect("welcome");
    server.stop();
    ala.expect("* the server is shutting down");
    ala.exit(0);
}

// In a window of a session.

#[cfg(unix)]
mod session {
    use std::sync::mpsc;

    use chat_run::lifeline::{Event, Listener};

    use super::*;
    use support::DEADLINE;

    fn listener() -> (Listener, mpsc::Receiver<Event>) {
        let (sender, events) = mpsc::channel();
        // The receiver is gone where the test is over.
        let listener = Listener::start(move |event| drop(sender.send(event))).unwrap();
        (listener, events)
    }

    fn window(listener: &Listener, args: &[&str]) -> Terminal {
        let name = listener.name_for(1);
        Terminal::start_with(args, &[("CHAT_LIFELINE", name.to_str().unwrap())])
    }

    #[track_caller]
    fn hello(events: &mpsc::Receiver<Event>) -> chat_run::lifeline::Held {
        match events.recv_timeout(DEADLINE).unwrap() {
            Event::Hello { client, .. } => client,
            event @ Event::Ended { .. } => panic!("{event:?}"),
        }
    }

    #[test]
    fn a_client_says_hello_before_it_asks_and_leaves_when_it_is_told_to() {
        let (listener, events) = listener();
        let fake = FakeServer::new();
        let mut ala = window(&listener, &[&fake.address()]);
        let client = hello(&events);
        ala.expect("name, and group if you like: ");
        client.quit();
        ala.exit(0);
    }

    #[test]
    fn a_client_leaves_the_room_when_its_session_ends() {
        let (listener, events) = listener();
        let server = Server::start(&[]);
        let mut ola = server.join("ola");
        let mut ala = window(&listener, &[&server.address.to_string(), "-n", "ala"]);
        let client = hello(&events);
        ala.expect("welcome");
        client.quit();
        ola.expect_all(&["* ala joined", "* ala left"]);
        ala.exit(0);
    }

    #[test]
    fn a_client_whose_launcher_is_killed_leaves() {
        let (listener, events) = listener();
        let server = Server::start(&[]);
        let mut ala = window(&listener, &[&server.address.to_string(), "-n", "ala"]);
        ala.expect("welcome");
        drop(hello(&events));
        drop(listener);
        ala.exit(0);
        server.expect_log("* ala left");
    }

    #[test]
    fn a_window_whose_client_fails_stays_until_enter() {
        let (listener, events) = listener();
        let mut ala = window(&listener, &["127.0.0.1:1", "-n", "ala"]);
        let _client = hello(&events);
        ala.expect("error: cannot connect to 127.0.0.1:1 ");
        ala.expect("press Enter to close this window ");
        ala.press("\r");
        ala.exit(1);
    }

    #[test]
    fn a_window_that_finds_the_room_full_stays_until_enter() {
        let (listener, events) = listener();
        let server = Server::start(&["-m", "1"]);
        let _ola = server.join("ola");
        let mut ala = window(&listener, &[&server.address.to_string(), "-n", "ala"]);
        let _client = hello(&events);
        ala.expect("error: the room is full (1)\r\n");
        ala.expect("press Enter to close this window ");
        ala.press("\r");
        ala.exit(1);
    }

    #[test]
    fn a_client_whose_server_is_lost_tries_again_until_its_session_ends() {
        let (listener, events) = listener();
        let server = Server::start(&[]);
        let mut ala = window(&listener, &[&server.address.to_string(), "-n", "ala"]);
        let client = hello(&events);
        ala.expect("welcome");
        server.kill();
        ala.expect("trying again, Ctrl+C gives up");
        client.quit();
        ala.exit(0);
    }

    #[test]
    fn a_window_whose_client_fails_closes_with_its_session() {
        let (listener, events) = listener();
        let mut ala = window(&listener, &["127.0.0.1:1", "-n", "ala"]);
        let client = hello(&events);
        ala.expect("press Enter to close this window ");
        client.quit();
        ala.exit(1);
    }

    #[test]
    fn a_client_of_a_session_that_is_over_does_not_start() {
        let (listener, events) = listener();
        let name = listener.name_for(1);
        drop((listener, events));
        let mut command = chat_client(&["-n", "ala"]);
        command.env("CHAT_LIFELINE", name);
        run(command)
            .expect_code(1)
            .expect_stderr("error: the session that this client belongs to is over: ");
    }
}
