//! Lost connections of a client on a terminal: notices, retries, resuming, and unsent messages.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use support::client::{FakeServer, chat_client};
use support::screen::Screen;
use support::{Client, Server, chat_server, reserved_port, wait_until};

/// A client on a terminal that logs in to `address` as `ala`.
#[track_caller]
fn ala(address: &str) -> Screen {
    Screen::start(&chat_client(&[address, "-n", "ala"]), 70, 12)
}

fn welcome(room: &str, seq: u64, more: &str) -> String {
    format!(
        r#"{{"type":"welcome","room":"{room}","token":"t0","id":7,"name":"ala","count":1,"online":[{{"id":7,"name":"ala"}}],"seq":{seq}{more}}}"#
    )
}

fn message(seq: u64, id: u64, from: &str, text: &str, more: &str) -> String {
    format!(
        r#"{{"type":"message","seq":{seq},"time":"2026-01-31T10:00:00Z","id":{id},"from":"{from}","text":"{text}"{more}}}"#
    )
}

const REPLAY: &str = r#","replay":true"#;

/// Welcomes the client and sends it the events with sequence numbers 2 and 3.
#[track_caller]
fn accept_login(fake: &FakeServer, ala: &Screen) -> Client {
    let mut server = fake.accept();
    server.expect("/json ala");
    server.send(&welcome("r", 1, ""));
    server.send(&message(2, 3, "ola", "one", ""));
    server.send(&message(3, 3, "ola", "two", ""));
    ala.expect("ola: two");
    server
}

#[test]
fn a_client_reconnects_and_gets_each_missed_message_once() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    let server = accept_login(&fake, &ala);
    ala.type_keys("begun");
    ala.expect("> begun");
    drop(server);
    ala.expect("! the server closed the connection: trying again, Ctrl+C gives up");
    ala.expect("not connected: trying");
    ala.type_keys(" meanwhile");
    ala.expect("> begun meanwhile");

    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 5, ""));
    // Event 3 was already shown; the client must skip a duplicate.
    server.send(&message(3, 3, "ola", "two", REPLAY));
    server.send(&message(4, 3, "ola", "three", REPLAY));
    server.send(&message(5, 3, "ola", "four", REPLAY));
    server.send(&message(6, 3, "ola", "five", ""));
    ala.expect("ola: five");
    ala.expect_gone("not connected");
    ala.type_keys("\r");
    server.expect("begun meanwhile");
    let text = ala.text();
    for said in ["one", "two", "three", "four", "five"] {
        let count = text.matches(&format!("ola: {said}")).count();
        assert_eq!(count, 1, "{said} in:\n{text}");
    }
    assert!(
        text.contains("four\n--- end of the past messages ---\n"),
        "{text}"
    );
    assert!(!text.contains("missing"), "{text}");
}

#[test]
fn the_address_of_a_server_is_shown_until_the_server_answers() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    let connecting = format!("connecting to {} …\n> ", fake.address());
    ala.type_keys("begun");
    ala.expect(&format!("{connecting}begun"));
    let server = accept_login(&fake, &ala);
    ala.expect_gone("connecting");
    ala.expect("> begun");
    drop(server);
    // The connection is made, but there is no answer to the login.
    ala.expect(&format!("{connecting}begun"));
    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 3, ""));
    ala.expect("* connected again as ala");
    ala.expect_gone("connecting");
    ala.expect("> begun");
}

