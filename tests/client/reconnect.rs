//! A client on a terminal whose connection is lost: what it says, what it keeps, and how it comes back.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use support::client::{FakeServer, chat_client};
use support::screen::Screen;
use support::{Client, Server, chat_server, wait_until};

/// A client that wants to be `ala` here.
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

/// Lets a client in, and shows it the events up to number 3.
#[track_caller]
fn let_in(fake: &FakeServer, ala: &Screen) -> Client {
    let mut server = fake.accept();
    server.expect("/json ala");
    server.send(&welcome("r", 1, ""));
    server.send(&message(2, 3, "ola", "one", ""));
    server.send(&message(3, 3, "ola", "two", ""));
    ala.expect("ola: two");
    server
}

#[test]
fn a_client_comes_back_to_its_place_and_gets_what_it_missed_once() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    let server = let_in(&fake, &ala);
    ala.type_keys("begun");
    ala.expect("> begun");
    drop(server);
    ala.expect("! the server closed the connection: trying again, Ctrl+C gives up");
    ala.expect("not connected: trying again in 1 s");
    // What is typed is kept, and Enter does not take it.
    ala.type_keys(" meanwhile\r");
    ala.expect("! no connection yet: the line stays here; press Enter again");
    ala.expect("> begun meanwhile");

    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 5, ""));
    // It may send too much, and does not.
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
fn a_call_in_the_past_stands_out_and_one_that_was_missed_rings_once() {
    let fake = FakeServer::new();
    let ala = ala(&fake.address());
    // A title ends so, too.
    let rings = |ala: &Screen| {
        let text = String::from_utf8(ala.bytes()).unwrap();
        text.matches('\x07').count() - text.matches("\x1b]2;").count()
    };
    let is_bold = |ala: &Screen, row| ala.look(|screen| screen.cell(row, 12).unwrap().bold());
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
    assert_eq!(rings(&ala), 0);
    drop(server);

    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 5, ""));
    server.send(&message(4, 3, "ola", "missed by ala", REPLAY));
    ala.expect("ola: missed by ala");
    server.send(&message(5, 3, "ola", "ala, are you there?", REPLAY));
    ala.expect("--- end of the past messages ---\n>");
    assert!(is_bold(&ala, row("missed by ala")));
    assert_eq!(rings(&ala), 1);
    server.send(&message(6, 3, "ola", "ala!", ""));
    ala.expect("ola: ala!");
    wait_until("it rings", || (rings(&ala) == 2).then_some(()));
}

#[test]
fn what_needs_no_connection_works_without_one() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    drop(let_in(&fake, &ala));
    drop(fake);
    ala.expect("not connected: trying");
    for (typed, shown) in [
        ("/time off", "* lines begin without the time"),
        ("/ignore ola", "* ola's messages are hidden"),
        ("/help", "* in this window:"),
        ("/online", "! no connection yet: the line stays here"),
    ] {
        ala.type_keys(&format!("{typed}\r"));
        ala.expect(shown);
    }
    ala.expect("> /online");
    ala.type_keys("\x15/quit\r");
    assert_eq!(ala.end().exit_code(), 0);
}

#[test]
fn a_line_that_was_kept_does_not_become_a_part_of_the_next() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    let mut server = fake.accept();
    server.expect("/json ala");
    ala.type_keys("/msg ola one\rtwo\r");
    ala.expect("> two");
    ala.type_keys("\x1b[200~three\x1b[201~\r");
    ala.expect("> three");
    server.send(&welcome("r", 0, ""));
    ala.expect("* welcome, ala");
    ala.type_keys("!\r");
    server.expect("!");
    ala.type_keys("\x1b[A\x1b[A\r");
    server.expect("three");
    ala.type_keys("\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\r");
    server.expect("/msg ola one");
}

#[test]
fn what_is_missing_and_what_was_not_said_is_told() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    let mut server = let_in(&fake, &ala);
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

/// The connection over which a client joins whose place is gone.
#[track_caller]
fn joining_anew(fake: &FakeServer, resume: &str) -> Client {
    let mut server = fake.accept();
    server.expect(resume);
    server.send(r#"{"type":"error","text":"nobody can come back by that token"}"#);
    // It stays, so there is another way.
    server.expect("/help");
    server.send(r#"{"type":"help","lines":[]}"#);
    let mut server = fake.accept();
    server.expect("/json ala");
    server
}

#[test]
fn a_newcomer_again_is_told_what_the_past_does_not_bring() {
    // The last event before it joins, what it is shown of the past, and what it is told to be missing.
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
        // All that was said: newcomers are not told who came and went.
        (
            9,
            &[3, 9],
            "connected again as ala: 1 online\n10:00 ola: number 9\n",
        ),
    ];
    for (seq, past, shown) in cases {
        let fake = FakeServer::new();
        let ala = ala(&fake.address());
        drop(let_in(&fake, &ala));
        let mut server = joining_anew(&fake, "/resume t0 3");
        server.send(&welcome("r", seq, ""));
        for seq in past {
            server.send(&message(*seq, 3, "ola", &format!("number {seq}"), REPLAY));
        }
        server.send(&message(seq + 1, 3, "ola", "live", ""));
        ala.expect("ola: live");
        ala.expect(shown);
        let told = ala.text().matches("missing").count();
        assert_eq!(told, shown.matches("missing").count(), "{}", ala.text());
    }
}

#[test]
fn a_place_that_is_gone_is_taken_anew_and_another_room_is_told() {
    let fake = FakeServer::new();
    let ala = ala(&fake.address());
    drop(let_in(&fake, &ala));
    let mut server = joining_anew(&fake, "/resume t0 3");
    server.send(&welcome("s", 0, ""));
    server.send(&message(1, 3, "ola", "new", ""));
    ala.expect("! this is a different room than before");
    assert!(!ala.text().contains("missing"), "{}", ala.text());
    ala.expect("ola: new");
}

#[test]
fn who_lost_their_name_is_asked_for_another_and_is_not_told_that_it_tries() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    drop(let_in(&fake, &ala));
    for (hello, error) in [
        ("/resume t0 3", "nobody can come back by that token"),
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
fn a_room_whose_numbers_went_back_is_taken_for_another_and_all_of_it_is_shown() {
    let fake = FakeServer::new();
    let ala = ala(&fake.address());
    drop(let_in(&fake, &ala));
    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 2, ""));
    server.send(&message(1, 3, "ola", "known", REPLAY));
    server.send(&message(3, 3, "ola", "new", ""));
    ala.expect("! the server has lost a part of the room");
    ala.expect("ola: known");
    ala.expect("ola: new");
}

