//! The client against a malicious server: it prints only text, its memory stays bounded, its error
//! says why it ended, and the terminal is restored.

#![cfg(target_os = "linux")] // What a client uses is read from /proc.

use std::fs::File;
use std::io::Write;
use std::thread;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rustix::process::{Pid, kill_process};
use support::client::{FakeServer, WELCOME, chat_client, mask_times};
use support::hostile::{HOSTILE, messages};
use support::screen::Screen;
use support::test_client::{OUTPUTS, Output, TestClient, UnreadClient, peak_memory};
use support::{Client, Program, Signal, Value, json, wait_until};

/// Limit for a client's memory during a flood, in KiB.
const MAX_MEMORY: u64 = 24 * 1024;

const TIME: &str = "2026-01-31T10:00:00Z";

/// One event of each type.
fn events() -> Vec<Value> {
    let ola = json!({"id": 3, "name": "ola", "group": "3ID12"});
    vec![
        json!({"type": "message", "seq": 1, "time": TIME, "id": 3, "from": "ola", "text": "hi"}),
        json!({"type": "joined", "seq": 2, "time": TIME, "id": 3, "name": "ola", "group": "3ID12"}),
        json!({"type": "left", "seq": 3, "time": TIME, "id": 3, "name": "ola", "reason": "too slow"}),
        json!({"type": "renamed", "seq": 4, "time": TIME, "id": 3, "from": "ola", "to": "ula"}),
        json!({"type": "server", "seq": 5, "time": TIME, "text": "hi"}),
        json!({"type": "private", "time": TIME, "id": 3, "from": "ola", "text": "psst"}),
        json!({"type": "private", "time": TIME, "id": 3, "to": "ola", "text": "psst"}),
        json!({"type": "online", "count": 1, "members": [ola]}),
        json!({"type": "help", "lines": ["one", "two"]}),
        json!({"type": "error", "text": "no"}),
        json!({"type": "notice", "text": "so"}),
        json!({"type": "welcome", "room": "r", "token": "t", "id": 7, "name": "ala", "count": 1, "online": [ola], "seq": 0}),
    ]
}

fn message(seq: u64, id: u64, from: &str, text: &str) -> Value {
    json!({"type": "message", "seq": seq, "time": TIME, "id": id, "from": from, "text": text})
}

fn joined(id: u64, name: &str) -> Value {
    json!({"type": "joined", "seq": 1, "time": TIME, "id": id, "name": name})
}

fn left(id: u64, name: &str) -> Value {
    json!({"type": "left", "seq": 1, "time": TIME, "id": id, "name": name})
}

fn renamed(id: u64, from: &str, to: &str) -> Value {
    json!({"type": "renamed", "seq": 1, "time": TIME, "id": id, "from": from, "to": to})
}

fn notice(text: &str) -> Value {
    json!({"type": "notice", "text": text})
}

// Servers that close the connection.

