//! The client in a pipe: what it sends, what goes to stdout and stderr, and its exit codes.

use std::net::Ipv6Addr;
use std::process::Stdio;

use super::assert_exit;
use support::client::{FakeServer, chat_client, mask_times, piped};
use support::{Exit, Program, Server, Signal, reserved_port, run, with_default_sighup};

/// Runs a client with `input` as its stdin, to its end.
#[track_caller]
fn feed(server: &Server, args: &[&str], input: &str) -> Exit {
    let mut client = piped(server, args);
    client.type_bytes(input.as_bytes());
    client.close_stdin();
    client.exit()
}

#[test]
fn piped_lines_are_sent_and_the_conversation_goes_to_stdout() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola 3ID12");
    let mut ala = piped(&server, &[]);
    ala.type_line("ala 3ID11");
    ola.expect("* ala (3ID11) joined");
    ola.send("cześć");
    ola.send("/msg ala psst");
    ala.expect_stdout("psst");
    ala.type_line("hej ola");
    ala.type_line("/msg ola tak");
    ala.type_line("/online");
    ola.expect_all(&["[to ala] psst", "ala: hej ola", "[ala] tak"]);
    ala.expect_stdout("2 online: ");
    ola.send("/nick ela");
    ala.expect_stdout("is now");
    ola.send("/quit");
    ala.expect_stdout("left");
    ala.close_stdin();
    assert_exit(
        &ala.exit(),
        0,
        "\
* welcome, ala: 2 online; /help lists the commands
10:00 ola: cześć
10:00 [ola] psst
10:00 [to ola] tak
* 2 online: ola (3ID12), ala (3ID11)
10:00 * ola is now ela
10:00 * ela left
",
        "",
    );
}

#[test]
fn with_the_name_option_every_piped_line_is_sent() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let exit = feed(
        &server,
        &["-n", "ala", "-g", "3ID12"],
        "one\n\n  two\nthree",
    );
    assert_exit(
        &exit,
        0,
        "* welcome, ala: 2 online; /help lists the commands\n",
        "",
    );
    ola.expect_all(&[
        "* ala (3ID12) joined",
        "ala: one",
        "ala:   two",
        "ala: three",
        "* ala left",
    ]);
}

#[test]
fn the_group_option_applies_to_a_piped_name_without_a_group() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    feed(&server, &["-g", "3ID12"], "ala\n").expect_code(0);
    feed(&server, &["-g", "3ID12"], "ala 3ID11\n").expect_code(0);
    ola.expect_all(&[
        "* ala (3ID12) joined",
        "* ala left",
        "* ala (3ID11) joined",
        "* ala left",
    ]);
}

#[test]
fn replayed_messages_stand_between_two_notices() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    ola.send("one");
    ola.send("two");
    ola.send("/online");
    ola.expect_start("* 1 online");
    let exit = feed(&server, &["-n", "ala"], "");
    assert_exit(
        &exit,
        0,
        "\
* welcome, ala: 2 online; /help lists the commands
* the past messages
10:00 ola: one
10:00 ola: two
* end of the past messages
",
        "",
    );
}

#[test]
fn refusals_by_the_server_go_to_stderr() {
    let server = Server::start(&[]);
    let exit = feed(&server, &["-n", "ala"], "/msg jan hej\n/reply hej\n");
    assert_exit(
        &exit,
        0,
        "* welcome, ala: 1 online; /help lists the commands\n",
        "! there is no member called \"jan\"\n! no one has sent you a private message yet: use /msg NAME TEXT\n",
    );
}

#[test]
fn a_refused_name_ends_the_client_without_trying_the_next_line() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    for input in ["ola\njan\n", "OLA\njan\n"] {
        let exit = feed(&server, &[], input);
        let name = &input[..3];
        let error = format!("error: the name {name} is taken: try {name}2\n");
        assert_exit(&exit, 1, "", &error);
    }
    // No client has joined.
    ola.send("/online");
    ola.expect("* 1 online: ola");
}

