//! Whatever members send, on whatever way it comes to a screen, that shows it as text, and the lines around it are whole.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use support::emulation::{Emulation, controls, expect_window};
use support::hostile::{HOSTILE, NAMES, assert_text, messages};
use support::screen::Screen;
use support::window::{at_ten, chat_client};
use support::{Client, GREETING, Program, Server, Value, chat_server, json};

/// Wide enough for each message in one row, and high enough for all of them four times.
const SIZE: (u16, u16) = (160, 330);

/// The answer that tells that all before it was taken.
const UNKNOWN: &str =
    "! unknown command /nonsense: /help lists the commands; to say it as text, type //nonsense";

/// A screen to which these lines come as netcat writes them.
fn netcat<'a>(lines: impl IntoIterator<Item = &'a String>) -> Emulation {
    let mut emulation = Emulation::new(SIZE.0, SIZE.1);
    for line in lines {
        emulation.write(line.as_bytes());
        emulation.write(b"\r\n");
    }
    emulation
}

/// What each message becomes, with `before` in front of it.
fn lines(before: &str) -> Vec<String> {
    let arrives = messages().into_iter().map(|(_, arrives)| arrives);
    arrives.map(|text| format!("{before}{text}")).collect()
}

/// Those lines as the emulation shows them, which has no picture of U+FFFD and no blanks at an end.
fn rows(before: &str) -> Vec<String> {
    let row = |line: String| line.replace('\u{fffd}', "").trim_end().to_owned();
    lines(before).into_iter().map(row).collect()
}

fn say_all(eve: &mut Client, command: &str) {
    for (sent, _) in messages() {
        eve.send(&format!("{command}{sent}"));
    }
}

/// Waits until the server has taken all that this one has said.
#[track_caller]
fn expect_taken(eve: &mut Client) {
    eve.send("/nonsense");
    eve.skip_to(UNKNOWN);
}

/// Members that get plain lines and JSON lines, and one who has something to say.
#[track_caller]
fn ala_jan_and_eve(server: &Server) -> [Client; 3] {
    let mut ala = server.join("ala");
    let mut jan = server.join_json_live("jan");
    let eve = server.join("eve");
    ala.expect_all(&["* jan joined", "* eve joined"]);
    jan.expect_json(json!({"type": "joined"}));
    [ala, jan, eve]
}

/// The next lines are these, as netcat's screen shows them, too.
#[track_caller]
fn expect_lines(client: &mut Client, expected: &[String]) {
    let got: Vec<String> = expected.iter().map(|_| client.line()).collect();
    assert_eq!(got, expected);
    netcat(&got).expect_only(expected.iter().map(String::as_str));
}

/// The next event of a JSON client, which came as text.
#[track_caller]
fn event(jan: &mut Client) -> Value {
    let line = jan.line();
    assert_text(&line);
    serde_json::from_str(&line).expect("it is JSON")
}

/// The next events of a JSON client are all messages, as they arrive.
#[track_caller]
fn expect_messages(jan: &mut Client) {
    for (_, arrives) in messages() {
        let message = event(jan);
        assert_eq!(message["text"], arrives, "in {message}");
    }
}

