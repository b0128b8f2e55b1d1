//! Connections that stall, end or are reset in the middle of a line, a character or an event: the
//! reactions of the server and the client.

use std::thread;
use std::time::Duration;

use support::client::chat_client;
use support::proxy::{Plan, Proxy, Step};
use support::screen::Screen;
use support::{GREETING, Program, Server};

/// The beginning of [`WHOLE`], up to the first of the two bytes of ż.
const HALF: &[u8] = b"za\xc5";

/// A message with characters of two bytes.
const WHOLE: &str = "zażółć";

/// A proxy that applies `plan` to its first connection and passes the others on unchanged.
fn proxy_before(server: &Server, plan: Plan) -> Proxy {
    Proxy::start(server.address, vec![plan], Plan::default())
}

/// A client on a terminal that joins as `ala`.
fn ala_on_a_screen(proxy: &Proxy) -> Screen {
    let command = chat_client(&[&proxy.address().to_string(), "-n", "ala"]);
    Screen::start(&command, 70, 12)
}

#[test]
fn a_line_that_stalls_within_a_character_blocks_no_one_and_arrives_whole() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let proxy = proxy_before(&server, Plan::up(HALF, Step::Stall));
    let mut ala = proxy.connect().join("ala");
    ola.expect("* ala joined");
    ala.send(WHOLE);
    proxy.expect_stalled();
    ola.send("meanwhile");
    ala.expect("ola: meanwhile");
    ola.send("/online");
    ola.expect("* 2 online: ola, ala");
    proxy.resume();
    ola.expect("ala: zażółć");
}

#[test]
fn a_name_whose_end_arrives_after_the_greeting_is_read_as_one_name() {
    let server = Server::start(&[]);
    for name in ["ala", "ąla"] {
        // For ą this is the first of its two bytes.
        let pause = Step::Pause(Duration::from_millis(50));
        let proxy = proxy_before(&server, Plan::up(&name.as_bytes()[..1], pause));
        let mut ala = proxy.connect();
        ala.send(name);
        ala.expect(GREETING);
        ala.expect_start(&format!("* welcome, {name}: "));
    }
}

#[test]
fn a_line_cut_off_by_a_reset_is_not_delivered() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    for half in [&b"hal"[..], HALF, b"half\r", b"/msg ola hal", b"/nick e"] {
        let first_part = [b"before\n", half].concat();
        let proxy = proxy_before(&server, Plan::up(first_part, Step::Reset));
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
fn a_name_cut_off_by_a_reset_joins_no_one() {
    for half in ["al", "/json al", "ala\r", "/resume "] {
        let server = Server::start(&[]);
        let mut ola = server.join("ola");
        let proxy = proxy_before(&server, Plan::up(half, Step::Reset));
        let mut ala = proxy.connect();
        ala.send(&format!("{half}a"));
        server.expect_log("left before joining");
        ola.send("/online");
        ola.expect("* 1 online: ola");
    }
}

#[test]
fn a_last_line_without_a_newline_is_accepted_unless_cut_mid_character() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let proxy = proxy_before(&server, Plan::up("hal", Step::Close));
    let mut ala = proxy.connect().join("ala");
    ala.send("half");
    ola.expect_all(&["* ala joined", "ala: hal", "* ala left"]);
    ala.expect_end();

    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let proxy = proxy_before(&server, Plan::up(HALF, Step::Close));
    let mut ala = proxy.connect().join("ala");
    ala.send(WHOLE);
    ola.expect_all(&["* ala joined", "* ala left"]);
    // The other direction stays open until the server closes it.
    ala.expect("! that line is not UTF-8: set your terminal to UTF-8");
    ala.expect_end();
}

#[test]
fn an_event_cut_off_in_transit_is_shown_once_after_reconnecting() {
    let cut_points: [&[u8]; 5] = [
        HALF,
        // Between two fields, before a number, after a backslash, and before the line ending.
        br#""from":"ola","#,
        br#"{"type":"message","seq":"#,
        br"\",
        br#"\""}"#,
    ];
    // In parallel, as each client waits for a second before it reconnects.
    thread::scope(|scope| {
        for cut_point in cut_points {
            for step in [Step::Reset, Step::Close] {
                scope.spawn(|| cut_after(cut_point, step));
            }
        }
    });
}

/// Cuts the connection after `cut_point` in a message, and expects the message to be shown once.
#[track_caller]
fn cut_after(cut_point: &[u8], step: Step) {
    let case = format!("{step:?} after {}", String::from_utf8_lossy(cut_point));
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let proxy = proxy_before(&server, Plan::down(cut_point, step));
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
fn a_message_cut_off_in_transit_is_reported_as_not_sent() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let proxy = proxy_before(&server, Plan::up(HALF, Step::Reset));
    let mut ala = ala_on_a_screen(&proxy);
    ala.expect("* welcome, ala");
    ala.type_keys(&format!("first\r{WHOLE}\r"));
    ala.expect("connected again as ala");
    ala.expect(&format!("! this was not sent: {WHOLE}"));
    ala.type_keys("second\r");
    let received = ola.skip_to("ala: second");
    let messages: Vec<&String> = received
        .iter()
        .filter(|line| !line.starts_with('*'))
        .collect();
    assert_eq!(messages, ["ala: first"]);
}

#[test]
fn a_piped_client_that_is_cut_off_within_an_event_does_not_show_it_and_fails() {
    for (step, why) in [
        (Step::Reset, "the connection is lost (connection reset)"),
        (Step::Close, "the server closed the connection"),
    ] {
        let server = Server::start(&[]);
        let mut ola = server.join("ola");
        let proxy = proxy_before(&server, Plan::down(HALF, step));
        let client = Program::start(chat_client(&[&proxy.address().to_string(), "-n", "ala"]));
        ola.expect("* ala joined");
        ola.send("whole");
        ola.send(WHOLE);
        let exit = client.exit().expect_code(1).expect_stderr(why);
        assert!(exit.stdout.ends_with("ola: whole\n"), "{exit:?}");
    }
}

#[test]
fn a_welcome_cut_off_in_transit_fails_the_login_with_a_reason() {
    for (step, why) in [
        (Step::Reset, "did not complete the login (connection reset)"),
        (
            Step::Close,
            "closed the connection before the login was complete",
        ),
    ] {
        // Each case has its own server, because the name is taken until the server notices that the
        // connection has ended.
        let server = Server::start(&[]);
        let proxy = proxy_before(&server, Plan::down(r#"{"type":"welcome","#, step));
        let client = Program::start(chat_client(&[&proxy.address().to_string(), "-n", "ala"]));
        client.exit().expect_code(1).expect_stderr(why);
    }
}
