//! The client in a pipe, against a server that must not be trusted.

use super::assert_exit;
use support::Signal;
use support::client::{FakeServer, WELCOME};

#[test]
fn control_characters_from_a_server_never_reach_the_output() {
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
fn malformed_events_are_reported_and_the_others_shown() {
    let fake = FakeServer::new();
    let mut ala = fake.piped();
    let mut server = fake.accept_login();
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
    let reports = exit.stderr.lines();
    assert!(
        reports
            .clone()
            .all(|line| line.starts_with("! the server sent a line that is not an event: ")),
        "{exit:#?}"
    );
    assert_eq!(reports.count(), 10, "{exit:#?}");
}

#[test]
fn a_line_over_1_mib_from_the_server_ends_the_client() {
    let fake = FakeServer::new();
    let ala = fake.piped();
    let mut server = fake.accept();
    server.send_bytes(&vec![b'{'; 1024 * 1024 + 2]);
    let exit = ala.exit();
    let error = format!(
        "error: {} sends a line that does not end: is it a `chat-server`?\n",
        fake.address()
    );
    assert_exit(&exit, 1, "", &error);

    let ala = fake.piped();
    let mut server = fake.accept_login();
    server.send_bytes(&vec![b'{'; 1024 * 1024 + 2]);
    assert_exit(
        &ala.exit(),
        1,
        "* welcome, ala: 1 online; /help lists the commands\n",
        "error: the server sends a line of over 1 MiB: it is not a chat-server\n",
    );
}

#[test]
fn a_server_that_closes_before_login_is_reported() {
    let fake = FakeServer::new();
    let ala = fake.piped();
    let mut server = fake.accept();
    server.expect("/json ala");
    drop(server);
    let error = format!(
        "error: {} closed the connection before the login was complete: is it a `chat-server`?\n",
        fake.address()
    );
    assert_exit(&ala.exit(), 1, "", &error);
}

#[test]
fn a_refusal_in_plain_text_is_shown() {
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
fn sigint_ends_the_client_even_if_the_server_never_closes() {
    let fake = FakeServer::new();
    let ala = fake.piped();
    let _server = fake.accept_login();
    ala.expect_stdout("welcome");
    ala.signal(Signal::INT);
    ala.exit().expect_code(0);
}
