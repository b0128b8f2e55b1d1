//! Hostile text from members reaches every kind of screen as text, and no control sequence gets
//! through to disturb the lines around it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use support::client::{chat_client_for, mask_times, piped};
use support::emulation::{Emulation, assert_client_output};
use support::hostile::{HOSTILE, NAMES, assert_printable, typed_messages};
use support::screen::Screen;
use support::{Client, Server, Value, chat_server, json};

/// Columns that fit each message in one row, and rows that fit all messages four times.
const SIZE: (u16, u16) = (160, 330);

/// The reply to `/nonsense`, which shows that the server has handled all earlier lines.
const UNKNOWN: &str =
    "! unknown command /nonsense: /help lists the commands; to say it as text, type //nonsense";

/// A screen with the lines as netcat writes them.
fn netcat<'a>(lines: impl IntoIterator<Item = &'a String>) -> Emulation {
    let mut emulation = Emulation::new(SIZE.0, SIZE.1);
    for line in lines {
        emulation.write(line.as_bytes());
        emulation.write(b"\r\n");
    }
    emulation
}

/// The messages as they arrive, each with `before` in front.
fn lines(before: &str) -> Vec<String> {
    let arrives = typed_messages().into_iter().map(|(_, arrives)| arrives);
    arrives.map(|text| format!("{before}{text}")).collect()
}

/// [`lines`] as the emulation shows them: without U+FFFD, which it does not draw, and without
/// trailing spaces.
fn rows(before: &str) -> Vec<String> {
    let row = |line: String| line.replace('\u{fffd}', "").trim_end().to_owned();
    lines(before).into_iter().map(row).collect()
}

fn send_all(eve: &mut Client, command: &str) {
    for (sent, _) in typed_messages() {
        eve.send(&format!("{command}{sent}"));
    }
}

/// Waits until the server has handled everything `eve` has sent.
#[track_caller]
fn expect_handled(eve: &mut Client) {
    eve.send("/nonsense");
    eve.skip_to(UNKNOWN);
}

/// A member that receives plain lines, a member that receives JSON lines, and the member that sends
/// the hostile messages.
#[track_caller]
fn ala_jan_and_eve(server: &Server) -> [Client; 3] {
    let mut ala = server.join("ala");
    let mut jan = server.join_json_live("jan");
    let eve = server.join("eve");
    ala.expect_all(&["* jan joined", "* eve joined"]);
    jan.expect_json(json!({"type": "joined"}));
    [ala, jan, eve]
}

/// Checks the client's next lines, and that a screen shows exactly them.
#[track_caller]
fn expect_lines(client: &mut Client, expected: &[String]) {
    let got: Vec<String> = expected.iter().map(|_| client.line()).collect();
    assert_eq!(got, expected);
    netcat(&got).expect_only(expected.iter().map(String::as_str));
}

/// The next event of a JSON client; its line must be plain text.
#[track_caller]
fn event(jan: &mut Client) -> Value {
    let line = jan.line();
    assert_printable(&line);
    serde_json::from_str(&line).expect("it is JSON")
}

/// Checks that the next events of a JSON client are all the messages.
#[track_caller]
fn expect_messages(jan: &mut Client) {
    for (_, arrives) in typed_messages() {
        let message = event(jan);
        assert_eq!(message["text"], arrives, "in {message}");
    }
}

#[test]
fn hostile_messages_arrive_as_text_however_they_are_split_into_packets() {
    let server = Server::start(&["--rate", "0"]);
    let [mut ala, mut jan, mut eve] = ala_jan_and_eve(&server);
    for in_pieces in [false, true] {
        for (sent, _) in typed_messages() {
            if in_pieces {
                for byte in format!("{sent}\n").bytes() {
                    eve.send_bytes(&[byte]);
                }
            } else {
                eve.send(&sent);
            }
        }
        expect_lines(&mut ala, &lines("eve: "));
        expect_messages(&mut jan);
    }
}

#[test]
fn hostile_private_messages_reach_sender_and_recipient_only_as_text() {
    let server = Server::start(&["--rate", "0"]);
    let [mut ala, mut jan, mut eve] = ala_jan_and_eve(&server);
    send_all(&mut eve, "/msg ala ");
    send_all(&mut eve, "/msg jan ");
    expect_lines(&mut ala, &lines("[eve] "));
    let sent = [lines("[to ala] "), lines("[to jan] ")].concat();
    expect_lines(&mut eve, &sent);
    expect_messages(&mut jan);
}

