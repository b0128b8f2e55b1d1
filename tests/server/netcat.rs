//! Joining with netcat: the OpenBSD `nc`, the one that most people have.

use std::process::{Command, Stdio};

use support::{GREETING, Program, Server};

/// Starts `nc` for this server.
fn nc(server: &Server, options: &[&str]) -> Program {
    let mut command = Command::new("nc");
    command
        .args(options)
        .args([server.address.ip().to_string(), server.port().to_string()])
        .stdin(Stdio::piped());
    Program::start(command)
}

#[test]
fn a_conversation_over_two_netcats_shows_the_expected_lines() {
    let server = Server::start(&[]);
    let mut ala = nc(&server, &[]);
    ala.expect_stdout("type your name");
    ala.type_line("ala 3ID12");
    ala.expect_stdout("* welcome, ala");
    let mut ola = nc(&server, &[]);
    ola.type_line("ola");
    ala.expect_stdout("* ola joined");
    ala.type_line("hi");
    ola.expect_stdout("ala: hi");
    ola.type_line("/msg ala psst");
    ala.expect_stdout("[ola] psst");
    ola.expect_stdout("[to ala] psst");
    ola.type_line("/nick ula");
    ala.expect_stdout("* ola is now ula");
    ala.type_line("exit");
    ola.expect_stdout("* ala left");
    ola.type_line("/quit");
    // The server has closed both connections; this netcat notices at the end of its own input.
    ala.close_stdin();
    ola.close_stdin();
    let ala = ala.exit().expect_code(0);
    let ola = ola.exit().expect_code(0);
    assert_eq!(
        ala.stdout,
        format!(
            "{GREETING}\n* welcome, ala: 1 online; /help lists the commands\n* ola joined\n[ola] psst\n* ola is now ula\n"
        )
    );
    assert_eq!(
        ola.stdout,
        format!(
            "{GREETING}\n* welcome, ola: 2 online; /help lists the commands\nala: hi\n[to ala] psst\n* ola is now ula\n\
             * ala left\n"
        )
    );
}

#[test]
fn lines_piped_into_netcat_are_sent_before_it_leaves() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = nc(&server, &["-N"]);
    ala.type_bytes(b"ala\nhi\nlast words without an ending");
    ala.close_stdin();
    let exit = ala.exit().expect_code(0);
    assert_eq!(
        exit.stdout,
        format!("{GREETING}\n* welcome, ala: 2 online; /help lists the commands\n")
    );
    ola.expect_all(&[
        "* ala joined",
        "ala: hi",
        "ala: last words without an ending",
        "* ala left",
    ]);
}

#[test]
fn a_netcat_that_half_closes_receives_all_answers() {
    let server = Server::start(&[]);
    let mut ala = nc(&server, &["-N"]);
    ala.type_bytes(b"ala\n/online\n/msg ola hi\n/online");
    ala.close_stdin();
    let exit = ala.exit().expect_code(0);
    assert_eq!(
        exit.stdout,
        format!(
            "{GREETING}\n* welcome, ala: 1 online; /help lists the commands\n* 1 online: ala\n! there is no member called \"ola\"\n* 1 online: ala\n"
        )
    );
}

#[test]
fn a_line_piped_into_netcat_by_a_shell_reaches_the_room() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut shell = Command::new("sh");
    let pipe = format!(
        "printf 'ala\\nhi\\n' | nc -N {} {}",
        server.address.ip(),
        server.port()
    );
    shell.args(["-c", &pipe]);
    support::run(shell)
        .expect_code(0)
        .expect_stdout("* welcome, ala: 2 online");
    ola.expect_all(&["* ala joined", "ala: hi", "* ala left"]);
}

#[test]
fn a_long_text_piped_into_netcat_arrives_whole() {
    const LINES: usize = 3000;
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let mut ala = nc(&server, &["-N"]);
    ala.type_line("ala");
    let text: String = (0..LINES)
        .map(|number| format!("{number} {}\n", "x".repeat(100)))
        .collect();
    ala.type_bytes(text.as_bytes());
    ala.close_stdin();
    ola.expect("* ala joined");
    for line in text.lines() {
        ola.expect(&format!("ala: {line}"));
    }
    ola.expect("* ala left");
    ala.exit().expect_code(0);
}

#[test]
fn a_killed_netcat_leaves_the_room() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = nc(&server, &[]);
    ala.type_line("ala");
    ola.expect("* ala joined");
    ala.expect_stdout("* welcome, ala");
    ala.kill();
    ola.expect("* ala left");
}

#[test]
fn netcat_may_send_windows_line_endings() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = nc(&server, &["-C"]);
    ala.type_line("ala 3ID12");
    ala.type_line("hi");
    ola.expect_all(&["* ala (3ID12) joined", "ala: hi"]);
}

#[test]
fn a_netcat_user_can_type_another_name_after_a_refusal() {
    let server = Server::start(&[]);
    let _ala = server.join("ala");
    let mut second = nc(&server, &[]);
    second.type_line("ala");
    second.expect_stdout("! the name ala is taken: try ala2");
    second.type_line("ala2");
    second.expect_stdout("* welcome, ala2: 2 online");
}

#[test]
fn netcat_is_told_that_the_server_shuts_down() {
    let server = Server::start(&[]);
    let mut ala = nc(&server, &[]);
    ala.type_line("ala");
    ala.expect_stdout("* welcome, ala");
    server.stop();
    ala.close_stdin();
    let exit = ala.exit().expect_code(0);
    assert!(
        exit.stdout.ends_with("* the server is shutting down\n"),
        "{exit:?}"
    );
}
