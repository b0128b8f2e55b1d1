//! The operator's side of the server: log, console, signals, addresses, exit codes.

#![cfg(target_os = "linux")] // Signals, /proc, and a terminal.

use std::io::Read;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::process::{ChildStdout, Command, Stdio};

use support::screen::Screen;
use support::{
    Client, Program, Server, Signal, Terminal, chat_server, json, program, run, wait_until,
    with_default_sighup, with_setup,
};

/// Reads the first line of a server's stdout, and nothing after it.
fn first_line(stdout: &mut ChildStdout) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stdout.read_exact(&mut byte).expect("a line");
        line.extend(byte);
    }
    String::from_utf8(line).expect("text").trim_end().to_owned()
}

/// Starts a server and reads only the first line of its stdout.
fn start_unread(args: &[&str]) -> (Program, ChildStdout, SocketAddr) {
    let mut command = chat_server(&["-p", "0"]);
    command.args(args).stdout(Stdio::piped());
    let mut program = Program::start_unread(command);
    let mut stdout = program.take_stdout();
    let line = first_line(&mut stdout);
    let address = line
        .strip_prefix("listening on ")
        .expect("it listens")
        .parse()
        .expect("an address");
    (program, stdout, address)
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// The log lines that begin with a time, without the time.
fn timed_lines(log: &str) -> Vec<&str> {
    let is_time = |text: &str| {
        let shape: String = text
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        shape == "00:00:00"
    };
    log.lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(time, _)| is_time(time))
        .map(|(_, rest)| rest)
        .collect()
}

#[test]
fn only_the_first_line_of_stdout_starts_with_listening_on() {
    let server = Server::start(&[]);
    let ala = server.join("listening");
    drop(ala);
    server.expect_log("* listening left");
    let exit = server.stop();
    let mut lines = exit.stdout.lines();
    assert!(
        lines.next().unwrap().starts_with("listening on 127.0.0.1:"),
        "{exit:?}"
    );
    assert!(
        lines.all(|line| !line.starts_with("listening on ")),
        "{exit:?}"
    );
}

#[test]
fn the_log_says_who_can_join() {
    let server = Server::start(&[]);
    server.expect_log("only this machine can join; --lan lets this network in");
    let server = Server::start(&["--lan", "--password", "right"]);
    server.expect_log("anyone on this network who has the password can join; nothing is encrypted");
    server.expect_log("with nc, type /pass PASSWORD before your name");
}

#[test]
fn the_log_shows_every_event_with_the_time_of_day() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala 3ID12");
    let mut ola = server.join("ola");
    ala.expect("* ola joined");
    ala.send_bytes(b"hi\n/nick ewa\n/quit\n");
    ola.skip_to("* ewa left");
    server.expect_log("* ewa left");
    let nameless = server.greeted();
    let (ala, ola, nameless) = (
        ala.address(),
        ola.address(),
        (nameless.address(), nameless).0,
    );
    server.expect_log("left before joining");
    let exit = server.stop();
    let log = timed_lines(&exit.stdout);
    let expected = [
        format!("{ala} connected"),
        "* ala (3ID12) joined".into(),
        format!("{ola} connected"),
        "* ola joined".into(),
        "ala: hi".into(),
        "* ala is now ewa".into(),
        "* ewa left".into(),
        format!("{nameless} connected"),
        format!("{nameless} left before joining"),
        "* the server is shutting down".into(),
    ];
    assert_eq!(log, expected);
}

#[test]
fn the_log_never_shows_private_messages() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    let mut ola = server.join("ola");
    ala.expect("* ola joined");
    ala.send_bytes(b"/msg ola secret\npublic\n");
    ola.expect("[ala] secret");
    ola.send("/reply secret");
    ala.expect("[to ola] secret");
    ala.expect("[ola] secret");
    server.expect_log("ala: public");
    let exit = server.stop();
    assert!(!exit.stdout.contains("secret"), "{exit:?}");
}

#[test]
fn output_to_a_pipe_is_colored_only_on_request() {
    for (args, colored) in [
        (&[][..], false),
        (&["--color", "never"], false),
        (&["--color", "always"], true),
    ] {
        let server = Server::start(args);
        drop(server.join("ala"));
        server.expect_log("* ala left");
        let exit = server.stop();
        assert_eq!(exit.stdout.contains('\u{1b}'), colored, "{exit:?}");
    }
}

