//! The client on a terminal: its prompts, its output, and the ways to leave.

use support::Terminal;
use support::client::FakeServer;
use support::{Server, Signal};

/// An action by which a user leaves.
type Leave<'a> = &'a dyn Fn(&mut Terminal);

#[test]
fn an_interactive_client_asks_for_a_name_before_connecting() {
    let fake = FakeServer::new();
    let mut ala = Terminal::start(&[&fake.address()]);
    ala.expect("name, and group if you like: ");
    assert!(!fake.has_pending_connection());
    ala.type_line("ala");
    let _server = fake.accept_login();
    ala.expect("welcome, ala");
}

#[test]
fn a_refused_name_is_asked_for_again() {
    let server = Server::start(&[]);
    let _ola = server.join("ola");
    let mut ala = Terminal::start(&[&server.address.to_string()]);
    for (name, refusal) in [
        ("", "! a name is missing: type your name"),
        ("!ala", "! a name begins with a letter or digit: try ala"),
        ("Ola", "! the name Ola is taken: try Ola2"),
    ] {
        ala.expect("name, and group if you like");
        ala.type_line(name);
        ala.expect(refusal);
    }
    ala.expect("name, and group if you like [Ola2]: ");
    ala.type_line("ala 3ID12");
    ala.expect("* welcome, ala: 2 online; /help lists the commands");
    server.expect_log("* ala (3ID12) joined");
}

#[test]
fn a_client_whose_name_option_is_refused_asks_for_another_name() {
    let server = Server::start(&[]);
    let _ola = server.join("ola");
    let mut ala = Terminal::start(&[&server.address.to_string(), "-n", "ola"]);
    ala.expect("! the name ola is taken: try ola2");
    ala.expect("name, and group if you like [ola2]: ");
    ala.type_line("ala");
    ala.expect("welcome, ala");
}

#[test]
fn a_full_room_ends_the_client_without_asking_for_another_name() {
    let server = Server::start(&["-m", "1"]);
    let _ola = server.join("ola");
    let mut ala = Terminal::start(&[&server.address.to_string()]);
    ala.expect("name, and group if you like: ");
    ala.type_line("ala");
    ala.expect("error: the room is full (1)\r\n");
    let screen = ala.exit(1);
    let after = screen.split("the room is full").last().unwrap();
    assert!(!after.contains("name, and group"), "{screen}");
}

#[test]
fn a_refusal_ends_the_client_if_the_server_closes_the_connection() {
    let fake = FakeServer::new();
    for refusal in [
        r#"{"type":"error","text":"not today"}"#,
        "! not today",
        "{\"type\":\"error\",\"text\":\"not today\"}\n{\"type\":\"notice\",\"text\":\"bye\"}",
    ] {
        let mut ala = Terminal::start(&[&fake.address(), "-n", "ala"]);
        let mut server = fake.accept();
        server.expect("/json ala");
        server.send(refusal);
        drop(server);
        ala.expect("error: not today\r\n");
        let screen = ala.exit(1);
        assert!(!screen.contains("name, and group"), "{screen}");
    }
}

#[test]
fn a_refused_client_asks_for_another_name_if_the_connection_stays_open() {
    let fake = FakeServer::new();
    let mut ala = Terminal::start(&[&fake.address(), "-n", "ala"]);
    let mut server = fake.accept();
    server.expect("/json ala");
    server.send(r#"{"type":"error","text":"not this name"}"#);
    ala.expect("! not this name");
    ala.expect("name, and group if you like: ");
}

#[test]
fn two_terminals_exchange_messages_in_color() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    let mut ala = Terminal::start(&[&address, "-n", "ala"]);
    ala.expect("welcome");
    let mut ola = Terminal::start(&[&address, "-n", "ola"]);
    ola.expect("welcome");
    ala.expect("\x1b[32m* ola joined");
    ola.type_line("dzień dobry");
    ala.expect("ola");
    ala.expect(": dzień dobry\r\n");
    ala.type_line("cześć Ola");
    // The message mentions Ola, so it is bold.
    ola.expect("\x1b[1m\x1b[38;5;");
    ola.expect(": cześć Ola");
    ola.type_line("/msg ala psst");
    ala.expect("\x1b[35m] psst");
    ala.type_line("/nonsense");
    ala.expect("\x1b[38;5;130m! unknown command /nonsense");
    ola.type_line("exit");
    ala.expect("\x1b[31m* ola left");
    let screen = ola.exit(0);
    // The typed line is on the screen once.
    assert_eq!(screen.matches("dzień dobry").count(), 1, "{screen}");
}

#[test]
fn notices_and_errors_are_shown_in_order() {
    let fake = FakeServer::new();
    let mut ala = Terminal::start(&[&fake.address(), "-n", "ala"]);
    let mut server = fake.accept_login();
    let mut lines = String::new();
    for n in 0..100 {
        lines += &format!("{{\"type\":\"notice\",\"text\":\"notice {n}\"}}\n");
        lines += &format!("{{\"type\":\"error\",\"text\":\"error {n}\"}}\n");
    }
    server.send_bytes(lines.as_bytes());
    // Notices go to stdout and errors to stderr; both are the same terminal.
    for n in 0..100 {
        ala.expect(&format!("* notice {n}\r\n"));
        ala.expect(&format!("! error {n}"));
    }
}