#[test]
fn replayed_mentions_are_bold_and_missed_mentions_ring_the_bell_once() {
    let fake = FakeServer::new();
    let ala = ala(&fake.address());
    // Titles and the query for the background also end with BEL.
    let bells = |ala: &Screen| {
        let text = String::from_utf8(ala.bytes()).unwrap();
        text.matches('\x07').count() - text.matches("\x1b]").count()
    };
    let is_bold = |ala: &Screen, row| ala.inspect(|screen| screen.cell(row, 12).unwrap().bold());
    let mut server = fake.accept();
    server.expect("/json ala");
    server.send(&welcome("r", 2, ""));
    server.send(&message(1, 3, "ola", "past", REPLAY));
    server.send(&message(2, 3, "ola", "past for ala", REPLAY));
    server.send(&message(3, 3, "ola", "live", ""));
    ala.expect("ola: live");
    let row = |text: &str| {
        let rows = ala.text();
        u16::try_from(rows.lines().position(|row| row.ends_with(text)).unwrap()).unwrap()
    };
    assert!(!is_bold(&ala, row("ola: past")));
    assert!(is_bold(&ala, row("past for ala")));
    assert_eq!(bells(&ala), 0);
    drop(server);

    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 5, ""));
    server.send(&message(4, 3, "ola", "missed by ala", REPLAY));
    ala.expect("ola: missed by ala");
    server.send(&message(5, 3, "ola", "ala, are you there?", REPLAY));
    ala.expect("--- end of the past messages ---\n>");
    assert!(is_bold(&ala, row("missed by ala")));
    assert_eq!(bells(&ala), 1);
    server.send(&message(6, 3, "ola", "ala!", ""));
    ala.expect("ola: ala!");
    wait_until("the bell rings", || (bells(&ala) == 2).then_some(()));
}

#[test]
fn local_commands_take_effect_while_disconnected() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    drop(accept_login(&fake, &ala));
    drop(fake);
    ala.expect("not connected: trying");
    for (typed, shown) in [
        ("/time off", "* lines begin without the time"),
        ("/ignore ola", "* ola's messages are hidden"),
        ("/help", "* in this window:"),
    ] {
        ala.type_keys(&format!("{typed}\r"));
        ala.expect(shown);
    }
    ala.type_keys("/quit\r");
    assert_eq!(ala.end().exit_code(), 0);
}

#[test]
fn lines_entered_while_disconnected_are_sent_once_and_in_order() {
    for count in [1, 3, 20] {
        let fake = FakeServer::new();
        let mut ala = ala(&fake.address());
        drop(accept_login(&fake, &ala));
        ala.expect("trying again");
        let lines: Vec<String> = (1..=count)
            .map(|n| format!("line {n} of {count}"))
            .collect();
        for line in &lines {
            ala.type_keys(&format!("{line}\r"));
            ala.expect(&format!("* will be sent once connected: {line}\n"));
        }
        let waiting = match count {
            1 => "1 line waits\n> ".into(),
            count => format!("{count} lines wait\n> "),
        };
        ala.type_keys("draft");
        ala.expect(&format!("{waiting}draft"));
        let mut server = fake.accept();
        server.expect("/resume t0 3");
        server.send(&welcome("r", 3, ""));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        server.expect_all(&lines);
        for (seq, line) in (4..).zip(&lines) {
            server.send(&message(seq, 7, "ala", line, ""));
        }
        ala.expect(&format!("10:00 ala: line {count} of {count}\n> draft"));
        drop(server);
        // Nothing is sent again, and nothing is reported as lost.
        let mut server = fake.accept();
        server.expect(&format!("/resume t0 {}", 3 + count));
        server.send(&welcome("r", 3 + count, ""));
        ala.type_keys(" sent\r");
        server.expect("draft sent");
        assert!(!ala.text().contains("not sent"), "{}", ala.text());
    }
}

#[test]
fn the_connection_status_wraps_in_a_narrow_window() {
    let fake = FakeServer::new();
    let command = chat_client(&[&fake.address(), "-n", "ala"]);
    let mut ala = Screen::start(&command, 18, 12);
    drop(fake.accept_login());
    ala.expect("not connected:\ntrying again in 1\ns\n>");
    ala.type_keys("hi\r");
    ala.expect("hi\nconnecting to\n");
    ala.expect("\n…; 1 line waits\n>");
}

#[test]
fn pasted_lines_private_messages_and_commands_are_sent_after_reconnecting() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    drop(accept_login(&fake, &ala));
    ala.expect("trying again");
    ala.type_keys("\x1b[200~one\n/two\nthree\x1b[201~\r/msg ola secret\r/online\r/msg ola\r");
    ala.expect("* will be sent once connected: one (and 2 more lines)\n");
    ala.expect("* will be sent once connected: /msg ola secret\n");
    ala.expect("* will be sent once connected: /online\n");
    ala.expect("! usage: /msg NAME TEXT\n");
    ala.expect("; 5 lines wait\n> /msg ola");
    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 3, ""));
    server.expect_all(&["one", "//two", "three", "/msg ola secret", "/online"]);
    ala.expect("> /msg ola");
    ala.expect_gone("lines wait");
}