#[test]
fn an_invalid_name_is_refused_without_connecting() {
    let server = FakeServer::new();
    for (name, reason) in [
        ("!ala", "a name begins with a letter or digit: try ala"),
        (
            "ala ola ela",
            "a name is one word, and so is a group: try ala_ola_ela",
        ),
        ("admin", "\"admin\" is reserved: try another name"),
        ("exit", "\"exit\" is reserved: try another name"),
        ("", "a name is missing: type your name"),
    ] {
        let exit = run(chat_client(&[&server.address(), "-n", name]));
        assert_exit(&exit, 1, "", &format!("error: {reason}\n"));
    }
    assert!(!server.has_pending_connection());
}

#[test]
fn a_byte_order_mark_before_the_name_in_the_input_is_ignored() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let exit = feed(&server, &[], "\u{feff}ala 3ID12\r\nhi\r\n");
    let welcome = "* welcome, ala: 2 online; /help lists the commands\n";
    assert_exit(&exit, 0, welcome, "");
    ola.expect_all(&["* ala (3ID12) joined", "ala: hi", "* ala left"]);
}

#[test]
fn empty_input_without_a_name_is_refused() {
    let server = FakeServer::new();
    let mut client = Program::start(chat_client(&[&server.address()]));
    client.close_stdin();
    let error = "error: there is no name: give one with -n, or in the first line\n";
    assert_exit(&client.exit(), 1, "", error);
    assert!(!server.has_pending_connection());
}

#[test]
fn unsendable_lines_are_reported_and_the_others_are_sent() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = piped(&server, &["-n", "ala"]);
    ala.type_line(&"x".repeat(1024));
    ala.type_line(&"y".repeat(1025));
    ala.type_bytes(b"\xff\xfe\n");
    ala.type_line("the last");
    ala.close_stdin();
    assert_exit(
        &ala.exit(),
        1,
        "* welcome, ala: 2 online; /help lists the commands\n",
        "\
error: line 2 is not sent: that line is too long: the limit is 1024 bytes, so send it in parts
error: line 3 is not sent: that line is not UTF-8: set your terminal to UTF-8
",
    );
    ola.expect("* ala joined");
    ola.expect(&format!("ala: {}", "x".repeat(1024)));
    ola.expect_all(&["ala: the last", "* ala left"]);
}

#[test]
fn a_quit_line_ends_the_client_before_the_rest_of_the_input() {
    let server = Server::start(&["--replay", "0"]);
    let mut ola = server.join("ola");
    for line in ["exit", "/quit", "/EXIT", "/wyjdź"] {
        let mut ala = piped(&server, &["-n", "ala"]);
        ala.type_bytes(format!("hi\n{line}\nnot this\n").as_bytes());
        let exit = ala.exit();
        assert_exit(
            &exit,
            0,
            "* welcome, ala: 2 online; /help lists the commands\n",
            "",
        );
        ola.expect_all(&["* ala joined", "ala: hi", "* ala left"]);
    }
}

#[test]
fn a_rate_limited_piped_client_sends_all_lines_and_reports_progress() {
    const LINES: usize = 380;
    // The server accepts a burst of 200 lines at once, and the other 180 at 20 a second, which
    // takes 9 s.
    let server = Server::start(&["--rate", "20"]);
    let mut ola = server.join("ola");
    let mut ala = piped(&server, &["-n", "ala"]);
    for n in 0..LINES {
        ala.type_line(&n.to_string());
    }
    ala.close_stdin();
    ola.expect("* ala joined");
    for n in 0..LINES {
        ola.expect(&format!("ala: {n}"));
        if n == 200 {
            ola.send("meanwhile");
            ala.expect_stdout("ola: meanwhile");
        }
    }
    ola.expect("* ala left");
    ala.exit()
        .expect_code(0)
        .expect_stderr(" lines are left to be sent\n");
}

#[test]
fn a_piped_client_whose_stdout_is_closed_exits_with_success_and_no_error() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut command = chat_client(&[&server.address.to_string(), "-n", "ala"]);
    command.stdout(Stdio::piped());
    let mut ala = Program::start_unread(command);
    ola.expect("* ala joined");
    drop(ala.take_stdout());
    ola.send("is anybody there?");
    ola.expect("* ala left");
    assert_exit(&ala.exit(), 0, "", "");
}

