//! Leaving with something still to be said: it is sent first, and what is not sent is told.

use support::client::{FakeServer, chat_client, piped};
use support::screen::Screen;
use support::{Client, Exit, Program, Server};

/// The client of `ala`, who has been let in.
#[track_caller]
fn ala(server: &Server) -> Screen {
    let command = chat_client(&[&server.address.to_string(), "-n", "ala"]);
    let ala = Screen::start(&command, 70, 12);
    ala.expect("* welcome, ala");
    ala
}

/// Says so many numbered lines by one paste.
#[track_caller]
fn paste(ala: &mut Screen, count: usize) {
    let lines: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    ala.type_keys(&format!("\x1b[200~{}\x1b[201~\r", lines.join("\n")));
}

#[test]
fn what_waits_to_be_sent_is_shown_and_sent_before_one_leaves() {
    // The first 200 at once, the others in 3 s.
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
fn who_leaves_a_second_time_leaves_at_once_and_is_told_what_is_not_sent() {
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
fn who_leaves_a_server_that_answers_nothing_is_told_what_is_not_sent() {
    let fake = FakeServer::new();
    let command = chat_client(&[&fake.address(), "-n", "ala", "--answer-time", "300"]);
    let mut ala = Screen::start(&command, 70, 12);
    let mut server = fake.let_in();
    ala.expect("* welcome, ala");
    ala.type_keys("hello?\r\x03");
    server.expect("hello?");
    assert_eq!(ala.end().exit_code(), 1);
    ala.expect("error: 1 line may not have been sent: you left before the room had it");
}

/// `ala` in a pipe that has brought 40 lines and is over. The server takes them more slowly than anybody waits for.
#[track_caller]
fn pipe_40(server: &Server, ola: &mut Client) -> Program {
    let mut ala = piped(server, &["-n", "ala"]);
    for n in 0..40 {
        ala.type_line(&n.to_string());
    }
    ala.close_stdin();
    // Ten at once, and another one a second later: it has read its input by then.
    ola.skip_to("ala: 10");
    ala
}

/// It has failed, and has told how many of its 40 lines others have not read.
#[track_caller]
fn assert_told(exit: Exit, mut ola: Client) {
    let said = ola.lines_to_end();
    let said = 11 + said.iter().filter(|line| line.starts_with("ala: ")).count();
    let told = format!("error: {} lines are not sent\n", 40 - said);
    exit.expect_code(1).expect_stderr(&told);
}

#[test]
fn a_pipe_that_is_kicked_tells_how_much_of_it_is_not_sent() {
    let mut server = Server::start_with_console(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let ala = pipe_40(&server, &mut ola);
    server.type_line("/kick ala too much");
    let exit = ala.exit().expect_stderr("! you were kicked: too much\n");
    ola.finish_sending();
    assert_told(exit, ola);
}

#[test]
fn a_pipe_whose_server_shuts_down_tells_how_much_of_it_is_not_sent() {
    let server = Server::start(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let ala = pipe_40(&server, &mut ola);
    server.stop();
    assert_told(ala.exit(), ola);
}

#[test]
fn a_pipe_that_is_cut_fails_and_tells_what_may_not_have_been_sent() {
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
        let mut server = fake.let_in();
        server.expect_all(lines);
        // It knows that there is no more.
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
