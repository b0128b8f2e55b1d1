//! Leaving with lines still in the queue: they are sent first, and unsent ones are reported.

use support::client::{FakeServer, chat_client, piped};
use support::screen::Screen;
use support::{Client, Exit, Program, Server};

/// A client on a terminal that has joined as `ala`.
#[track_caller]
fn ala(server: &Server) -> Screen {
    let command = chat_client(&[&server.address.to_string(), "-n", "ala"]);
    let ala = Screen::start(&command, 70, 12);
    ala.expect("* welcome, ala");
    ala
}

/// Sends `count` numbered lines in one paste.
#[track_caller]
fn paste(ala: &mut Screen, count: usize) {
    let lines: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    ala.type_keys(&format!("\x1b[200~{}\x1b[201~\r", lines.join("\n")));
}

#[test]
fn queued_lines_are_counted_and_sent_before_the_client_leaves() {
    // The server accepts a burst of 200 lines at once, and the other 60 at 20 a second, which takes
    // 3 s.
    const LINES: usize = 260;
    let server = Server::start(&["--rate", "20"]);
    let mut ola = server.join("ola");
    let mut ala = ala(&server);
    ola.expect("* ala joined");
    paste(&mut ala, LINES);
    ala.expect(" lines are left to be sent\n");
    ala.type_keys("my last word\r\x03");
    ala.expect(" lines are left to be sent, then you leave; Ctrl+C leaves at once\n");
    ala.type_keys("more\r");
    ala.expect("! you are leaving: nothing more is sent");
    for n in 0..LINES {
        ola.expect(&format!("ala: {n}"));
    }
    ola.expect("ala: my last word");
    ola.expect("* ala left");
    assert_eq!(ala.end().exit_code(), 0);
    ala.expect("ala: my last word");
    ala.expect_gone("left to be sent");
}

#[test]
fn a_second_request_to_leave_ends_the_client_at_once_and_unsent_lines_are_reported() {
    for keys in ["\x03", "\x04", "/quit\r"] {
        let server = Server::start(&["--rate", "1"]);
        let mut ala = ala(&server);
        paste(&mut ala, 40);
        ala.expect("ala: 9");
        ala.type_keys(keys);
        ala.expect(" lines are left to be sent, then you leave");
        ala.type_keys(keys);
        assert_eq!(ala.end().exit_code(), 1, "{keys:?}");
        ala.expect(" lines may not have been sent: you left before the room had");
    }
}

#[test]
fn leaving_an_unresponsive_server_reports_unsent_lines() {
    let fake = FakeServer::new();
    let command = chat_client(&[&fake.address(), "-n", "ala", "--answer-time", "300"]);
    let mut ala = Screen::start(&command, 70, 12);
    let mut server = fake.accept_login();
    ala.expect("* welcome, ala");
    ala.type_keys("hello?\r\x03");
    server.expect("hello?");
    assert_eq!(ala.end().exit_code(), 1);
    ala.expect("error: 1 line may not have been sent: you left before the room had it");
}

/// A client with 40 lines on stdin, which is then closed. At a rate of one line a second, most of
/// them are still unsent when this returns.
#[track_caller]
fn piped_with_40_lines(server: &Server, ola: &mut Client) -> Program {
    let mut ala = piped(server, &["-n", "ala"]);
    for n in 0..40 {
        ala.type_line(&n.to_string());
    }
    ala.close_stdin();
    // The server accepts ten lines at once and the next line a second later. By then, the client
    // has read all its input.
    ola.skip_to("ala: 10");
    ala
}

/// Checks that the client failed, and that the number of unsent lines it reported is the number of
/// lines `ola` did not get.
#[track_caller]
fn assert_unsent_reported(exit: Exit, mut ola: Client) {
    let delivered = ola.lines_to_end();
    let delivered = 11
        + delivered
            .iter()
            .filter(|line| line.starts_with("ala: "))
            .count();
    let error = format!("error: {} lines are not sent\n", 40 - delivered);
    exit.expect_code(1).expect_stderr(&error);
}

#[test]
fn a_kicked_piped_client_reports_how_many_lines_were_not_sent() {
    let mut server = Server::start_with_console(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let ala = piped_with_40_lines(&server, &mut ola);
    server.type_line("/kick ala too much");
    let exit = ala.exit().expect_stderr("! you were kicked: too much\n");
    ola.finish_sending();
    assert_unsent_reported(exit, ola);
}

#[test]
fn a_piped_client_reports_unsent_lines_at_server_shutdown() {
    let server = Server::start(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let ala = piped_with_40_lines(&server, &mut ola);
    server.stop();
    assert_unsent_reported(ala.exit(), ola);
}

#[test]
fn a_piped_client_that_is_disconnected_reports_possibly_unsent_lines() {
    for (lines, told) in [
        (
            &["one", "two", "/msg ola three"][..],
            "error: 2 lines may not have been sent\n",
        ),
        (&["one"], "error: the server closed the connection: "),
    ] {
        let fake = FakeServer::new();
        let mut ala = fake.piped();
        for line in lines {
            ala.type_line(line);
        }
        ala.close_stdin();
        let mut server = fake.accept_login();
        server.expect_all(lines);
        // The client has shut down its sending side: it knows that its input is over.
        server.expect_end();
        server.send(r#"{"type":"message","seq":1,"time":"2026-01-31T10:00:00Z","id":7,"from":"ala","text":"one"}"#);
        server.send(r#"{"type":"error","text":"you were cut: your connection takes messages too slowly; join again"}"#);
        drop(server);
        let exit = ala.exit().expect_code(1).expect_stderr(told);
        assert_eq!(
            exit.stderr.contains("not have been"),
            lines.len() > 1,
            "{exit:#?}"
        );
    }
}