#[test]
fn it_tries_less_often_each_time_and_ctrl_c_gives_up() {
    let server = Server::start(&[]);
    let mut ala = ala(&server.address.to_string());
    ala.expect("* welcome, ala");
    server.kill();
    for seconds in [1, 2, 4] {
        ala.expect(&format!("not connected: trying again in {seconds} s"));
    }
    ala.type_keys("\x03");
    assert_eq!(ala.end().exit_code(), 0);
}

#[test]
fn a_server_that_lets_one_in_and_closes_at_once_is_tried_less_often_each_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ala = ala(&listener.local_addr().unwrap().to_string());
    // Each time, so that no attempt fails.
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let mut server = Client::over(socket);
            // Its name, or where it was.
            server.line_or_broken();
            server.send(&welcome("r", 0, ""));
        }
    });
    for seconds in [1, 2, 4] {
        ala.expect(&format!("not connected: trying again in {seconds} s"));
    }
    ala.type_keys("\x03");
    assert_eq!(ala.end().exit_code(), 0);
}

#[test]
fn nonsense_in_place_of_a_coming_back_is_tried_less_often_each_time() {
    let fake = FakeServer::new();
    let mut ala = ala(&fake.address());
    drop(let_in(&fake, &ala));
    for (seconds, answer) in [
        (
            1,
            &b"{\"type\":\"welcome\",\"seq\":-1}\n\xff\xfe\x1b[2J\n"[..],
        ),
        (2, b"{\"type\":\"message\",\"seq\":1}\n{{{{\n\x9b2J"),
    ] {
        ala.expect(&format!("not connected: trying again in {seconds} s"));
        let mut server = fake.accept();
        server.expect("/resume t0 3");
        server.send_bytes(answer);
    }
    ala.expect("not connected: trying again in 4 s");
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
    wait_until("the terminal is as it was", || {
        ala.bytes().ends_with(b"\x1b[?25h").then_some(())
    });
}

#[test]
fn a_server_that_starts_again_with_its_history_is_the_same_room() {
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("room.jsonl");
    let history = history.to_str().unwrap();
    let server = Server::start(&["--history", history]);
    let address: SocketAddr = server.address;
    let mut ola = server.join("ola");
    let mut ala = ala(&address.to_string());
    ola.expect("* ala joined");
    ola.send("before");
    ala.expect("ola: before");
    server.kill();
    ala.expect("trying again");
    let port = address.port().to_string();
    let server = Server::start_as(chat_server(&["-p", &port, "--history", history]));
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
fn who_was_kicked_does_not_come_back_by_itself() {
    let mut server = Server::start_with_console(&[]);
    let mut ala = ala(&server.address.to_string());
    ala.expect("* welcome, ala");
    server.type_line("/kick ala too loud");
    ala.expect("! you were kicked: too loud");
    assert_eq!(ala.end().exit_code(), 1);
}

#[test]
fn a_server_that_does_not_answer_what_was_said_is_lost_and_one_that_only_takes_its_time_is_not() {
    let fake = FakeServer::new();
    let arguments = [&fake.address(), "-n", "ala", "--answer-time", "3000"];
    let mut ala = Screen::start(&chat_client(&arguments), 70, 12);
    let mut server = let_in(&fake, &ala);
    ala.type_keys("hi\r");
    server.expect("hi");
    // Longer in all than the answer may take, and far less each time, also on a machine that does a lot else.
    for seq in 4..14 {
        thread::sleep(Duration::from_millis(400));
        server.send(&message(seq, 3, "ola", &format!("number {seq}"), ""));
        ala.expect(&format!("ola: number {seq}"));
    }
    assert!(!ala.text().contains("lost"), "{}", ala.text());
    ala.expect("! the connection is lost (timed out): trying again");
    let mut server = fake.accept();
    server.expect("/resume t0 13");
    server.send(&welcome("r", 13, ""));
    ala.expect("! this was not sent: hi");
}

#[test]
fn a_dumb_terminal_comes_back_too() {
    let fake = FakeServer::new();
    let mut command = chat_client(&[&fake.address(), "-n", "ala"]);
    command.env("TERM", "dumb");
    let mut ala = Screen::start(&command, 70, 12);
    drop(let_in(&fake, &ala));
    ala.expect("! the server closed the connection: trying again");
    let mut server = fake.accept();
    server.expect("/resume t0 3");
    server.send(&welcome("r", 4, ""));
    server.send(&message(4, 3, "ola", "three", REPLAY));
    ala.expect("ola: three");
    ala.type_keys("hi\r");
    server.expect("hi");
}