#[test]
fn at_most_1000_typed_lines_wait_for_the_connection() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    drop(accept_login(&fake, &ala));
    ala.expect("trying again");
    let lines: Vec<String> = (1..=1000).map(|n| n.to_string()).collect();
    ala.type_keys(&format!("\x1b[200~{}\x1b[201~\r", lines.join("\n")));
    ala.expect("* will be sent once connected: 1 (and 999 more lines)\n");
    ala.type_keys("one more\r");
    ala.expect("! 1000 lines are already waiting to be sent: your input stays here\n");
    ala.expect("> one more");
    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 3, ""));
    server.expect_all(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    ala.expect("> one more");
    ala.type_keys("\r");
    server.expect("one more");
}

#[test]
fn leaving_reports_the_lines_that_still_wait_for_the_connection() {
    type Leave = (&'static str, &'static str);
    let ways: [Leave; 2] = [
        (
            "one\r/quit\r",
            "error: 1 line was not sent: you left before the room had it",
        ),
        (
            "one\rtwo\r\x03",
            "error: 2 lines were not sent: you left before the room had them",
        ),
    ];
    for (typed, report) in ways {
        let fake = FakeServer::new();
        let mut ala = ala(&fake.address());
        drop(accept_login(&fake, &ala));
        ala.expect("trying again");
        ala.type_keys(typed);
        assert_eq!(ala.end().exit_code(), 1);
        ala.expect(report);
    }
}

#[test]
fn lines_entered_before_the_first_login_are_sent_after_it() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    let mut server = fake.accept();
    server.expect("/json ala");
    ala.type_keys("one\rtwo\r");
    ala.expect("* will be sent once connected: one\n* will be sent once connected: two\n");
    server.send(&welcome("r", 0, ""));
    server.expect_all(&["one", "two"]);
}

#[test]
fn lines_typed_before_the_password_prompt_of_the_first_login_are_discarded() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    let mut server = fake.accept();
    server.expect("/json ala");
    ala.type_keys("secret\r");
    ala.expect("* will be sent once connected: secret\n");
    server.send("* chat-server 0.1.0: type /pass PASSWORD, then your name");
    server.send(r#"{"type":"error","text":"this room has a password"}"#);
    server.expect("/help");
    server.send(r#"{"type":"help","lines":[]}"#);
    ala.expect("! the line above was not sent: the login needs an answer first\npassword:");
    ala.type_keys("secret\r");
    let mut server = fake.accept();
    server.expect_all(&["/pass secret", "/json ala"]);
    server.send(&welcome("r", 0, ""));
    ala.expect("* welcome, ala");
    ala.type_keys("hello\r");
    server.expect("hello");
}

#[test]
fn a_private_message_is_not_sent_to_a_different_room() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    drop(accept_login(&fake, &ala));
    ala.expect("trying again");
    ala.type_keys("one\r/msg ola secret\rtwo\r");
    ala.expect("connected: two\n");
    let mut server = refuse_resume(&fake, "/resume t0 3");
    server.send(&welcome("s", 0, ""));
    server.expect_all(&["one", "two"]);
    ala.expect("! this is a different room than before\n");
    ala.expect("! not sent, since this is a different room: /msg ola secret\n");
}

#[test]
fn missing_lines_and_unsent_messages_are_reported_after_reconnecting() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    let mut server = accept_login(&fake, &ala);
    ala.type_keys("heard\rnot heard\r/msg ola secret\r");
    server.expect_all(&["heard", "not heard", "/msg ola secret"]);
    drop(server);

    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 20, r#","missing":16"#));
    server.send(&message(20, 7, "ala", "heard", REPLAY));
    ala.expect("! 16 lines are missing here: the server no longer has them");
    ala.expect("ala: heard");
    ala.expect("! this was not sent: not heard");
    ala.expect("! this may not have been delivered: secret");
}

