//! `chat-run` without windows: its hints, its errors, its console, and its exit codes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::process::{Pid, Signal};
use support::{DEADLINE, reserved_port, wait_until};
use tempfile::TempDir;

/// `chat-run` without a display.
fn chat_run(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-run"));
    command.args(arguments).stdin(Stdio::null());
    for variable in [
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "CHAT_TERMINAL",
        "CHAT_PASSWORD",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Runs a session that fails to start; returns its exit code and its stderr.
fn refused(mut command: Command) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(String::from_utf8(stdout).unwrap(), "", "{stderr}");
    (status.code(), stderr)
}

struct Session {
    child: Child,
    console: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: String,
}

impl Session {
    fn start(arguments: &[&str]) -> Self {
        Self::start_command(chat_run(arguments))
    }

    fn start_command(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for stream in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self {
            console: child.stdin.take(),
            child,
            lines,
            seen: String::new(),
        }
    }

    /// Waits for a line that contains `text`.
    fn line(&mut self, text: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(DEADLINE) else {
                panic!("no line with `{text}`; captured:\n{}", self.seen);
            };
            self.seen.push_str(&line);
            self.seen.push('\n');
            if line.contains(text) {
                return line;
            }
        }
    }

    fn port(&mut self) -> u16 {
        let line = self.line("listening on ");
        line.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    fn type_in(&mut self, text: &str) {
        self.console
            .as_mut()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; returns the exit code.
    fn end(mut self) -> Option<i32> {
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            self.seen.push_str(&line);
            self.seen.push('\n');
        }
        self.child.wait().unwrap().code()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // For a test that failed: the server ends with its launcher.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_printed_join_command_for_this_machine_connects() {
    expect_join_hint(chat_run(&["-p", "0", "-t", "none"]));
}

#[test]
fn the_printed_join_command_quotes_a_directory_with_a_space() {
    let programs = Path::new(env!("CARGO_BIN_EXE_chat-run")).parent().unwrap();
    let dir = tempfile::Builder::new()
        .prefix("with a blank ")
        .tempdir_in(programs)
        .unwrap();
    for program in ["chat-run", "chat-server", "chat-client"] {
        fs::hard_link(programs.join(program), dir.path().join(program)).unwrap();
    }
    let mut command = Command::new(dir.path().join("chat-run"));
    command.args(["-p", "0", "-t", "none"]);
    expect_join_hint(command);
}

fn expect_join_hint(command: Command) {
    let mut session = Session::start_command(command);
    let port = session.port();
    let client = session.line("chat-client");
    // Users paste the command into a shell, which removes the quotes around a directory's name.
    let script = format!("printf '%s\n' {client}");
    let words = Command::new("sh").args(["-c", &script]).output().unwrap();
    let words = String::from_utf8(words.stdout).unwrap();
    let words: Vec<&str> = words.lines().collect();
    assert_eq!(words.len(), 3, "{client}");
    assert!(words[0].ends_with("chat-client"), "{client}");
    assert_eq!(words[1..], ["127.0.0.1", &port.to_string()], "{client}");
    session.line(&format!("nc 127.0.0.1 {port}"));
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    session.signal(Signal::INT);
    session.line("the room is closed: ");
    assert_eq!(session.end(), Some(0));
}

#[test]
fn the_lan_option_prints_join_commands_for_other_machines() {
    let mut session = Session::start(&["-p", "0", "-c", "0", "--lan"]);
    let port = session.port();
    session.line(&format!("nc 127.0.0.1 {port}"));
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    let ips = chat_run::net::addresses();
    for (index, ip) in ips.iter().enumerate() {
        if index == 0 {
            session.line("join from elsewhere:");
        }
        session.line(&format!("chat-client {ip} {port}"));
        session.line(&format!("nc {ip} {port}"));
    }
    session.signal(Signal::TERM);
    session.line("the room is closed: ");
    assert!(
        session
            .seen
            .contains("anyone on this network can join and read\n"),
        "{}",
        session.seen
    );
    for ip in ips {
        // The server prints no second hint.
        let count = session.seen.matches(&format!("nc {ip} {port}")).count();
        assert_eq!(count, 1, "{}", session.seen);
    }
    assert_eq!(session.end(), Some(0));
}

#[test]
fn a_session_prints_its_address_and_who_can_join_before_the_join_command() {
    for (arguments, audience) in [
        (&[][..], "only this machine can join"),
        (&["--host", "localhost"], "only this machine can join"),
        (&["--lan"], "anyone on this network can join and read"),
        (
            &["--lan", "--password", "right"],
            "anyone on this network who has the password can join; nothing is encrypted",
        ),
    ] {
        let mut session = Session::start(&[&["-p", "0", "-t", "none"], arguments].concat());
        session.line("join from here:");
        let seen = &session.seen;
        assert!(seen.starts_with("listening on "), "{seen}");
        assert!(seen.contains(audience), "{seen}");
        session.signal(Signal::INT);
        assert_eq!(session.end(), Some(0));
    }
}

#[test]
fn the_hint_for_netcat_names_the_password_command_if_there_is_a_password() {
    let hint = "with nc, type /pass PASSWORD before your name";
    for (arguments, is_hinted) in [(&["--password", "right"][..], true), (&[], false)] {
        let mut session = Session::start(&[&["-p", "0", "-t", "none"], arguments].concat());
        let port = session.port();
        session.line(&format!("nc 127.0.0.1 {port}"));
        session.signal(Signal::INT);
        session.line("the room is closed: ");
        assert_eq!(session.seen.contains(hint), is_hinted, "{}", session.seen);
        assert_eq!(session.end(), Some(0));
    }
}

#[test]
fn typed_lines_go_to_the_servers_console() {
    let mut session = Session::start(&["-p", "0", "-c", "0"]);
    let port = session.port();
    let mut member = TcpStream::connect(("127.0.0.1", port)).unwrap();
    writeln!(member, "ala").unwrap();
    session.line("ala joined");
    session.type_in("/say hello from the operator\n");
    session.line("hello from the operator");
    session.type_in("/help\n");
    let open = session.line("/open");
    assert!(open.starts_with("* /open [NAME]: "), "{open}");
    let kick = session.line("/kick");
    assert!(kick.starts_with("* /kick "), "{kick}");
    session.type_in("/quit\n");
    session.line("the room is closed: ");
    assert_eq!(session.end(), Some(0));
}

#[test]
fn the_help_of_a_session_without_windows_does_not_list_open() {
    let mut session = Session::start(&["-p", "0", "-t", "none"]);
    session.port();
    session.type_in("/help\n");
    let first = session.line("* /");
    assert!(!first.contains("/open"), "{first}");
    session.type_in("/quit\n");
    assert_eq!(session.end(), Some(0));
}

#[test]
fn a_session_writes_its_log_to_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.txt");
    let mut session = Session::start(&["-p", "0", "-t", "none", "--log", path.to_str().unwrap()]);
    let mut member = TcpStream::connect(("127.0.0.1", session.port())).unwrap();
    writeln!(member, "ala").unwrap();
    session.line("ala joined");
    session.type_in("/quit\n");
    assert_eq!(session.end(), Some(0));
    let text = fs::read_to_string(path).unwrap();
    for part in [
        " listening on 127.0.0.1:",
        " * ala joined\n",
        " the room is closed: ",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn a_log_file_that_cannot_be_created_is_reported_before_anything_starts() {
    let (code, stderr) = refused(chat_run(&["-p", "0", "-t", "none", "--log", "/"]));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("cannot open the log file /: "), "{stderr}");
    assert!(!stderr.contains("the server"), "{stderr}");
}

#[test]
fn the_end_of_input_does_not_end_the_session() {
    let mut session = Session::start(&["-p", "0", "-c", "0"]);
    session.console = None;
    let port = session.port();
    let mut member = TcpStream::connect(("127.0.0.1", port)).unwrap();
    writeln!(member, "ala").unwrap();
    session.line("ala joined");
    session.signal(Signal::TERM);
    assert_eq!(session.end(), Some(0));
}

#[test]
fn the_session_survives_an_open_command_without_a_display() {
    let mut session = Session::start(&["-p", "0", "-c", "0"]);
    session.port();
    session.type_in("/open\n");
    session.line("there is no display for the windows");
    session.type_in("/quit\n");
    assert_eq!(session.end(), Some(0));
}

#[test]
fn a_session_whose_stdout_is_closed_accepts_members_and_ends_on_sigterm() {
    let mut command = chat_run(&["-p", "0", "-c", "0"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let port: u16 = first.trim().rsplit_once(':').unwrap().1.parse().unwrap();
    drop(lines);
    let member = TcpStream::connect(("127.0.0.1", port)).unwrap();
    writeln!(&member, "ala").unwrap();
    let mut greetings = BufReader::new(&member).lines();
    assert!(
        greetings
            .by_ref()
            .any(|line| line.unwrap().contains("welcome, ala"))
    );
    rustix::process::kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_session_with_unread_stderr_runs_console_commands_and_ends_on_sigterm() {
    let (_unread, stderr) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&stderr, true).unwrap();
    while (&stderr).write(&[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&stderr, false).unwrap();
    let mut command = chat_run(&["-p", "0", "-c", "0"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(stderr).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let port: u16 = first.trim().rsplit_once(':').unwrap().1.parse().unwrap();
    let mut member = TcpStream::connect(("127.0.0.1", port)).unwrap();
    writeln!(member, "ala").unwrap();
    // The first line is an error, and the second line shows that the error was handled.
    let typed = format!("{}\n/say hello\n", "x".repeat(5000));
    let mut console = child.stdin.take().unwrap();
    console.write_all(typed.as_bytes()).unwrap();
    member.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut heard = BufReader::new(member).lines().map_while(Result::ok);
    assert!(heard.any(|line| line == "* the server: hello"));
    rustix::process::kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = wait_until("the session's end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn killing_the_launcher_ends_the_server_too() {
    let mut session = Session::start(&["-p", "0", "-c", "0"]);
    let port = session.port();
    let mut member = TcpStream::connect(("127.0.0.1", port)).unwrap();
    writeln!(member, "ala").unwrap();
    session.line("ala joined");
    session.signal(Signal::KILL);
    member.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut said = String::new();
    member.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("* the server is shutting down\n"), "{said}");
}

#[test]
fn a_session_with_more_clients_than_seats_starts_with_a_warning() {
    let mut session = Session::start(&["-p", "0", "-t", "none", "-c", "3", "-m", "2"]);
    session.line("only 2 of the 3 clients can join");
    session.signal(Signal::INT);
    assert_eq!(session.end(), Some(0));
}

#[test]
fn a_session_without_windows_needs_no_seats_for_them() {
    let mut session = Session::start(&["-p", "0", "-t", "none", "-m", "1"]);
    session.line("  nc 127.0.0.1 ");
    session.type_in("/quit\n");
    session.line("the room is closed: ");
    assert!(!session.seen.contains("can join:"), "{}", session.seen);
    assert_eq!(session.end(), Some(0));
}

#[test]
fn a_port_in_use_is_reported_with_its_owner_and_an_alternative() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(owner) = TcpListener::bind(address) else {
            continue; // This machine has no IPv6.
        };
        let port = owner.local_addr().unwrap().port();
        let (code, stderr) = refused(chat_run(&["-t", "none", "-p", &port.to_string()]));
        assert_eq!(code, Some(1));
        assert!(
            stderr.contains(&format!("port {port} is in use")),
            "{stderr}"
        );
        assert!(stderr.contains("`-p 0`"), "{stderr}");
        #[cfg(target_os = "linux")]
        assert!(
            stderr.contains(&format!("(pid {})", std::process::id())),
            "{stderr}"
        );
    }
}

#[test]
fn a_missing_display_is_reported_with_an_alternative() {
    for terminal in ["auto", "xterm", "gnome-terminal", "terminator"] {
        let mut command = chat_run(&["-p", "0", "-t", terminal]);
        let bin = TempDir::new().unwrap();
        for program in ["xterm", "gnome-terminal", "terminator"] {
            symlink("/bin/false", bin.path().join(program)).unwrap();
        }
        command.env("PATH", bin.path());
        let (code, stderr) = refused(command);
        assert_eq!(code, Some(1));
        let reason = match terminal {
            "xterm" => "DISPLAY is not set",
            _ => "neither DISPLAY nor WAYLAND_DISPLAY is set",
        };
        assert!(stderr.contains(reason), "{stderr}");
        assert!(stderr.contains("; `-t none` starts"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn a_missing_emulator_is_reported_with_its_package() {
    let bin = TempDir::new().unwrap();
    symlink("/bin/true", bin.path().join("pacman")).unwrap();
    for terminal in ["xterm", "gnome-terminal", "terminator"] {
        let mut command = chat_run(&["-p", "0", "-t", terminal]);
        command.env("PATH", bin.path()).env("DISPLAY", ":0");
        let (code, stderr) = refused(command);
        assert_eq!(code, Some(1));
        let hint = format!("{terminal} is not installed; try `sudo pacman -S {terminal}`");
        assert!(stderr.contains(&hint), "{stderr}");
    }
    let mut command = chat_run(&["-p", "0"]);
    command.env("PATH", bin.path()).env("DISPLAY", ":0");
    let (code, stderr) = refused(command);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("there is no terminal emulator"), "{stderr}");
    assert!(stderr.contains("`sudo pacman -S xterm`"), "{stderr}");
}

#[test]
fn a_missing_server_program_is_reported() {
    let dir = TempDir::new().unwrap();
    let alone = dir.path().join("chat-run");
    fs::copy(env!("CARGO_BIN_EXE_chat-run"), &alone).unwrap();
    let mut command = Command::new(&alone);
    command.args(["-c", "0", "-p", "0"]).env("PATH", dir.path());
    let (code, stderr) = refused(command);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("cannot find chat-server"), "{stderr}");
}

#[test]
fn a_server_that_fails_to_start_ends_the_session() {
    let dir = TempDir::new().unwrap();
    let history = dir.path().join("no").join("such").join("directory");
    let mut command = chat_run(&["-c", "0", "-p", "0", "--history"]);
    command.arg(history);
    let (code, stderr) = refused(command);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("error: the server did not start: it exited with status 1"),
        "{stderr}"
    );
}

#[test]
fn wrong_usage_exits_with_code_2() {
    for (arguments, reason) in [
        (&["-c", "65"][..], "give a number from 0 to 64"),
        (&["-c", "-1"], "give a number from 0 to 64"),
        (&["-c", "x"], "give a number from 0 to 64"),
        (&["-p", "99999"], "a port is a number from 0 to 65535"),
        (&["-p", "x"], "a port is a number from 0 to 65535"),
        (&["-p", "-1"], "a port is a number from 0 to 65535"),
        (&["ala"], "a port is a number from 0 to 65535"),
        (&["8080", "-p", "8081"], "cannot be used with"),
        (&["--rate", "-1"], "give a number from 0 to 4294967295"),
        (&["-m", "-1"], "give a number from 1 to 20000"),
        (&["--replay", "-1"], "give a number of messages, or `all`"),
        (&["-m", "0"], "give a number from 1 to 20000"),
        (&["-t", "putty"], "putty"),
        (&["--names", "ala,ola", "-c", "1"], "2 names for 1 client;"),
        (&["--names", "ala,Ala"], "the same name"),
        (&["--names", "a b c"], "`a b c`"),
        (&["--lan", "--host", "::1"], "cannot be used with"),
        (&["--password", "a\nb"], "in --password: a password cannot"),
    ] {
        let (code, stderr) = refused(chat_run(arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("use '-- "), "{arguments:?}: {stderr}");
    }
}

#[test]
fn an_unknown_emulator_in_the_environment_is_an_error_only_if_windows_open() {
    let with = |arguments: &[&str]| {
        let mut command = chat_run(arguments);
        command.env("CHAT_TERMINAL", "foo");
        command
    };
    let (code, stderr) = refused(with(&["-p", "0"]));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("`foo` in CHAT_TERMINAL"), "{stderr}");
    assert!(stderr.contains("xterm, "), "{stderr}");
    let list = with(&["--list-terminals"]).output().unwrap();
    assert_eq!(list.status.code(), Some(0), "{list:?}");
    for arguments in [&["-p", "0", "-c", "0"][..], &["-p", "0", "-t", "none"]] {
        let mut session = Session::start_command(with(arguments));
        session.port();
        session.signal(Signal::INT);
        assert_eq!(session.end(), Some(0), "{arguments:?}");
    }
}

#[test]
fn a_number_as_the_only_argument_is_the_servers_port() {
    let port = reserved_port();
    let mut session = Session::start(&[&port.to_string(), "-t", "none"]);
    assert_eq!(session.port(), port);
    session.signal(Signal::INT);
    assert_eq!(session.end(), Some(0));
}

#[test]
fn empty_environment_variables_count_as_unset() {
    let mut command = chat_run(&["-p", "0", "-c", "0"]);
    command.env("CHAT_TERMINAL", "").env("CHAT_PASSWORD", "");
    let mut session = Session::start_command(command);
    let port = session.port();
    let mut member = TcpStream::connect(("127.0.0.1", port)).unwrap();
    writeln!(member, "ala").unwrap();
    session.line("ala joined");
    session.signal(Signal::INT);
    assert_eq!(session.end(), Some(0));
}

#[test]
fn list_terminals_marks_the_emulator_that_is_used_by_default() {
    let bin = TempDir::new().unwrap();
    for program in ["xterm", "terminator"] {
        symlink("/bin/false", bin.path().join(program)).unwrap();
    }
    let mut command = chat_run(&["--list-terminals"]);
    command.env("PATH", bin.path()).env("DISPLAY", ":0");
    let output = command.output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with("gnome-terminal"), "{list}");
    assert!(lines[0].contains("not installed"), "{list}");
    assert!(
        lines[1].ends_with("/terminator  (auto takes this one)"),
        "{list}"
    );
    assert!(lines[2].ends_with("/xterm"), "{list}");
}

#[test]
fn list_terminals_gives_install_hints_and_says_if_no_emulator_can_be_used() {
    let bin = TempDir::new().unwrap();
    for program in ["xterm", "apt-get"] {
        symlink("/bin/false", bin.path().join(program)).unwrap();
    }
    let mut command = chat_run(&["--list-terminals"]);
    command.env("PATH", bin.path());
    let output = command.output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    for line in [
        "xterm               installed; needs an X11 display",
        "konsole             not installed; try `sudo apt-get install konsole`",
        "ptyxis              not installed; newer distributions",
        "wezterm             not installed; the WezTerm project",
        "auto finds nothing that works here, and ends with an error; `-t none`",
    ] {
        let is_there = list.lines().any(|listed| listed.starts_with(line));
        assert!(is_there, "{line:?} in\n{list}");
    }
}

#[test]
fn every_piped_line_within_the_length_limit_reaches_the_server() {
    const LINES: usize = 30_000;

    let mut session = Session::start(&["-p", "0", "-t", "none", "--rate", "0"]);
    let mut member = TcpStream::connect(("127.0.0.1", session.port())).unwrap();
    member.set_read_timeout(Some(DEADLINE)).unwrap();
    member.write_all(b"ala\n").unwrap();
    session.line("ala joined");
    // Far more than the pipes and queues on the way can hold.
    let mut console = session.console.take().unwrap();
    let typing = thread::spawn(move || {
        let mut lines: Vec<String> = (0..LINES)
            .map(|line| format!("/say line {line} {}\n", "x".repeat(60)))
            .collect();
        lines.insert(LINES / 2, format!("/say {}\n", "y".repeat(90_000)));
        console.write_all(lines.concat().as_bytes()).unwrap();
        console
    });
    let mut lines = BufReader::new(member).lines().map_while(Result::ok);
    let is_operators = |line: &String| line.starts_with("* the server: ");
    for line in 0..LINES {
        let said = lines.by_ref().find(is_operators).unwrap_or_default();
        let wanted = format!("* the server: line {line} x");
        assert!(said.starts_with(&wanted), "{wanted}: {said}");
    }
    drop(typing.join().unwrap());
    session.line("line ignored: the limit is 4095 bytes");
    session.signal(Signal::TERM);
    assert_eq!(session.end(), Some(0));
}
