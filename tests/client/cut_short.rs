//! Connections that are held up, ended or broken in the middle of a line, of a character, of an event: what the server makes of it,
//! and what the client does.

use std::thread;
use std::time::Duration;

use support::client::chat_client;
use support::proxy::{Plan, Proxy, Step};
use support::screen::Screen;
use support::{GREETING, Program, Server};

/// The first of two bytes of a letter, with what is before it.
const HALF: &[u8] = b"za\xc5";

/// What it is the beginning of.
const WHOLE: &str = "zażółć";

/// A proxy that treats one connection by `plan`, and passes on all others.
fn before(server: &Server, plan: Plan) -> Proxy {
    Proxy::start(server.address, vec![plan], Plan::default())
}

/// A client on a terminal, which is `ala`.
fn ala_on_a_screen(proxy: &Proxy) -> Screen {
    let command = chat_client(&[&proxy.address().to_string(), "-n", "ala"]);
    Screen::start(&command, 70, 12)
}

#[test]
fn a_line_that_stops_in_the_middle_of_a_letter_holds_up_nobody_and_arrives_whole() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let proxy = before(&server, Plan::up(HALF, Step::Stall));
    let mut ala = proxy.connect().join("ala");
    ola.expect("* ala joined");
    ala.send(WHOLE);
    proxy.expect_stalled();
    ola.send("meanwhile");
    ala.expect("ola: meanwhile");
    ola.send("/online");
    ola.expect("* 2 online: ola, ala");
    proxy.go_on();
    ola.expect("ala: zażółć");
}

#[test]
fn a_name_whose_first_letter_comes_before_the_greeting_and_the_rest_after_it_is_one_name() {
    let server = Server::start(&[]);
    for name in ["ala", "ąla"] {
        // Half a letter, of those that have two bytes.
        let pause = Step::Pause(Duration::from_millis(50));
        let proxy = before(&server, Plan::up(&name.as_bytes()[..1], pause));
        let mut ala = proxy.connect();
        ala.send(name);
        ala.expect(GREETING);
        ala.expect_start(&format!("* welcome, {name}: "));
    }
}

#[test]
fn of_a_line_that_breaks_off_nothing_is_said() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    for half in [&b"hal"[..], HALF, b"half\r", b"/msg ola hal", b"/nick e"] {
        let said_before = [b"before\n", half].concat();
        let proxy = before(&server, Plan::up(said_before, Step::Reset));
        let mut ala = proxy.connect().join("ala");
        let line = [b"before\n", half, b"f\n"].concat();
        ala.send_bytes(&line);
        ola.expect_all(&[
            "* ala joined",
            "ala: before",
            "* ala left (connection lost)",
        ]);
    }
}

#[test]
fn of_a_name_that_breaks_off_nobody_comes() {
    for half in ["al", "/json al", "ala\r", "/resume "] {
        let server = Server::start(&[]);
        let mut ola = server.join("ola");
        let proxy = before(&server, Plan::up(half, Step::Reset));
        let mut ala = proxy.connect();
        ala.send(&format!("{half}a"));
        server.expect_log("is gone, without a name");
        ola.send("/online");
        ola.expect("* 1 online: ola");
    }
}

#[test]
fn a_line_without_its_end_counts_where_the_input_ends_and_half_a_letter_is_refused() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let proxy = before(&server, Plan::up("hal", Step::End));
    let mut ala = proxy.connect().join("ala");
    ala.send("half");
    ola.expect_all(&["* ala joined", "ala: hal", "* ala left"]);
    ala.expect_end();

    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let proxy = before(&server, Plan::up(HALF, Step::End));
    let mut ala = proxy.connect().join("ala");
    ala.send(WHOLE);
    ola.expect_all(&["* ala joined", "* ala left"]);
    // The other direction goes on to the end.
    ala.expect("! that line is not UTF-8: set your terminal to UTF-8");
    ala.expect_end();
}

#[test]
fn an_event_that_breaks_off_on_its_way_is_shown_once_when_the_client_is_back() {
    let places: [&[u8]; 5] = [
        HALF,
        // Between two fields, in front of a number, behind a backslash, and in front of the line's ending.
        br#""from":"ola","#,
        br#"{"type":"message","seq":"#,
        br#"\"#,
        br#"\""}"#,
    ];
    // All at once, since each client waits for a second before it tries again.
    thread::scope(|scope| {
        for place in places {
            for step in [Step::Reset, Step::End] {
                scope.spawn(|| break_off(place, step));
            }
        }
    });
}

/// Breaks off behind `place` in a message, and expects it to be shown once.
#[track_caller]
fn break_off(place: &[u8], step: Step) {
    let case = format!("{step:?} after {}", String::from_utf8_lossy(place));
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let proxy = before(&server, Plan::down(place, step));
    let ala = ala_on_a_screen(&proxy);
    ola.expect("* ala joined");
    ala.expect("* welcome, ala");
    ola.send(&format!("{WHOLE}\""));
    ala.expect("connected again as ala");
    let shown = format!("ola: {WHOLE}\"");
    ala.expect(&shown);
    ola.send("after");
    ala.expect("ola: after");
    let text = ala.text();
    assert_eq!(text.matches(&shown).count(), 1, "{case}:\n{text}");
    assert!(!text.contains("missing"), "{case}:\n{text}");
}

#[test]
fn what_breaks_off_on_its_way_to_the_server_is_told_as_not_sent() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let proxy = before(&server, Plan::up(HALF, Step::Reset));
    let mut ala = ala_on_a_screen(&proxy);
    ala.expect("* welcome, ala");
    ala.type_keys(&format!("first\r{WHOLE}\r"));
    ala.expect("connected again as ala");
    ala.expect(&format!("! this was not sent: {WHOLE}"));
    ala.type_keys("second\r");
    let heard = ola.skip_to("ala: second");
    let said: Vec<&String> = heard.iter().filter(|line| !line.starts_with('*')).collect();
    assert_eq!(said, ["ala: first"]);
}

#[test]
fn a_client_in_a_pipe_shows_no_half_of_an_event_and_fails() {
    for (step, why) in [
        (Step::Reset, "the connection is lost (connection reset)"),
        (Step::End, "the server closed the connection"),
    ] {
        let server = Server::start(&[]);
        let mut ola = server.join("ola");
        let proxy = before(&server, Plan::down(HALF, step));
        let client = Program::start(chat_client(&[&proxy.address().to_string(), "-n", "ala"]));
        ola.expect("* ala joined");
        ola.send("whole");
        ola.send(WHOLE);
        let exit = client.exit().expect_code(1).expect_stderr(why);
        assert!(exit.stdout.ends_with("ola: whole\n"), "{exit:?}");
    }
}

#[test]
fn a_welcome_that_breaks_off_lets_nobody_in_and_says_so() {
    let server = Server::start(&[]);
    for (step, why) in [
        (Step::Reset, "did not complete the login (connection reset)"),
        (
            Step::End,
            "closed the connection before the login was complete",
        ),
    ] {
        let proxy = before(&server, Plan::down(r#"{"type":"welcome","#, step));
        let client = Program::start(chat_client(&[&proxy.address().to_string(), "-n", "ala"]));
        client.exit().expect_code(1).expect_stderr(why);
    }
}