#[test]
fn what_is_said_comes_to_a_socket_as_text_however_it_was_cut_into_packets() {
    let server = Server::start(&["--rate", "0"]);
    let [mut ala, mut jan, mut eve] = ala_jan_and_eve(&server);
    for in_pieces in [false, true] {
        for (sent, _) in messages() {
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
fn what_is_said_in_private_is_text_on_both_sides() {
    let server = Server::start(&["--rate", "0"]);
    let [mut ala, mut jan, mut eve] = ala_jan_and_eve(&server);
    say_all(&mut eve, "/msg ala ");
    say_all(&mut eve, "/msg jan ");
    expect_lines(&mut ala, &lines("[eve] "));
    let sent = [lines("[to ala] "), lines("[to jan] ")].concat();
    expect_lines(&mut eve, &sent);
    expect_messages(&mut jan);
}

#[test]
fn what_was_said_is_text_when_it_is_shown_again_and_in_the_history() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let history = folder.path().join("room.jsonl");
    let history = history.to_str().expect("its name is UTF-8");
    let args = ["--rate", "0", "--replay", "all", "--history", history];
    let server = Server::start(&args);
    let mut eve = server.join("eve");
    say_all(&mut eve, "");
    expect_taken(&mut eve);
    let count = messages().len();
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
        let mut texts = messages()
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
    kept.lines().for_each(assert_text);
}

#[test]
fn bytes_that_are_not_utf8_reach_nobody() {
    let server = Server::start(&["--rate", "0"]);
    let mut ala = server.join("ala");
    let mut eve = server.join("eve");
    ala.expect("* eve joined");
    for bytes in [
        // C1 controls as they are outside UTF-8.
        &b"\x9b2J"[..],
        b"\x9d0;owned\x9c",
        // One inside UTF-8, split over two messages.
        b"the end \xc2",
        b"\x9b2J is the beginning",
        // ESC, in more bytes than it takes.
        b"\xc0\x9b[2J",
        b"\xe0\x80\x9b[2J",
        // Half a surrogate pair, and what is beyond Unicode.
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
fn no_answer_brings_back_what_it_answers_but_as_text() {
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
    answers.iter().for_each(|line| assert_text(line));
    let screen = netcat(&answers);
    assert_eq!(*screen.asked(), BTreeSet::new());
    jan.send("/nonsense");
    loop {
        let line = jan.line();
        assert_text(&line);
        if line.contains("/nonsense") {
            break;
        }
    }
}

#[test]
fn no_name_and_no_group_brings_anything_but_text() {
    let server = Server::start(&["--replay", "0"]);
    let mut ala = server.join("ala");
    let mut jan = server.join_json_live("jan");
    for (hostile, _) in HOSTILE {
        for who in [
            format!("e{hostile}e"),
            format!("{hostile}eve"),
            format!("eve {hostile}"),
            format!("eve x{hostile}"),
        ] {
            let mut eve = server.greeted();
            eve.send(&who);
            let answer = eve.line();
            assert_text(&answer);
            let is_answer = answer.starts_with("! ") || answer.starts_with("* welcome, ");
            assert!(is_answer, "{answer:?} to {who:?}");
        }
    }
    // It is known that they left when the next one joins.
    let mut members = Vec::new();
    for (name, group) in NAMES {
        members.push(server.join(&format!("{name} {group}")));
        let joined = format!("* {name} ({group}) joined");
        ala.skip_to(&joined)
            .iter()
            .for_each(|line| assert_text(line));
        server.expect_log(&joined);
        loop {
            let event = event(&mut jan);
            if event["name"] == *name && event["group"] == *group {
                break;
            }
        }
    }
    server.stop().stdout.lines().for_each(assert_text);
}

#[test]
fn what_the_operator_says_reaches_everybody_as_text() {
    let mut server = Server::start_with_console(&[]);
    let mut ala = server.join("ala");
    for (sent, arrives) in messages() {
        server.type_line(&format!("/say {sent}"));
        ala.expect(format!("* the server: {arrives}").trim_end());
    }
    server.type_line("/kick ala \x1b[2J\u{9b}H\u{202e}");
    ala.expect("! you were kicked: ␛[2J\u{fffd}H");
    let exit = server.stop();
    // What its launcher is told is no text.
    let log = exit
        .stdout
        .lines()
        .filter(|line| !line.starts_with("\x1b]2;online "));
    log.for_each(assert_text);
}

#[test]
fn the_operators_terminal_shows_text() {
    let log = Screen::start(&chat_server(&["-p", "0", "--rate", "0"]), SIZE.0, SIZE.1);
    let port: u16 = log.wait("a port", |text| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix("listening on 127.0.0.1:")?.parse().ok())
    });
    let join = |who: &str| {
        let mut client = Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        client.send(who);
        client.expect(GREETING);
        client.expect_start("* welcome, ");
        client
    };
    let mut eve = join("eve");
    say_all(&mut eve, "");
    expect_taken(&mut eve);
    let members: Vec<Client> = NAMES
        .iter()
        .map(|(name, group)| join(&format!("{name} {group}")))
        .collect();
    say_all(&mut eve, "/msg 張偉 ");
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
    assert_eq!(log.asked(), BTreeSet::new());
    let besides = controls(&log.bytes());
    assert!(
        besides.iter().eq([r"\n", r"\r", r"\u{1b}[m"]),
        "{besides:?}"
    );
    drop(members);
}

#[test]
fn a_client_on_a_terminal_shows_text_and_its_line_stays_below_it() {
    let server = Server::start(&["--rate", "0", "--replay", "all"]);
    let mut eve = server.join("eve");
    say_all(&mut eve, "");
    expect_taken(&mut eve);
    let mut ala = Screen::start(&chat_client(&server, &["-n", "ala"]), SIZE.0, SIZE.1);
    ala.type_keys("begun");
    ala.expect("> begun");
    eve.skip_to("* ala joined");
    say_all(&mut eve, "");
    say_all(&mut eve, "/msg ala ");
    expect_taken(&mut eve);
    let mut members = Vec::new();
    for (name, group) in NAMES {
        members.push(server.join(&format!("{name} {group}")));
    }
    eve.skip_to(&format!("* {} ({}) joined", NAMES[5].0, NAMES[5].1));
    eve.send("that is all");
    ala.expect("eve: that is all");
    let names = NAMES
        .iter()
        .map(|(name, group)| format!("{name} ({group})"));
    let expected = [
        vec!["* welcome, ala: 2 online; /help lists the commands".into()],
        rows("10:00 eve: "),
        vec!["--- end of the past messages ---".into()],
        rows("10:00 eve: "),
        rows("10:00 [eve] "),
        vec![
            format!("10:00 * {} joined", names.collect::<Vec<_>>().join(", ")),
            "10:00 eve: that is all".into(),
            "> begun".into(),
        ],
    ]
    .concat();
    ala.expect_screen(&expected.join("\n"), at_ten);
    let cursor = ala.look(vt100::Screen::cursor_position);
    assert_eq!((usize::from(cursor.0), cursor.1), (expected.len() - 1, 7));
    expect_window(&ala.bytes());
    let asked = ala.asked();
    let titles = asked.iter().filter(|asked| asked.starts_with("title"));
    assert!(titles.eq(["title chat - ala"]), "{asked:?}");
    drop(members);
}

#[test]
fn a_client_in_a_pipe_brings_text() {
    let server = Server::start(&["--rate", "0", "--replay", "all"]);
    let mut eve = server.join("eve");
    say_all(&mut eve, "");
    expect_taken(&mut eve);
    let ala = Program::start(chat_client(&server, &["-n", "ala"]));
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
    let got: Vec<String> = at_ten(&exit.stdout).lines().map(str::to_owned).collect();
    assert_eq!(got, expected);
    netcat(&got).expect_only(expected.iter().map(String::as_str));
}