#[test]
#[cfg(target_os = "linux")]
fn a_piped_client_whose_stdout_is_a_full_disk_fails_with_an_error() {
    let server = Server::start(&[]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let mut command = chat_client(&[&server.address.to_string(), "-n", "ala"]);
    command.stdout(full.unwrap());
    let exit = Program::start_unread(command).exit();
    let error = "error: cannot write to stdout: No space left on device (os error 28)\n";
    assert_exit(&exit, 1, "", error);
}

#[test]
fn a_refused_connection_is_reported_with_the_address() {
    let address = format!("127.0.0.1:{}", reserved_port());
    let exit = run(chat_client(&[&address, "-n", "ala"]));
    let error = format!(
        "error: cannot connect to {address} (connection refused): is `chat-server` running there?\n"
    );
    assert_exit(&exit, 1, "", &error);
}

#[test]
fn an_unknown_host_is_reported_without_control_characters() {
    let exit = run(chat_client(&["no\x1b[2J host", "-n", "ala"])).expect_code(1);
    exit.expect_stderr("error: cannot find the address of `no␛[2J host`: check the name: ");
}

#[test]
fn the_client_connects_over_ipv6() {
    let server = Server::start(&["--host", "::1"]);
    assert_eq!(server.address.ip(), Ipv6Addr::LOCALHOST);
    let port = server.port().to_string();
    for args in [
        &["::1", &port][..],
        &["::1", "-p", &port],
        &[&format!("[::1]:{port}")],
    ] {
        let mut command = chat_client(args);
        command.args(["-n", "ala"]).stdin(Stdio::null());
        run(command).expect_code(0).expect_stdout("* welcome, ala");
    }
}

#[test]
fn a_number_as_the_only_argument_is_a_port_on_this_machine() {
    let server = Server::start(&[]);
    let mut command = chat_client(&[&server.port().to_string(), "-n", "ala"]);
    command.stdin(Stdio::null());
    run(command).expect_code(0).expect_stdout("* welcome, ala");
}

#[test]
fn the_error_for_a_link_local_address_names_what_is_wrong_with_its_interface() {
    for (host, reason) in [
        (
            "fe80::1",
            "error: `fe80::1` is a link-local address and needs an interface: ",
        ),
        (
            "[fe80::1%no-such0]:80",
            "error: there is no interface `no-such0`: ",
        ),
        ("::1%lo", "have an interface: try ::1 without %lo"),
    ] {
        let mut command = chat_client(&[host, "-n", "ala"]);
        command.stdin(Stdio::null());
        run(command).expect_code(1).expect_stderr(reason);
    }
}

#[test]
fn a_wrong_command_line_exits_with_code_2_and_points_to_help() {
    for args in [
        &["8080", "-p", "80"][..],
        &["host:80", "81"],
        &["host", "80", "-p", "80"],
        &["99999"],
        &["host", "x"],
        &["-p", "0"],
        &["-g", "two words"],
        &["--password", "two\nlines"],
        &["--nonsense"],
    ] {
        let exit = run(chat_client(args)).expect_code(2);
        assert!(exit.stderr.starts_with("error: "), "{args:?}: {exit:#?}");
        assert!(exit.stderr.contains("--help"), "{args:?}: {exit:#?}");
    }
}

#[test]
fn conflicting_ports_are_reported_as_they_were_given() {
    for (args, ports) in [
        (&["-p", "5", "6"][..], "-p 5 and 6"),
        (&["6", "-p", "5"], "-p 5 and 6"),
        (&["host:6", "--port", "5"], "-p 5 and 6"),
        (&["host:5", "6"], "5 and 6"),
        (&["5", "6"], "5 and 6"),
    ] {
        run(chat_client(args))
            .expect_code(2)
            .expect_stderr(&format!(
                "error: two ports, {ports}: leave one of them out\n"
            ));
    }
}

#[test]
fn the_password_comes_from_an_option_or_the_environment() {
    let server = Server::start(&["--password", "tajne hasło"]);
    feed(&server, &["-n", "ala", "--password", "tajne hasło"], "")
        .expect_code(0)
        .expect_stdout("* welcome, ala");
    let mut command = chat_client(&[&server.address.to_string(), "-n", "ala"]);
    command
        .env("CHAT_PASSWORD", "tajne hasło\r\n")
        .stdin(Stdio::null());
    run(command).expect_code(0).expect_stdout("* welcome, ala");
}

#[test]
fn a_password_that_no_room_can_have_is_a_usage_error() {
    for password in ["one\ntwo", "\n", &"x".repeat(1019)] {
        let mut variable = chat_client(&["-n", "ala"]);
        variable.env("CHAT_PASSWORD", password);
        let option = chat_client(&["-n", "ala", "--password", password]);
        for (mut command, place) in [(variable, "CHAT_PASSWORD"), (option, "--password")] {
            command.stdin(Stdio::null());
            let error = format!("error: invalid value in {place}: a password ");
            run(command).expect_code(2).expect_stderr(&error);
        }
    }
}

#[test]
fn a_wrong_or_missing_password_ends_a_piped_client() {
    let server = Server::start(&["--password", "tajne"]);
    let wrong = feed(&server, &["-n", "ala", "--password", "jawne"], "");
    assert_exit(&wrong, 1, "", "error: that is not the room's password\n");
    let missing = feed(&server, &["-n", "ala"], "");
    let error = "error: this room has a password: give it with --password, or in CHAT_PASSWORD\n";
    assert_exit(&missing, 1, "", error);
}

#[test]
fn a_room_without_a_password_ignores_the_password_of_a_client() {
    let server = Server::start(&[]);
    feed(&server, &["-n", "ala", "--password", "tajne"], "").expect_code(0);
    let _ola = server.join("ola");
    let taken = feed(&server, &["-n", "ola", "--password", "tajne"], "");
    assert_exit(&taken, 1, "", "error: the name ola is taken: try ola2\n");
}

#[test]
fn a_piped_client_reports_a_full_room() {
    let server = Server::start(&["-m", "1"]);
    let _ola = server.join("ola");
    let exit = feed(&server, &["-n", "ala"], "");
    assert_exit(&exit, 1, "", "error: the room is full (1)\n");
}

#[test]
fn a_server_shutdown_ends_a_piped_client_with_success() {
    let server = Server::start(&[]);
    let ala = piped(&server, &["-n", "ala"]);
    ala.expect_stdout("welcome");
    server.stop();
    assert_exit(
        &ala.exit(),
        0,
        "\
* welcome, ala: 1 online; /help lists the commands
10:00 * the server is shutting down
",
        "",
    );
}

#[test]
fn a_killed_server_ends_a_piped_client_with_failure() {
    let server = Server::start(&[]);
    let ala = piped(&server, &["-n", "ala"]);
    ala.expect_stdout("welcome");
    server.kill();
    ala.exit().expect_code(1).expect_stderr("error: the ");
}

#[test]
fn a_kicked_client_is_told_why() {
    let mut server = Server::start_with_console(&[]);
    let ala = piped(&server, &["-n", "ala"]);
    ala.expect_stdout("welcome");
    server.type_line("/kick ala too loud");
    assert_exit(
        &ala.exit(),
        1,
        "* welcome, ala: 1 online; /help lists the commands\n",
        "\
! you were kicked: too loud
error: the server closed the connection: start chat-client again to come back
",
    );
}

#[test]
fn a_pipe_gets_colors_only_on_request() {
    let server = Server::start(&[]);
    let colored = piped(&server, &["-n", "ala", "--color", "always"]);
    colored.expect_stdout("welcome");
    let plain = piped(&server, &["-n", "ela"]);
    colored.expect_stdout("\x1b[32m* ela joined");
    let _ola = server.join("ola");
    assert_eq!(
        mask_times(&plain.expect_stdout("ola joined")),
        "10:00 * ola joined"
    );
}

#[test]
fn a_piped_client_ended_by_a_signal_leaves_the_room_and_exits_with_success() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let command = chat_client(&[&server.address.to_string(), "-n", "ala"]);
        let mut command = with_default_sighup(command);
        command.stdin(Stdio::piped());
        let ala = Program::start(command);
        ola.expect("* ala joined");
        ala.expect_stdout("welcome");
        ala.signal(signal);
        let exit = ala.exit();
        assert_exit(
            &exit,
            0,
            "* welcome, ala: 2 online; /help lists the commands\n",
            "",
        );
        ola.expect("* ala left");
    }
}