/// A server's behavior, and part of the error that the client reports for it.
type Attack = (fn(Client), &'static str);

#[test]
fn a_failed_login_is_reported_with_its_cause() {
    let attacks: &[Attack] = &[
        (
            drop,
            "closed the connection before the login was complete: is it a `chat-server`?",
        ),
        (Client::reset, "is it a `chat-server`?"),
        (
            |mut server| {
                server.send_bytes(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            },
            "before the login was complete: is it a `chat-server`?",
        ),
        (
            |mut server| {
                server.send_bytes(
                    b"SSH-2.0-OpenSSH_9.2\r\n\x00\x00\x01\x0c\x0a\x14\xff\xfe\x9b2J\x1b[2J",
                );
            },
            "before the login was complete: is it a `chat-server`?",
        ),
        (
            |mut server| server.send_bytes(&WELCOME.as_bytes()[..60]),
            "before the login was complete: is it a `chat-server`?",
        ),
        (
            |mut server| {
                server.send(r#"{"type":"message","seq":1,"time":"2026-01-31T10:00:00Z","id":3,"from":"ola","text":"too early"}"#);
            },
            "before the login was complete: is it a `chat-server`?",
        ),
        (
            |mut server| server.send("{\"type\":\"error\",\"text\":\"\\u001b[2Jno\\u009b\"}"),
            "error: ␛[2Jno\u{fffd}",
        ),
        (
            |mut server| server.send("! \x1b]0;no\u{9b}"),
            "error: ␛]0;no\u{fffd}",
        ),
        (
            |server| endless(&server, b"{\"type\":\""),
            "sends a line that does not end: is it a `chat-server`?",
        ),
        (
            |server| endless(&server, b"no JSON "),
            "sends a line that does not end: is it a `chat-server`?",
        ),
    ];
    let fake = FakeServer::new();
    for output in OUTPUTS {
        for (at, (attack, error)) in attacks.iter().enumerate() {
            let client = TestClient::start(output, &fake);
            let mut server = fake.accept();
            server.expect("/json ala");
            attack(server);
            let wrote = client.end(1);
            assert!(wrote.contains(error), "{output:?}, {at}: {wrote:?}");
            assert!(!wrote.contains("too early"), "{wrote:?}");
        }
    }
}

#[test]
fn a_connection_that_ends_after_login_is_reported() {
    let closed = "error: the server closed the connection: start chat-client again to come back";
    let over_1_mib = "error: the server sends a line of over 1 MiB: it is not a chat-server";
    let attacks: &[Attack] = &[
        (drop, closed),
        (
            |mut server| server.send_bytes(b"{\"type\":\"notice\",\"text\":\"half"),
            closed,
        ),
        (
            Client::reset,
            "error: the connection is lost (connection reset): start chat-client again",
        ),
        (
            |server| endless(&server, b"{\"type\":\"notice\",\"text\":\""),
            over_1_mib,
        ),
        (|server| endless(&server, b"no JSON "), over_1_mib),
        (|server| endless(&server, b"\x1b]0;\xff"), over_1_mib),
        (
            |mut server| server.send(&"x".repeat(1024 * 1024 + 1)),
            over_1_mib,
        ),
    ];
    let fake = FakeServer::new();
    for output in OUTPUTS {
        for (at, (attack, error)) in attacks.iter().enumerate() {
            let mut client = TestClient::start(output, &fake);
            let server = fake.accept_login();
            client.expect("welcome");
            attack(server);
            let wrote = client.end(1);
            assert!(wrote.contains(error), "{output:?}, {at}: {wrote:?}");
        }
    }
}

/// Sends `bytes` without a line ending until the client closes the connection. Fails if the client
/// reads more than 64 MiB.
fn endless(server: &Client, bytes: &[u8]) {
    const LIMIT: usize = 64 * 1024 * 1024;
    let chunk = bytes.repeat(64 * 1024 / bytes.len());
    let mut sent = 0;
    while sent < LIMIT && server.socket().write(&chunk).is_ok() {
        sent += chunk.len();
    }
    assert!(sent < LIMIT, "the client read a line of {sent} bytes");
}

#[test]
fn a_login_that_never_completes_times_out() {
    fn expect_given_up(client: TestClient) {
        let wrote = client.end(1);
        let error = "did not complete the login (timed out): is it a `chat-server`?";
        assert!(wrote.contains(error), "{wrote:?}");
    }
    let (silent, talking) = (FakeServer::new(), FakeServer::new());
    thread::scope(|scope| {
        for output in OUTPUTS {
            let client = TestClient::start(output, &silent);
            let server = silent.accept();
            scope.spawn(move || {
                expect_given_up(client);
                drop(server);
            });
            let client = TestClient::start(output, &talking);
            let server = talking.accept();
            scope.spawn(move || {
                // Write until the client closes the connection.
                while server
                    .socket()
                    .write_all(b"* wait\n{\"type\":\"notice\",\"text\":\"wait\"}\n{\"type\":\n")
                    .is_ok()
                {
                    thread::sleep(Duration::from_millis(50));
                }
            });
            scope.spawn(move || expect_given_up(client));
        }
    });
}

// Servers that send malformed or hostile events.

#[test]
fn hostile_event_text_is_shown_with_control_characters_replaced() {
    let fake = FakeServer::new();
    let ala = Screen::start(&chat_client(&[&fake.address(), "-n", "ala"]), 160, 500);
    let mut window = fake.accept_login();
    let pipe = fake.piped();
    let mut piped = fake.accept_login();
    let mut lines = String::new();
    let mut expected = vec!["* welcome, ala: 1 online; /help lists the commands".to_owned()];
    for (seq, (sent, arrives)) in (1..).zip(messages()) {
        for (event, shown) in [
            (
                json!({"type": "message", "seq": seq, "time": TIME, "id": 3, "from": sent, "text": sent}),
                format!("10:00 {arrives}: {arrives}"),
            ),
            (
                json!({"type": "renamed", "seq": seq, "time": TIME, "id": 3, "from": sent, "to": "x"}),
                format!("10:00 * {arrives} is now x"),
            ),
            (
                json!({"type": "server", "seq": seq, "time": TIME, "text": sent}),
                format!("10:00 * the server: {arrives}"),
            ),
            (
                json!({"type": "private", "time": TIME, "id": 3, "from": sent, "text": sent}),
                format!("10:00 [{arrives}] {arrives}"),
            ),
            (
                json!({"type": "notice", "text": sent}),
                format!("* {arrives}"),
            ),
        ] {
            lines += &format!("{event}\n");
            expected.push(shown);
        }
    }
    lines += "{\"type\":\"notice\",\"text\":\"that is all\"}\n";
    expected.push("* that is all".into());
    for server in [&mut window, &mut piped] {
        server.send_bytes(lines.as_bytes());
    }
    pipe.expect_stdout("* that is all");
    // The events are from a day in the past, so a line with the date may precede them.
    let is_day = |line: &str| line.starts_with("* 20") || line.starts_with("--- ");
    let shown = mask_times(&pipe.stdout());
    let shown: Vec<&str> = shown.lines().filter(|line| !is_day(line)).collect();
    assert_eq!(shown, expected);

    ala.expect("* that is all");
    let text = mask_times(&ala.text());
    let shown: Vec<&str> = text
        .trim_end()
        .lines()
        .filter(|line| !is_day(line))
        .collect();
    let mut expected: Vec<String> = expected
        .iter()
        .map(|line| line.replace('\u{fffd}', "").trim_end().to_owned())
        .map(|line| line.replace("10:00 * the server:", "10:00 *** the server:"))
        .collect();
    expected.push(">".into());
    assert_eq!(shown, expected);
    let cursor = ala.inspect(vt100::Screen::cursor_position);
    assert_eq!(
        (usize::from(cursor.0), cursor.1),
        (text.trim_end().lines().count() - 1, 2)
    );
}

#[test]
fn hostile_text_in_any_field_is_shown_only_as_text() {
    let fake = FakeServer::new();
    for output in OUTPUTS {
        let mut client = TestClient::start(output, &fake);
        let mut server = fake.accept();
        server.expect("/json ala");
        server.send(&format!(
            "* \x1b[2J\u{9b}2J{}\n! \x1b[2J\u{9b}2J",
            HOSTILE[0].0
        ));
        let name: String = HOSTILE.iter().map(|(sent, _)| *sent).collect();
        server.send(&WELCOME.replace("\"ala\"", &json!(name).to_string()));
        for (sent, _) in HOSTILE {
            for mut event in events() {
                replace_texts(&mut event, sent);
                server.send(&event.to_string());
                // Raw, not escaped as in JSON.
                server.send(&format!("{{\"type\":\"notice\",\"text\":\"{sent}\"}}"));
                server.send(&format!("! {sent}\n{sent}"));
            }
        }
        server.send(&notice("that is all").to_string());
        client.expect("* that is all");
        drop(server);
        client.end(1);
    }
}

/// Replaces every string except those of `type` and `time`.
fn replace_texts(value: &mut Value, text: &str) {
    match value {
        Value::String(old) => text.clone_into(old),
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| replace_texts(value, text)),
        Value::Object(fields) => {
            for (name, value) in fields {
                if name != "type" && name != "time" {
                    replace_texts(value, text);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn json_fields_that_are_missing_or_of_the_wrong_type_do_not_affect_later_events() {
    let wrong: Vec<String> = [
        "null",
        "true",
        "-1",
        "1.5",
        "1e400",
        "18446744073709551616",
        "\"x\"",
        "\"\"",
        "[]",
        "{}",
        "[null]",
        "[[1,2]]",
        "{\"id\":{}}",
        "\"\\ud800\"",
        "\"-009999-01-01T00:00:00Z\"",
        "\"9999-12-30T23:59:59Z\"",
        "nul",
        "",
    ]
    .iter()
    .map(|wrong| (*wrong).to_owned())
    .chain([
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        "9".repeat(100_000),
    ])
    .collect();
    let mut lines = String::new();
    for event in events() {
        let fields = event.as_object().unwrap();
        for name in fields.keys() {
            let others = fields.iter().filter(|(other, _)| *other != name);
            let others: Vec<String> = others
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect();
            let others = others.join(",");
            lines += &format!("{{{others}}}\n");
            for wrong in &wrong {
                lines += &format!("{{{others},\"{name}\":{wrong}}}\n");
            }
            lines += &format!("{{{others},\"{name}\":1,\"{name}\":2}}\n");
        }
    }
    lines += "{\"type\":\"notice\",\"text\":\"that is all\"}\n";
    let fake = FakeServer::new();
    for output in OUTPUTS {
        let mut client = TestClient::start(output, &fake);
        let mut server = fake.accept_login();
        server.send_bytes(lines.as_bytes());
        client.expect("* that is all");
        drop(server);
        client.end(1);
    }
}

#[test]
fn events_out_of_order_are_shown_in_the_order_of_arrival() {
    let past = |mut event: Value| {
        event["replay"] = true.into();
        event
    };
    let mut late = message(7, 3, "ola", "late");
    late["time"] = "9999-12-30T21:59:59Z".into();
    let mut early = message(7, 3, "ola", "early");
    early["time"] = "-009999-01-02T02:00:00Z".into();
    let lines: Vec<String> = [
        message(9, 3, "ola", "before they joined"),
        joined(3, "ola"),
        joined(3, "ola"),
        message(2, 3, "ola", "back"),
        message(2, 3, "ola", "and again"),
        message(0, 3, "ola", "nothing"),
        message(u64::MAX, u64::MAX, "ola", "everything"),
        left(99, "nobody"),
        left(3, "ola"),
        left(3, "ola"),
        renamed(98, "nobody", "somebody"),
        renamed(7, "ala", ""),
        renamed(7, "", "ola"),
        left(7, "ola"),
        joined(7, "ola"),
        past(message(3, 3, "ola", "past")),
        message(4, 3, "ola", "live"),
        past(message(5, 3, "ola", "past again")),
        past(left(3, "ola")),
        late,
        early,
        json!({"type": "private", "time": TIME, "id": 7, "from": "ola", "text": "to oneself"}),
        json!({"type": "private", "time": TIME, "id": 7, "to": "ola", "text": "never said"}),
        json!({"type": "online", "count": u64::MAX, "members": []}),
        serde_json::from_str(WELCOME).unwrap(),
        notice("that is all"),
    ]
    .iter()
    .map(Value::to_string)
    .collect();
    let fake = FakeServer::new();
    for output in OUTPUTS {
        let mut client = TestClient::start(output, &fake);
        let mut server = fake.accept_login();
        server.send(&lines.join("\n"));
        for text in [
            "before they joined",
            "back",
            "and again",
            "everything",
            "live",
            "past again",
            "late",
            "early",
            "* that is all",
        ] {
            client.expect(text);
        }
        // Events after a shutdown do no harm, and neither does a second shutdown.
        let shutdown = json!({"type": "shutdown", "seq": 8, "time": TIME}).to_string();
        server.send(
            &[
                &shutdown,
                &message(9, 3, "ola", "after the end").to_string(),
                &shutdown,
            ]
            .map(String::as_str)
            .join("\n"),
        );
        client.expect("after the end");
        drop(server);
        client.end(0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn random_bytes_reach_the_screen_only_as_text(lines in vec(any_line(), 0..40), output in select(OUTPUTS.to_vec())) {
        let fake = FakeServer::new();
        let mut client = TestClient::start(output, &fake);
        let mut server = fake.accept_login();
        server.send_bytes(&lines.join(&b'\n'));
        server.send("\n{\"type\":\"notice\",\"text\":\"that is all\"}");
        client.expect("* that is all");
        drop(server);
        client.end(1);
    }
}

/// Random bytes, events with a few bytes changed, or events with random text.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let any_event = || select(events());
    let changed =
        (any_event(), vec((any::<Index>(), any::<u8>()), 0..4)).prop_map(|(event, changes)| {
            let mut line = event.to_string().into_bytes();
            for (at, byte) in changes {
                let at = at.index(line.len());
                line[at] = byte;
            }
            line
        });
    let text = prop_oneof![
        "\\PC{0,20}",
        select(HOSTILE).prop_map(|(sent, _)| sent.to_owned()),
        vec(any::<char>(), 0..20).prop_map(String::from_iter)
    ];
    let with_text = (any_event(), text).prop_map(|(mut event, text)| {
        replace_texts(&mut event, &text);
        event.to_string().into_bytes()
    });
    prop_oneof![vec(any::<u8>(), 0..200), changed, with_text]
}

// Floods.

/// A name, a number of events, and the event for each number.
type Flood<'a> = (&'static str, u64, &'a (dyn Fn(u64) -> Value + Sync));

#[test]
fn the_clients_memory_stays_bounded_during_floods() {
    let long = |bytes: usize| "x".repeat(bytes);
    let floods: &[Flood] = &[
        ("long messages", 60, &|n| {
            message(n, 3, "ola", &long(240_000))
        }),
        // DEL is shown as U+2421, which takes three bytes instead of one.
        ("messages that get longer", 10, &|n| {
            message(n, 3, "ola", &"\x7f".repeat(160_000))
        }),
        ("100,000 who join", 100_000, &|n| {
            joined(n, &format!("ola{n}"))
        }),
        ("long names", 300, &|n| {
            joined(n, &format!("{n}{}", long(60_000)))
        }),
        ("messages of others", 50_000, &|n| {
            message(n, n, &format!("ola{n}"), "")
        }),
        ("renames", 50_000, &|n| {
            renamed(n, "ola", &format!("ola{n}"))
        }),
        ("long lists of members", 12, &|_| {
            let ola = json!({"id": 1, "name": ""});
            json!({"type": "online", "count": 1, "members": vec![ola; 50_000]})
        }),
        (
            "long lists of commands",
            10,
            &|_| json!({"type": "help", "lines": vec![""; 100_000]}),
        ),
        (
            "long nonsense",
            10,
            &|_| json!({"type": "notice", "text": [long(240_000)]}),
        ),
    ];
    thread::scope(|scope| {
        for output in OUTPUTS {
            scope.spawn(move || {
                for (what, count, event) in floods {
                    let fake = FakeServer::new();
                    let mut client = UnreadClient::start(output, &fake);
                    let written = client.read();
                    let mut server = fake.accept_login();
                    for n in 0..*count {
                        server.send_bytes(format!("{}\n", event(n)).as_bytes());
                    }
                    server.send(&notice("that is all").to_string());
                    wait_until("all is shown", || {
                        let end = written.lock().unwrap();
                        String::from_utf8_lossy(&end)
                            .contains("* that is all")
                            .then_some(())
                    });
                    let peak = peak_memory(client.child.id());
                    assert!(peak < MAX_MEMORY, "{what}, {output:?}: {peak} KiB");
                    drop(server);
                    assert_eq!(client.end(), Some(1));
                }
            });
        }
    });
}

/// Sends notices until the client has read nothing for 2 s.
fn flood_until_unread(server: &Client) {
    let chunk = "{\"type\":\"notice\",\"text\":\"a flood\"}\n".repeat(1000);
    let mut socket = server.socket();
    socket
        .set_write_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let mut sent = 0;
    while let Ok(taken @ 1..) = socket.write(chunk.as_bytes()) {
        sent += taken;
        assert!(sent < 64 * 1024 * 1024, "the client never stops reading");
    }
}

#[test]
fn a_client_with_blocked_output_stops_reading_and_can_be_ended() {
    for (output, keys) in [
        (Output::Pipe, None),
        (Output::Terminal, None),
        // Keys are read even while the output is blocked.
        (Output::Terminal, Some("what was being typed meanwhile\x03")),
    ] {
        let fake = FakeServer::new();
        let mut client = UnreadClient::start(output, &fake);
        let server = fake.accept_login();
        flood_until_unread(&server);
        let peak = peak_memory(client.child.id());
        assert!(peak < MAX_MEMORY, "{output:?}: {peak} KiB");
        match keys {
            Some(keys) => client.press(keys),
            None => kill_process(Pid::from_child(&client.child), Signal::TERM).unwrap(),
        }
        assert_eq!(client.end(), Some(0), "{output:?}");
    }
}

// Leaving.

#[test]
fn the_user_can_leave_a_silent_refusing_or_flooding_server() {
    type Behavior = fn(&FakeServer) -> Client;
    let behaviors: [(&str, Behavior); 5] = [
        ("says nothing", |fake| fake.accept()),
        ("says half a welcome", |fake| {
            let mut server = fake.accept();
            server.send_bytes(&WELCOME.as_bytes()[..60]);
            server
        }),
        ("refuses, and waits", |fake| {
            let mut server = fake.accept();
            server.expect("/json ala");
            server.send(r#"{"type":"error","text":"no"}"#);
            server
        }),
        ("says nothing more", |fake| fake.accept_login()),
        ("floods", |fake| {
            let server = fake.accept_login();
            let mut socket = server.socket().try_clone().unwrap();
            let flood = "{\"type\":\"notice\",\"text\":\"a flood\"}\n".repeat(1000);
            // Write until the client closes the connection.
            thread::spawn(move || while socket.write_all(flood.as_bytes()).is_ok() {});
            server
        }),
    ];
    for output in OUTPUTS {
        for (what, behave) in behaviors {
            let fake = FakeServer::new();
            let mut client = TestClient::start(output, &fake);
            let server = behave(&fake);
            if what == "floods" {
                client.expect("a flood");
            }
            client.leave();
            client.end(0);
            drop(server);
        }
    }
}

#[test]
fn sigterm_ends_a_client_whose_server_reads_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    std::fs::write(&path, format!("{}\n", "x".repeat(1000)).repeat(16_000)).unwrap();
    let fake = FakeServer::new();
    let mut command = chat_client(&[&fake.address(), "-n", "ala"]);
    command.stdin(File::open(&path).unwrap());
    let ala = Program::start(command);
    let _server = fake.accept_login();
    // Printed once the client has waited for 5 s.
    ala.expect_stderr("lines are left to be sent");
    assert!(peak_memory(ala.pid()) < MAX_MEMORY);
    ala.signal(Signal::TERM);
    ala.exit().expect_code(0);
}