#[test]
fn joins_are_green_leaves_red_errors_yellow_and_names_have_a_color() {
    let mut server = Server::start_with_console(&["--color", "always"]);
    let mut ala = server.join("ala");
    let mut jan = server.join("jan");
    jan.send("three");
    ala.expect_all(&["* jan joined", "jan: three"]);
    ala.send_bytes(b"one\ntwo\n/quit\n");
    ala.expect_end();
    server.type_line("/kick ala");
    server.expect_log("there is no member called \"ala\"");
    let exit = server.stop();
    let color_before = |text: &str| {
        let before = exit
            .stdout
            .split(text)
            .next()
            .expect("split gives at least one part");
        assert_ne!(before.len(), exit.stdout.len(), "no {text:?} in {exit:?}");
        let start = before.rfind('\u{1b}').expect("a color");
        before[start + 1..].to_owned()
    };
    assert_eq!(color_before("* ala joined"), "[32m");
    assert_eq!(color_before("* ala left"), "[31m");
    assert_eq!(color_before("! there is no member called \"ala\""), "[33m");
    // Colors of the slots 0 and 1.
    assert_eq!(color_before("ala\u{1b}[0m: one"), "[38;5;202m");
    assert_eq!(color_before("ala\u{1b}[0m: two"), "[38;5;202m");
    assert_eq!(color_before("jan\u{1b}[0m: three"), "[38;5;105m");
}

#[test]
fn messages_cannot_control_the_operators_terminal() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    ala.send("\u{1b}[2Jx\u{9b}31m\u{202e}y\u{7}");
    let line = server.expect_log("ala: ");
    assert!(line.ends_with("ala: ␛[2Jx\u{fffd}31my␇"), "{line:?}");
}

#[test]
fn the_console_can_speak_kick_and_list_members() {
    let mut server = Server::start_with_console(&[]);
    let mut ala = server.join("ala 3ID12");
    let mut ola = server.join("ola");
    ala.expect("* ola joined");
    server.type_line("/say  welcome all ");
    ala.expect("* the server: welcome all");
    ola.expect("* the server: welcome all");
    server.type_line("/online");
    server.expect_log("* 2 online: ala (3ID12), ola");
    server.type_line("/KICK Ola too  loud");
    ola.expect("! you were kicked: too  loud");
    ola.expect_end();
    ala.expect("* ola left (kicked: too  loud)");
    server.type_line("/kick ala");
    ala.expect("! you were kicked");
    ala.expect_end();
    server.expect_log("* ala left (kicked)");
    server.type_line("");
    for (line, answer) in [
        ("/help", "* /kick NAME [REASON]: disconnect NAME"),
        ("/kick jan", "! there is no member called \"jan\""),
        ("/kick", "! usage: /kick NAME"),
        ("/say", "! usage: /say TEXT"),
        (
            "hello",
            "! not sent: type /say TEXT to speak to the room, or /help for the commands",
        ),
        (
            "//hello",
            "! not sent: type /say TEXT to speak to the room, or /help for the commands",
        ),
        ("/nonsense", "! unknown command /nonsense: /say TEXT speaks"),
    ] {
        server.type_line(line);
        server.expect_log(answer);
    }
    server.type_line("/quit");
    server
        .program
        .exit()
        .expect_code(0)
        .expect_stdout("* the server is shutting down");
}

#[test]
fn a_line_said_on_the_console_reaches_json_clients_and_newcomers() {
    let mut server = Server::start_with_console(&[]);
    let mut json = server.join_json_live("json");
    server.type_line("/say hi");
    let said = json.expect_json(json!({"type": "server", "text": "hi"}));
    assert!(said["seq"].is_u64() && said["time"].is_string(), "{said}");
    let mut ala = server.join("ala");
    ala.expect_all(&[
        "* the last message",
        "* the server: hi",
        "* end of the past messages",
    ]);
}

#[test]
fn the_console_continues_after_a_line_that_is_not_utf8() {
    let mut server = Server::start_with_console(&[]);
    let mut ala = server.join("ala");
    server.program.type_bytes(b"\xff\xfe\n/say caf\xe9\n");
    ala.expect("* the server: caf\u{fffd}");
    server.type_line("/say still here");
    ala.expect("* the server: still here");
}

#[test]
fn the_server_shuts_down_when_its_launcher_exits() {
    let mut server = Server::start_with_console(&[]);
    let mut ala = server.join("ala");
    server.program.close_stdin();
    ala.expect("* the server is shutting down");
    ala.expect_end();
    server.program.exit().expect_code(0);
}