#[test]
fn hostile_messages_are_text_in_the_replay_and_in_the_history_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let history = dir.path().join("room.jsonl");
    let history = history.to_str().expect("its name is UTF-8");
    let args = ["--rate", "0", "--replay", "all", "--history", history];
    let server = Server::start(&args);
    let mut eve = server.join("eve");
    send_all(&mut eve, "");
    expect_handled(&mut eve);
    let count = typed_messages().len();
    let expected = [
        vec![format!("* the last {count} messages")],
        lines("eve: "),
        vec!["* end of the past messages".into()],
    ]
    .concat();
    let mut server = Some(server);
    for is_restarted in [false, true] {
        if is_restarted {
            server.take().map(Server::kill);
        }
        let server = server.get_or_insert_with(|| Server::start(&args));
        let mut ala = server.join("ala");
        expect_lines(&mut ala, &expected);
        let mut jan = server.join_json("jan");
        let mut texts = typed_messages()
            .into_iter()
            .map(|(_, arrives)| arrives)
            .peekable();
        while let Some(text) = texts.peek() {
            let event = event(&mut jan);
            if event["type"] == "message" {
                assert_eq!(event["text"], *text, "in {event}");
                texts.next();
            }
        }
    }
    let kept = std::fs::read_to_string(history).expect("the history is UTF-8");
    kept.lines().for_each(assert_printable);
}

#[test]
fn lines_that_are_not_utf8_reach_no_one() {
    let server = Server::start(&["--rate", "0"]);
    let mut ala = server.join("ala");
    let mut eve = server.join("eve");
    ala.expect("* eve joined");
    for bytes in [
        // C1 controls as single bytes, as in ISO 8859.
        &b"\x9b2J"[..],
        b"\x9d0;owned\x9c",
        // A C1 control in UTF-8, split over two lines.
        b"the end \xc2",
        b"\x9b2J is the beginning",
        // Overlong encodings of ESC.
        b"\xc0\x9b[2J",
        b"\xe0\x80\x9b[2J",
        // Half a surrogate pair, and a code point beyond Unicode.
        b"\xed\xa0\x80",
        b"\xf7\xbf\xbf\xbf",
    ] {
        eve.send_bytes(&[bytes, b"\n"].concat());
        eve.expect("! that line is not UTF-8: set your terminal to UTF-8");
    }
    eve.send("that is all");
    ala.expect("eve: that is all");
}

#[test]
fn replies_quote_hostile_input_only_as_text() {
    let server = Server::start(&["--rate", "0"]);
    let mut eve = server.join("eve");
    let mut jan = server.join_json_live("jan");
    eve.expect("* jan joined");
    for (hostile, _) in HOSTILE {
        for line in [
            format!("/{hostile}"),
            format!("/msg {hostile} x"),
            format!("/msg e{hostile}"),
            format!("/nick *{hostile}"),
            format!("/nick x {hostile} x"),
        ] {
            eve.send(&line);
            jan.send(&line);
        }
    }
    eve.send("/nonsense");
    let answers = eve.skip_to(UNKNOWN);
    assert!(answers.len() > 4 * HOSTILE.len(), "{answers:#?}");
    for line in &answers {
        assert_printable(line);
    }
    let screen = netcat(&answers);
    assert_eq!(*screen.requests(), BTreeSet::new());
    jan.send("/nonsense");
    loop {
        let line = jan.line();
        assert_printable(&line);
        if line.contains("/nonsense") {
            break;
        }
    }
}

#[test]
fn hostile_names_and_groups_reach_members_only_as_text() {
    let server = Server::start(&["--replay", "0"]);
    let mut ala = server.join("ala");
    let mut jan = server.join_json_live("jan");
    // Backspace erases what a plain client typed, so it reaches no name.
    let kept = HOSTILE.iter().map(|(hostile, _)| hostile);
    for hostile in kept.filter(|hostile| !hostile.contains('\x08')) {
        for who in [
            format!("e{hostile}e"),
            format!("{hostile}eve"),
            format!("eve {hostile}"),
            format!("eve x{hostile}"),
        ] {
            let mut eve = server.greeted();
            eve.send(&who);
            let answer = eve.line();
            // A link in the group looks like an HTTP request.
            let answer = answer.trim_end_matches('\r');
            assert_printable(answer);
            let is_answer = ["! ", "* welcome, ", "HTTP/1.1 400 "]
                .iter()
                .any(|start| answer.starts_with(start));
            assert!(is_answer, "{answer:?} to {who:?}");
        }
    }
    // The server announces that each eve left before it announces the joins below.
    let mut members = Vec::new();
    for (name, group) in NAMES {
        members.push(server.join(&format!("{name} {group}")));
        let joined = format!("* {name} ({group}) joined");
        ala.skip_to(&joined)
            .iter()
            .for_each(|line| assert_printable(line));
        server.expect_log(&joined);
        loop {
            let event = event(&mut jan);
            if event["name"] == *name && event["group"] == *group {
                break;
            }
        }
    }
    server.stop().stdout.lines().for_each(assert_printable);
}