/// Refuses to resume the client's session, and returns the connection on which it joins as a new
/// member.
#[track_caller]
fn refuse_resume(fake: &FakeServer, resume: &str) -> Client {
    let mut server = fake.accept();
    server.expect(resume);
    server.send(r#"{"type":"error","text":"that token is unknown or has expired"}"#);
    // The client asks for help to learn whether the server keeps the connection open. It does, so
    // logging in again is worth trying.
    server.expect("/help");
    server.send(r#"{"type":"help","lines":[]}"#);
    let mut server = fake.accept();
    server.expect("/json ala");
    server
}

#[test]
fn rejoining_as_a_new_member_reports_how_many_lines_the_replay_lacks() {
    // The last sequence number before the client joins, the events replayed to it, and the text
    // that it then shows.
    let cases: [(u64, &[u64], &str); 3] = [
        (
            9,
            &[8, 9],
            "! 4 lines are missing here: the server no longer has them\n10:00 ola: number 8\n10:00 ola: number 9\n",
        ),
        (
            4,
            &[],
            "! 1 line is missing here: the server no longer has it\n10:00 ola: live\n",
        ),
        // Nothing is missing: a replay for new members omits who joined and left.
        (
            9,
            &[3, 9],
            "connected again as ala: 1 online\n10:00 ola: number 9\n",
        ),
    ];
    for (seq, past, shown) in cases {
        let fake = FakeServer::new();
        let ala = ala(&fake.address());
        drop(accept_login(&fake, &ala));
        let mut server = refuse_resume(&fake, "/resume t0 3");
        server.send(&welcome("r", seq, ""));
        for seq in past {
            server.send(&message(*seq, 3, "ola", &format!("number {seq}"), REPLAY));
        }
        server.send(&message(seq + 1, 3, "ola", "live", ""));
        ala.expect("ola: live");
        ala.expect(shown);
        let reported = ala.text().matches("missing").count();
        assert_eq!(reported, shown.matches("missing").count(), "{}", ala.text());
    }
}

#[test]
fn rejoining_reports_a_different_room() {
    let fake = FakeServer::new();
    let ala = ala(&fake.address());
    drop(accept_login(&fake, &ala));
    let mut server = refuse_resume(&fake, "/resume t0 3");
    server.send(&welcome("s", 0, ""));
    server.send(&message(1, 3, "ola", "new", ""));
    ala.expect("! this is a different room than before");
    assert!(!ala.text().contains("missing"), "{}", ala.text());
    ala.expect("ola: new");
}

#[test]
fn rejoining_with_a_taken_name_asks_for_another_name() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    drop(accept_login(&fake, &ala));
    for (hello, error) in [
        ("/resume t0 3", "that token is unknown or has expired"),
        ("/json ala", "the name ala is taken: try ala2"),
    ] {
        let mut server = fake.accept();
        server.expect(hello);
        server.send(&format!(r#"{{"type":"error","text":"{error}"}}"#));
        server.expect("/help");
        server.send(r#"{"type":"help","lines":[]}"#);
    }
    ala.expect("! the name ala is taken: try ala2\nname, and group if you like [ala2]:");
    ala.type_keys("\r");
    fake.accept().expect("/json ala2");
}

#[test]
fn if_sequence_numbers_went_back_the_whole_replay_is_shown() {
    let fake = FakeServer::new();
    let ala = ala(&fake.address());
    drop(accept_login(&fake, &ala));
    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 2, ""));
    server.send(&message(1, 3, "ola", "known", REPLAY));
    server.send(&message(3, 3, "ola", "new", ""));
    ala.expect("! the server has lost a part of the room");
    ala.expect("ola: known");
    ala.expect("ola: new");
}

/// The delays that the client has announced, in seconds. Taken from all output, because the screen
/// shows the first delay for only a second.
fn delays(ala: &Screen) -> Vec<String> {
    let written = String::from_utf8_lossy(&ala.bytes()).into_owned();
    let mut delays: Vec<String> = written
        .split("not connected: trying again in ")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(" s")?.0.to_owned()))
        .collect();
    delays.dedup();
    delays
}

/// Waits until the client has announced these delays, and no others before or between.
#[track_caller]
fn expect_delays(ala: &Screen, expected: &[&str]) {
    wait_until(&format!("delays of {expected:?} s"), || {
        let mut delays = delays(ala);
        delays.truncate(expected.len());
        assert!(
            expected.starts_with(&Vec::from_iter(delays.iter().map(String::as_str))),
            "{delays:?}"
        );
        (delays.len() == expected.len()).then_some(())
    });
}