#[test]
fn the_server_continues_when_a_stdin_that_is_not_a_terminal_closes() {
    let mut command = chat_server(&["-p", "0"]);
    command.stdin(Stdio::piped());
    let mut server = Server::start_as(command);
    server.type_line("/quit");
    server.program.close_stdin();
    let mut ala = server.join("ala");
    ala.send("/online");
    ala.expect("* 1 online: ala");
    server.stop();
}

/// Waits for the address of a server on a terminal.
#[track_caller]
fn address_on(terminal: &mut Terminal) -> SocketAddr {
    terminal.expect("listening on ");
    terminal.expect("\r\n");
    let text = terminal.text();
    let mut lines = text.lines();
    let address = lines.find_map(|line| line.strip_prefix("listening on "));
    let address = address.expect("the line was matched above");
    address.parse().expect("an address")
}

#[test]
fn the_console_on_a_terminal_accepts_lines_and_ctrl_c_shuts_the_server_down() {
    let mut terminal = Terminal::run(&chat_server(&["-p", "0"]));
    let mut ala = Client::connect(address_on(&mut terminal)).join("ala");
    terminal.expect("\u{1b}[32m* ala joined");
    terminal.type_line("/say hi");
    ala.expect("* the server: hi");
    // An incomplete character is not a key.
    terminal.press(b"/say caf\xe9\r/online\r");
    ala.expect("* the server: caf");
    terminal.expect("* 1 online: ala");
    terminal.press(b"\x03");
    ala.expect("* the server is shutting down");
    ala.expect_end();
    terminal.exit(0);
}

#[test]
fn no_color_and_a_dumb_terminal_disable_colors() {
    for (name, value, colored) in [
        ("NO_COLOR", "1", false),
        ("NO_COLOR", "", true),
        ("TERM", "dumb", false),
    ] {
        let mut command = chat_server(&["-p", "0"]);
        command.env(name, value);
        let mut terminal = Terminal::run(&command);
        let _ala = Client::connect(address_on(&mut terminal)).join("ala");
        terminal.expect("* ala joined");
        terminal.type_line("/quit");
        let shown = terminal.exit(0);
        let has_colors = shown.contains("\u{1b}[32m");
        assert_eq!(has_colors, colored, "{name}={value}: {shown:?}");
    }
}

#[test]
fn a_wrapped_message_cannot_look_like_a_new_log_line() {
    let mut session = program(env!("CARGO_BIN_EXE_chat-run"));
    session.args(["-t", "none", "-p", "0"]);
    for mut command in [chat_server(&["-p", "0"]), session] {
        command.env("NO_COLOR", "1");
        let screen = Screen::start(&command, 100, 24);
        let address = screen.wait("the address", |text| {
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix("listening on "));
            line?.trim().parse().ok()
        });
        let mut ewa = Client::connect(address).join("ewa");
        // Spaces fill the first row of 100 columns, so the forged part would begin the second row.
        let spaces = " ".repeat(100 - "00:00:00 ewa: a".len());
        ewa.send(&format!("a{spaces}18:04:45 ola: I never said this"));
        screen.expect("I never said this");
        let forged = "         18:04:45 ola: I never said this";
        let text = screen.text();
        assert!(text.lines().any(|row| row == forged), "{text}");
    }
}

#[test]
fn sigint_sigterm_or_sighup_makes_the_server_tell_all_clients_and_exit_with_0() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let server = Server::start_as(with_default_sighup(chat_server(&["-p", "0"])));
        let mut nameless = server.greeted();
        let mut ala = server.join("ala");
        let mut json = server.join_json_live("json");
        ala.expect("* json joined");
        server.program.signal(signal);
        ala.expect("* the server is shutting down");
        ala.expect_end();
        json.expect_json(json!({"type": "shutdown"}));
        json.expect_end();
        nameless.expect("! the server is shutting down");
        nameless.expect_end();
        drop((ala, json, nameless));
        let exit = server.program.exit().expect_code(0);
        assert_eq!(exit.stderr, "");
        let last = exit.stdout.lines().last().unwrap_or_default();
        assert!(last.starts_with("the room is closed: "), "{exit:?}");
        assert!(last.ends_with(" s, 2 joined, 0 messages"), "{exit:?}");
    }
}