#[test]
fn the_clients_colors_can_be_turned_off() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    let ala = [&address, "-n", "ala"];
    for (args, environment) in [
        (&ala[..], &[("NO_COLOR", "1")][..]),
        (&[&ala[..], &["--color", "never"]].concat(), &[]),
    ] {
        let mut terminal = Terminal::start_with(args, environment);
        terminal.expect("welcome");
        let _ola = server.join("ola");
        terminal.expect(" * ola joined");
        let text = terminal.text();
        let colors = text.split("\x1b[").find(|sequence| {
            let end = sequence.find(|c: char| !c.is_ascii_digit() && c != ';');
            end.is_some_and(|end| sequence[end..].starts_with('m'))
        });
        assert_eq!(colors, None, "{text:?}");
        terminal.press("\x04");
        terminal.exit(0);
    }
}

#[test]
fn a_dumb_terminal_gets_only_plain_lines() {
    let server = Server::start(&[]);
    let mut ala = Terminal::start_with(&[&server.address.to_string()], &[("TERM", "dumb")]);
    ala.expect("name, and group if you like: ");
    ala.type_line("ala");
    ala.expect("welcome");
    let mut ola = server.join("ola");
    ala.expect(" * ola joined\r\n");
    ala.type_line("hi");
    ola.expect("ala: hi");
    assert!(!ala.text().contains('\x1b'), "{:?}", ala.text());
    ala.press("\x04");
    ala.exit(0);
}

#[test]
fn a_client_exits_with_success_however_its_user_leaves() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let ways: [(&str, Leave); 6] = [
        ("exit", &|ala| ala.type_line("exit")),
        ("/quit", &|ala| ala.type_line("/quit")),
        ("Ctrl+D", &|ala| ala.press("\x04")),
        ("Ctrl+C", &|ala| ala.press("\x03")),
        ("SIGTERM", &|ala| ala.signal(Signal::TERM)),
        ("SIGHUP", &|ala| ala.signal(Signal::HUP)),
    ];
    for (way, leave) in ways {
        let mut ala = Terminal::start(&[&server.address.to_string(), "-n", "ala"]);
        ala.expect("welcome");
        ola.expect("* ala joined");
        leave(&mut ala);
        ola.expect("* ala left");
        let screen = ala.exit(0);
        assert!(!screen.contains("error"), "{way}: {screen}");
    }
}

#[test]
fn a_user_can_leave_at_the_name_prompt() {
    let fake = FakeServer::new();
    for keys in ["exit\r", "/quit\r", "\x04", "\x03"] {
        let mut ala = Terminal::start(&[&fake.address()]);
        ala.expect("name, and group if you like: ");
        ala.press(keys);
        ala.exit(0);
    }
    assert!(!fake.has_pending_connection());
}

#[test]
fn a_user_can_leave_while_the_server_is_silent() {
    let fake = FakeServer::new();
    let mut ala = Terminal::start(&[&fake.address(), "-n", "ala"]);
    let mut server = fake.accept();
    server.expect("/json ala");
    ala.press("\x03");
    ala.exit(0);
}

#[test]
fn the_password_is_asked_for_and_never_shown() {
    let server = Server::start(&["--password", "tajne"]);
    let mut ala = Terminal::start(&[&server.address.to_string()]);
    ala.expect("name, and group if you like: ");
    ala.type_line("ala");
    ala.expect("password: ");
    assert!(!ala.echoes());
    ala.type_line("jawne");
    ala.expect("! that is not the room's password");
    ala.expect("password: ");
    ala.type_line("tajne");
    ala.expect("welcome, ala");
    ala.type_line("exit");
    let screen = ala.exit(0);
    assert!(!screen.contains("tajne"), "{screen}");
    assert!(!screen.contains("jawne"), "{screen}");
}

#[test]
fn leaving_the_password_prompt_restores_the_terminal() {
    let server = Server::start(&["--password", "tajne"]);
    let ways: [Leave; 5] = [
        &|ala| ala.press("\x03"),
        &|ala| ala.press("\x04"),
        &|ala| ala.signal(Signal::INT),
        &|ala| ala.signal(Signal::TERM),
        &|ala| ala.signal(Signal::HUP),
    ];
    for leave in ways {
        let mut ala = Terminal::start(&[&server.address.to_string(), "-n", "ala"]);
        ala.expect("password: ");
        assert!(!ala.echoes());
        leave(&mut ala);
        // This also checks the terminal's modes.
        ala.exit(0);
    }
}

#[test]
fn a_line_over_1024_bytes_is_refused_and_stays_editable() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = Terminal::start(&[&server.address.to_string(), "-n", "ala"]);
    ala.expect("welcome");
    ala.type_line(&"x".repeat(1025));
    ala.expect("! that line is too long: the limit is 1024 bytes, so send it in parts");
    ala.press("\x7f");
    ala.press("\r");
    ola.expect("* ala joined");
    ola.expect(&format!("ala: {}", "x".repeat(1024)));
    ala.type_line("short");
    ola.expect("ala: short");
    ala.type_line("exit");
    ala.exit(0);
}

#[test]
fn a_lost_server_is_reported_on_a_terminal() {
    let server = Server::start(&[]);
    let mut ala = Terminal::start(&[&server.address.to_string(), "-n", "ala", "--no-reconnect"]);
    ala.expect("welcome");
    server.kill();
    ala.expect("error: the ");
    ala.exit(1);
}

#[test]
fn a_server_shutdown_ends_the_client_with_success() {
    let server = Server::start(&[]);
    let mut ala = Terminal::start(&[&server.address.to_string(), "-n", "ala", "--no-reconnect"]);
    ala.expect("welcome");
    server.stop();
    ala.expect("* the server is shutting down");
    ala.exit(0);
}