#[test]
fn retry_delays_double_until_enter_asks_for_an_attempt_and_ctrl_c_gives_up() {
    let port = reserved_port().to_string();
    let server = Server::start_as(chat_server(&["-p", &port]));
    let mut ala = ala(&server.address.to_string());
    ala.expect("* welcome, ala");
    server.kill();
    ala.expect("trying again, Ctrl+C gives up,\n  Enter tries now");
    expect_delays(&ala, &["1", "2", "4"]);
    ala.type_keys("\r");
    expect_delays(&ala, &["1", "2", "4", "1", "2"]);
    ala.type_keys("\x03");
    assert_eq!(ala.end().exit_code(), 0);
}

#[test]
fn a_restarted_server_resets_the_retry_delay() {
    let port = reserved_port().to_string();
    let mut server = Server::start_as(chat_server(&["-p", &port]));
    let ala = ala(&server.address.to_string());
    ala.expect("* welcome, ala");
    for restarts in 1..=3 {
        server.kill();
        // The attempt after the first delay fails.
        wait_until("a delay of 1 s and one of 2 s", || {
            let delays = delays(&ala);
            let starts = delays.iter().filter(|delay| *delay == "1").count();
            (starts == restarts && delays.ends_with(&["2".into()])).then_some(())
        });
        server = Server::start_as(chat_server(&["-p", &port]));
        wait_until("the client is connected again", || {
            let written = String::from_utf8_lossy(&ala.bytes()).into_owned();
            (written.matches("* connected again as ala").count() == restarts).then_some(())
        });
    }
}

#[test]
fn retry_delays_double_if_the_server_closes_right_after_the_welcome() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ala = ala(&listener.local_addr().unwrap().to_string());
    // Every connection is accepted, so no attempt fails by itself.
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let mut server = Client::from_socket(socket);
            // Either `/json ala` or `/resume …`.
            server.line_or_broken();
            server.send(&welcome("r", 0, ""));
        }
    });
    expect_delays(&ala, &["1", "2", "4"]);
    ala.type_keys("\x03");
    assert_eq!(ala.end().exit_code(), 0);
}

#[test]
fn retry_delays_double_if_the_answer_to_a_resume_is_garbage() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    drop(accept_login(&fake, &ala));
    for answer in [
        &b"{\"type\":\"welcome\",\"seq\":-1}\n\xff\xfe\x1b[2J\n"[..],
        b"{\"type\":\"message\",\"seq\":1}\n{{{{\n\x9b2J",
    ] {
        let mut server = fake.accept();
        server.expect("/resume t0 3");
        server.send_bytes(answer);
    }
    expect_delays(&ala, &["1", "2", "4"]);
    ala.type_keys("kept");
    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 0, ""));
    ala.expect("* connected again as ala");
    ala.expect("> kept");
    ala.type_keys("\r");
    server.expect("kept");
    server.send(&message(1, 7, "ala", "kept", ""));
    ala.expect("ala: kept");
    ala.type_keys("\x03");
    assert_eq!(ala.end().exit_code(), 0);
    wait_until("the terminal is restored", || {
        ala.bytes().ends_with(b"\x1b[?25h").then_some(())
    });
}

#[test]
fn a_server_restarted_with_its_history_is_the_same_room() {
    let dir = tempfile::tempdir().unwrap();
    let history = dir.path().join("room.jsonl");
    let history = history.to_str().unwrap();
    let port = reserved_port().to_string();
    let arguments = ["-p", &port, "--history", history];
    let server = Server::start_as(chat_server(&arguments));
    let mut ola = server.join("ola");
    let mut ala = ala(&server.address.to_string());
    ola.expect("* ala joined");
    ola.send("before");
    ala.expect("ola: before");
    server.kill();
    ala.expect("trying again");
    let server = Server::start_as(chat_server(&arguments));
    ala.expect("* connected again as ala");
    let mut ola = server.join("ola");
    ola.skip_to("* end of the past messages");
    ola.send("after");
    ala.expect("ola: after");
    let text = ala.text();
    assert_eq!(text.matches("ola: before").count(), 1, "{text}");
    assert!(!text.contains("different room"), "{text}");
    assert!(!text.contains("missing"), "{text}");
    ala.type_keys("heard?\r");
    ola.expect("ala: heard?");
}