#[test]
fn messages_accepted_before_quit_are_delivered() {
    const LINES: usize = 2000;
    let mut server = Server::start_with_console(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let mut ala = server.join("ala");
    let lines: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    // The answer to /online shows that all lines were accepted. ola has not read any of them yet.
    ala.send_bytes(format!("{lines}/online\n").as_bytes());
    ala.expect("* 2 online: ola, ala");
    server.type_line("/quit");
    ola.expect("* ala joined");
    for number in 0..LINES {
        ola.expect(&format!("ala: {number}"));
    }
    ola.expect("* the server is shutting down");
    ola.expect_end();
}

#[test]
fn shutdown_does_not_wait_for_clients_that_keep_their_connections() {
    let server = Server::start(&[]);
    let _members = [server.join("ala"), server.join("ola")];
    let _nameless = server.greeted();
    server.stop();
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let server = Server::start(&[]);
    // Without a second signal, the server would wait for this client to close.
    let _ala = server.join("ala");
    // The server is stopped so that both signals are pending before it handles the first.
    server.program.signal(Signal::STOP);
    server.program.signal(Signal::TERM);
    server.program.signal(Signal::INT);
    server.program.signal(Signal::CONT);
    server.program.exit().expect_code(1);
}

#[test]
fn a_sighup_ignored_at_start_stays_ignored() {
    let server = Server::start_as(with_setup("trap '' HUP", &chat_server(&["-p", "0"])));
    let mut ala = server.join("ala");
    server.program.signal(Signal::HUP);
    for _ in 0..50 {
        ala.send("/online");
        ala.expect("* 1 online: ala");
    }
    server.program.signal(Signal::TERM);
    ala.expect("* the server is shutting down");
    drop(ala);
    server.program.exit().expect_code(0);
}

#[test]
fn a_closed_stdout_does_not_block_the_room() {
    let (program, stdout, address) = start_unread(&["--rate", "0"]);
    let mut ala = Client::connect(address).join("ala");
    drop(stdout);
    let mut ola = Client::connect(address).join("ola");
    ala.expect("* ola joined");
    for number in 0..100 {
        ala.send(&format!("{number}"));
        ola.expect(&format!("ala: {number}"));
    }
    drop((ala, ola));
    program.signal(Signal::TERM);
    let exit = program.exit().expect_code(0);
    assert_eq!(exit.stderr, "");
}

#[test]
fn log_lines_dropped_while_stdout_is_blocked_are_counted() {
    const LINES: usize = 8000;
    let (mut program, stdout, address) = start_unread(&["--rate", "0"]);
    let mut ola = Client::connect(address).join("ola");
    let mut ala = Client::connect(address).join("ala");
    let lines: String = (0..LINES)
        .map(|number| format!("{number:0100}\n"))
        .collect();
    ala.send_bytes(lines.as_bytes());
    ola.expect("* ala joined");
    for number in 0..LINES {
        ola.expect(&format!("ala: {number:0100}"));
    }
    program.read_stdout(stdout);
    program.expect_stdout(" lines not shown");
    ala.send("after");
    program.expect_stdout("ala: after");
    let log = program.stdout();
    let shown = log.lines().filter(|line| line.contains("ala: 0")).count();
    let counts = log
        .lines()
        .filter_map(|line| line.strip_suffix(" lines not shown: this terminal does not keep up"));
    // A time precedes the number.
    let lost: usize = counts
        .map(|count| count.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(shown + lost, LINES, "{shown} shown, {lost} not");
}

#[test]
fn a_blocked_stdout_does_not_delay_shutdown() {
    let (program, _stdout, address) = start_unread(&["--rate", "0"]);
    let mut ala = Client::connect(address).join("ala");
    ala.send_bytes("x\n".repeat(20_000).as_bytes());
    ala.send("/online");
    ala.expect("* 1 online: ala");
    drop(ala);
    program.signal(Signal::TERM);
    program.exit().expect_code(0);
}

#[test]
fn version_and_help_are_printed_on_request() {
    let version = run(chat_server(&["--version"])).expect_code(0);
    assert_eq!(
        version.stdout,
        concat!("chat-server ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let help = run(chat_server(&["--help"])).expect_code(0);
    for part in [
        "Examples:",
        "--lan",
        "--history <FILE>",
        "[default: 9999]",
        "nc localhost 9999",
    ] {
        assert!(help.stdout.contains(part), "no {part:?} in {help:?}");
    }
    assert_eq!(
        (version.stderr, help.stderr),
        (String::new(), String::new())
    );
}

#[test]
fn a_usage_error_names_the_wrong_argument() {
    for (args, named) in [
        (&["x"][..], "'x'"),
        (&["99999"], "a port is a number from 0 to 65535"),
        (&["-p", "x"], "'--port <PORT>'"),
        (&["--port", "99999"], "a port is a number from 0 to 65535"),
        (&["8080", "-p", "8081"], "cannot be used with"),
        (&["8080", "8081"], "'8081'"),
        (&["-m", "0"], "give a number from 1 to 20000"),
        (&["-m", "20001"], "give a number from 1 to 20000"),
        (&["--replay", "some"], "give a number of messages, or `all`"),
        (&["--rate", "fast"], "give a number from 0 to 4294967295"),
        (&["-1"], "a port is a number from 0 to 65535"),
        (&["--lan", "--host", "::1"], "cannot be used with"),
        (
            &["--color", "blue"],
            "[possible values: auto, always, never]",
        ),
        (&["--password", ""], "in --password: a password needs"),
        (&["--nonsense"], "'--nonsense'"),
    ] {
        let exit = run(chat_server(args)).expect_code(2).expect_stderr(named);
        assert_eq!(exit.stdout, "");
    }
}

#[test]
fn the_error_for_a_port_in_use_names_its_process_and_a_fix() {
    let server = Server::start(&[]);
    let port = server.port().to_string();
    let exit = run(chat_server(&[&port])).expect_code(1);
    let reason = format!(
        "port {port} is in use by chat-server (pid {}); try another one, or `-p 0`",
        server.pid()
    );
    let exit = exit
        .expect_stderr("error: cannot listen on ")
        .expect_stderr(&reason);
    assert_eq!(exit.stdout, "");
}

#[test]
fn the_error_for_an_unknown_host_says_what_to_try() {
    for (host, reason) in [
        (
            "no-such-host.invalid",
            "cannot find the address of `no-such-host.invalid`",
        ),
        // An address for documentation (RFC 5737).
        ("192.0.2.1", "this machine has no address 192.0.2.1"),
    ] {
        let exit = run(chat_server(&["-p", "0", "--host", host])).expect_code(1);
        exit.expect_stderr(reason)
            .expect_stderr("try 127.0.0.1, or --lan");
    }
}

#[test]
fn the_error_for_an_address_with_a_wrong_interface_says_what_is_wrong() {
    for (host, reason) in [
        (
            "fe80::1",
            "error: `fe80::1` is a link-local address and needs an interface: ",
        ),
        (
            "fe80::1%no-such0",
            "error: there is no interface `no-such0`: ",
        ),
        ("::1%lo", "have an interface: try ::1 without %lo"),
    ] {
        run(chat_server(&["-p", "0", "--host", host]))
            .expect_code(1)
            .expect_stderr(reason);
    }
}

#[test]
fn an_ipv4_mapped_address_is_listened_on_as_ipv4() {
    let server = Server::start(&["--host", "::ffff:127.0.0.1"]);
    assert_eq!(
        server.address.to_string(),
        format!("127.0.0.1:{}", server.port())
    );
    server.expect_log("only this machine can join");
    server.join("ala");
}

#[test]
fn the_port_can_be_an_option_or_a_plain_argument() {
    for args in [&["0"][..], &["-p", "0"], &["--port=0"]] {
        let server = Server::start_as(chat_server(args));
        assert_ne!(server.port(), 0);
        server.join("ala");
    }
}

#[test]
fn a_port_can_be_reused_right_after_its_server_exits() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    let port = server.port().to_string();
    server.program.signal(Signal::TERM);
    // The server closes first, so its side of the connection is in TIME_WAIT.
    ala.expect("* the server is shutting down");
    ala.expect_end();
    drop(ala);
    server.program.exit().expect_code(0);
    let again = Server::start_as(chat_server(&[&port]));
    let mut ala = again.join("ala");
    again.kill();
    assert_eq!(ala.line_or_broken(), None);
    Server::start_as(chat_server(&[&port])).join("ala");
}

#[test]
fn thread_names_follow_login_and_rename() {
    let server = Server::start(&[]);
    let _client = server.greeted();
    let mut ala = server.join("ala");
    let mut long = server.join("Zażółć_gęślą_jaźń");
    for name in ["accept", "deliver", "linger", "log", "c:ala", "c:Zażółć_g"] {
        wait_until(&format!("a thread is called {name}"), || {
            server
                .threads()
                .iter()
                .any(|thread| thread == name)
                .then_some(())
        });
    }
    ala.send("/nick ewa");
    ala.expect("* Zażółć_gęślą_jaźń joined");
    ala.expect("* ala is now ewa");
    wait_until("the thread is renamed", || {
        server.threads().contains(&"c:ewa".into()).then_some(())
    });
    assert!(!server.threads().contains(&"c:ala".into()));
    ala.send("/quit");
    long.skip_to("* ewa left");
    drop(ala);
    wait_until("the thread has ended", || {
        (!server.threads().contains(&"c:ewa".into())).then_some(())
    });
}

#[test]
fn the_server_can_listen_on_an_ipv6_address() {
    if !has_ipv6() {
        run(chat_server(&["-p", "0", "--host", "::1"]))
            .expect_code(1)
            .expect_stderr("::1");
        return;
    }
    for host in ["::1", "[::1]"] {
        let server = Server::start(&["--host", host]);
        let listening = server.expect_log("listening on ");
        assert_eq!(listening, format!("listening on [::1]:{}", server.port()));
        server.expect_log("only this machine can join");
        let ala = server.join("ala");
        server.expect_log(&format!("{} connected", ala.address()));
    }
}

#[test]
fn without_the_host_option_the_server_listens_on_both_loopback_addresses() {
    let server = Server::start(&[]);
    let port = server.port();
    server.join("ala");
    if has_ipv6() {
        server.expect_log(&format!("and on [::1]:{port}"));
        let _ola = Client::connect((Ipv6Addr::LOCALHOST, port).into()).join("ola");
    }
}

#[test]
fn the_server_refuses_a_port_that_is_taken_on_the_other_loopback_address() {
    let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return; // This machine has no IPv6.
    };
    let port = other.local_addr().expect("it is bound").port();
    let exit = run(chat_server(&["-p", &port.to_string()])).expect_code(1);
    exit.expect_stderr(&format!(
        "cannot listen on [::1]:{port}: port {port} is in use"
    ));
}

#[test]
fn the_server_listens_on_all_addresses_of_a_host_name() {
    let server = Server::start(&["--host", "localhost"]);
    let addresses = ("localhost", server.port())
        .to_socket_addrs()
        .expect("this machine knows itself");
    for (number, address) in addresses
        .filter(|address| address.is_ipv4() || has_ipv6())
        .enumerate()
    {
        let ala = Client::connect(address).join(&format!("ala{number}"));
        server.expect_log(&format!("{} connected", ala.address()));
    }
}

#[test]
fn with_the_lan_option_a_server_accepts_ipv4_and_ipv6_and_logs_who_can_join() {
    let server = Server::start(&["--lan"]);
    assert!(server.address.ip().is_unspecified(), "{}", server.address);
    server.expect_log("anyone on this network can join and read");
    let port = server.port();
    let mut ala = Client::connect(([127, 0, 0, 1], port).into()).join("ala");
    // An IPv4 address is logged as such, although an IPv6 socket accepted it.
    server.expect_log(&format!(" {} connected", ala.address()));
    if has_ipv6() {
        let _ola = Client::connect((Ipv6Addr::LOCALHOST, port).into()).join("ola");
        ala.expect("* ola joined");
    }
    // On a machine with a network, the log lists commands that other users can type.
    let log = server.program.stdout();
    for line in log.lines().filter(|line| line.starts_with("  ")) {
        let (client, nc) = line.trim().split_once("or:").expect("two commands");
        assert!(
            client.starts_with("chat-client ") && client.trim().ends_with(&port.to_string()),
            "{line}"
        );
        assert!(
            nc.starts_with(" nc ") && nc.ends_with(&port.to_string()),
            "{line}"
        );
    }
}

#[test]
fn without_the_lan_option_only_this_machine_can_connect() {
    let server = Server::start(&[]);
    let tables = ["tcp", "tcp6"].map(|table| format!("/proc/{}/net/{table}", server.pid()));
    let listening = Command::new("cat")
        .args(tables)
        .output()
        .expect("cat is there");
    let table = String::from_utf8(listening.stdout).expect("text");
    let port = format!(":{:04X} ", server.port());
    // State 0A is LISTEN (proc_pid_net(5)).
    let sockets: Vec<&str> = table
        .lines()
        .filter(|line| line.contains(&port) && line.contains(" 0A "))
        .collect();
    assert_eq!(sockets.len(), 1 + usize::from(has_ipv6()), "{table}");
    let loopback = ["0100007F:", "00000000000000000000000001000000:"];
    for (socket, address) in sockets.iter().zip(loopback) {
        assert!(socket.contains(address), "only on loopback: {sockets:?}");
    }
}