#[test]
fn hostile_messages_of_the_operator_arrive_as_text() {
    let mut server = Server::start_with_console(&[]);
    let mut ala = server.join("ala");
    for (sent, arrives) in typed_messages() {
        server.type_line(&format!("/say {sent}"));
        ala.expect(format!("* the server: {arrives}").trim_end());
    }
    server.type_line("/kick ala \x1b[2J\u{9b}H\u{202e}");
    ala.expect("! you were kicked: ␛[2J\u{fffd}H");
    let exit = server.stop();
    // The lines for the launcher are control sequences on purpose.
    let log = exit
        .stdout
        .lines()
        .filter(|line| !line.starts_with("\x1b]2;online "));
    log.for_each(assert_printable);
}

#[test]
fn the_operators_terminal_shows_only_text() {
    let log = Screen::start(&chat_server(&["-p", "0", "--rate", "0"]), SIZE.0, SIZE.1);
    let port: u16 = log.wait("a port", |text| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix("listening on 127.0.0.1:")?.parse().ok())
    });
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let join = |who: &str| Client::connect(address).join(who);
    let mut eve = join("eve");
    send_all(&mut eve, "");
    expect_handled(&mut eve);
    let members: Vec<Client> = NAMES
        .iter()
        .map(|(name, group)| join(&format!("{name} {group}")))
        .collect();
    send_all(&mut eve, "/msg 張偉 ");
    eve.send("that is all");
    log.expect("eve: that is all");
    let text = log.text();
    let shown: Vec<&str> = text
        .lines()
        .filter_map(|row| Some(row.split_at_checked("00:00:00 ".len())?.1))
        .filter(|row| !row.ends_with(" connected"))
        .skip_while(|row| *row != "* eve joined")
        .collect();
    let joined = NAMES
        .iter()
        .map(|(name, group)| format!("* {name} ({group}) joined"));
    let mut expected = vec!["* eve joined".to_owned()];
    expected.extend(rows("eve: "));
    expected.extend(joined);
    expected.push("eve: that is all".into());
    assert_eq!(shown, expected, "in:\n{text}");
    let requests = log.requests();
    let expected = [
        "CSI ?1036;1039h",
        "CSI ?1036;1039s",
        "CSI ?2026h",
        "CSI ?2026l",
    ];
    assert!(requests.iter().eq(expected), "{requests:?}");
    assert_client_output(&log.bytes());
    drop(members);
}

#[test]
fn a_client_on_a_terminal_shows_nothing_but_text_above_its_input_line() {
    let server = Server::start(&["--rate", "0", "--replay", "all"]);
    let mut eve = server.join("eve");
    send_all(&mut eve, "");
    expect_handled(&mut eve);
    let mut ala = Screen::start(&chat_client_for(&server, &["-n", "ala"]), SIZE.0, SIZE.1);
    ala.type_keys("begun");
    ala.expect("> begun");
    eve.skip_to("* ala joined");
    send_all(&mut eve, "");
    send_all(&mut eve, "/msg ala ");
    expect_handled(&mut eve);
    let mut members = Vec::new();
    for (name, group) in NAMES {
        let mut member = server.join(&format!("{name} {group}"));
        eve.skip_to(&format!("* {name} ({group}) joined"));
        eve.send(&format!("welcome, {name}"));
        member.skip_to(&format!("eve: welcome, {name}"));
        members.push(member);
    }
    eve.send("that is all");
    ala.expect("eve: that is all");
    let joined = NAMES.iter().flat_map(|(name, group)| {
        let joined = format!("10:00 * {name} ({group}) joined");
        [joined, format!("10:00 eve: welcome, {name}")]
    });
    let expected = [
        vec!["* welcome, ala: 2 online; /help lists the commands".into()],
        rows("10:00 eve: "),
        vec!["--- end of the past messages ---".into()],
        rows("10:00 eve: "),
        rows("10:00 [eve] "),
        joined.collect(),
        vec!["10:00 eve: that is all".into(), "> begun".into()],
    ]
    .concat();
    ala.expect_screen(&expected.join("\n"), mask_times);
    let cursor = ala.inspect(vt100::Screen::cursor_position);
    assert_eq!((usize::from(cursor.0), cursor.1), (expected.len() - 1, 7));
    assert_client_output(&ala.bytes());
    let asked = ala.requests();
    let titles = asked.iter().filter(|asked| asked.starts_with("title"));
    assert!(titles.eq(["title chat - ala"]), "{asked:?}");
    drop(members);
}

#[test]
fn a_piped_client_prints_only_text() {
    let server = Server::start(&["--rate", "0", "--replay", "all"]);
    let mut eve = server.join("eve");
    send_all(&mut eve, "");
    expect_handled(&mut eve);
    let mut ala = piped(&server, &["-n", "ala"]);
    ala.close_stdin();
    let exit = ala.exit().expect_code(0);
    let expected = [
        vec![
            "* welcome, ala: 2 online; /help lists the commands".into(),
            "* the past messages".into(),
        ],
        lines("10:00 eve: "),
        vec!["* end of the past messages".into()],
    ]
    .concat();
    let got: Vec<String> = mask_times(&exit.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(got, expected);
    netcat(&got).expect_only(expected.iter().map(String::as_str));
}