#[test]
fn a_kicked_client_does_not_reconnect() {
    let mut server = Server::start_with_console(&[]);
    let mut ala = ala(&server.address.to_string());
    ala.expect("* welcome, ala");
    server.type_line("/kick ala too loud");
    ala.expect("! you were kicked: too loud");
    assert_eq!(ala.end().exit_code(), 1);
}

#[test]
fn an_unechoed_message_times_out_only_once_the_server_is_silent() {
    let fake = FakeServer::new();
    let arguments = [&fake.address(), "-n", "ala", "--answer-time", "3000"];
    let mut ala = Screen::start(&chat_client(&arguments), 70, 12);
    let mut server = accept_login(&fake, &ala);
    ala.type_keys("hi\r");
    server.expect("hi");
    // Send events for longer than the 3 s allowed for an echo. They come far more often than every
    // 3 s, which leaves room for a busy machine.
    let sent_at = Instant::now();
    let mut seq = 3;
    while sent_at.elapsed() < Duration::from_secs(4) {
        seq += 1;
        server.send(&message(seq, 3, "ola", &format!("number {seq}."), ""));
        ala.expect(&format!("ola: number {seq}."));
    }
    assert!(!ala.text().contains("lost"), "{}", ala.text());
    ala.expect("! the connection is lost (timed out): trying again");
    let mut server = fake.accept();
    server.expect(&format!("/resume t0 {seq}"));
    server.send(&welcome("r", seq, ""));
    ala.expect("! this was not sent: hi");
}

#[test]
fn a_client_on_a_dumb_terminal_also_reconnects() {
    let fake = FakeServer::new();
    let mut command = chat_client(&[&fake.address(), "-n", "ala"]);
    command.env("TERM", "dumb");
    let mut ala = Screen::start(&command, 110, 24);
    drop(accept_login(&fake, &ala));
    let notice = "trying again, Ctrl+C gives up, what you enter is sent once connected\n";
    ala.expect(&format!("! the server closed the connection: {notice}"));
    ala.type_keys("one\rtwo\rthree\r");
    ala.expect("* connecting to 127.0.0.1:");
    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 4, ""));
    server.send(&message(4, 3, "ola", "three", REPLAY));
    ala.expect("ola: three");
    server.expect_all(&["one", "two", "three"]);
    ala.type_keys("hi\r");
    server.expect("hi");
    drop(server);
    ala.wait("a second notice", |text| {
        (text.matches(notice).count() == 2).then_some(())
    });
    ala.type_keys("/quit\r");
    assert_eq!(ala.end().exit_code(), 0);
}

#[test]
fn a_client_on_a_dumb_terminal_can_quit_while_it_is_not_connected() {
    let start = |fake: &FakeServer| {
        let mut command = chat_client(&[&fake.address(), "-n", "ala"]);
        command.env("TERM", "dumb");
        Screen::start(&command, 110, 24)
    };
    // The connection is lost.
    let fake = FakeServer::new();
    let mut ala = start(&fake);
    drop(accept_login(&fake, &ala));
    ala.expect("what you enter is sent once connected");
    ala.type_keys("one\rtwo\r/QUIT\r");
    ala.expect("error: 2 lines were not sent: you left before the room had them");
    assert_eq!(ala.end().exit_code(), 1);
    // The server does not answer.
    let fake = FakeServer::new();
    let mut ala = start(&fake);
    ala.expect("* connecting to 127.0.0.1:");
    ala.type_keys("exit\r");
    assert_eq!(ala.end().exit_code(), 0);
}

#[test]
fn lines_typed_on_a_dumb_terminal_before_the_name_is_refused_are_discarded() {
    let fake = FakeServer::new();
    let mut command = chat_client(&[&fake.address(), "-n", "ala"]);
    command.env("TERM", "dumb");
    let mut ala = Screen::start(&command, 110, 24);
    let mut server = fake.accept();
    server.expect("/json ala");
    ala.expect("* connecting to 127.0.0.1:");
    // The error for the second line shows that both lines were read.
    ala.type_keys(&format!("secret\r{}\r", "x".repeat(1100)));
    ala.expect("! that line is too long");
    server.send(r#"{"type":"error","text":"the name ala is taken: try ala2"}"#);
    ala.expect("! the name ala is taken: try ala2");
    ala.type_keys("ela\r");
    let mut server = fake.accept();
    server.expect("/json ela");
    server.send(&welcome("r", 0, ""));
    ala.expect("* welcome");
}
