//! The log file: its contents, rotation, and files that cannot be written.

#![cfg(unix)] // File modes, and devices.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use support::{Client, Program, Server, Signal, chat_server, run, wait_until};
use tempfile::tempdir;

/// Waits until the file has a line that ends with `end`, and returns all of its lines.
#[track_caller]
fn lines(path: &str, end: &str) -> Vec<String> {
    wait_until(&format!("{end:?} in the log file"), || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(String::from).collect();
        lines
            .iter()
            .any(|line| line.ends_with(end))
            .then_some(lines)
    })
}

#[test]
fn the_log_file_has_each_line_of_the_log_with_the_date_and_without_color() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("log.txt");
    let path = path.to_str().unwrap();
    let server = Server::start(&["--log", path, "--color", "always"]);
    let mut ala = server.join("ala 3ID12");
    let mut ola = server.join("ola");
    ala.send("cześć");
    ola.skip_to("ala: cześć");
    ala.send("/msg ola a secret");
    ola.expect("[ala] a secret");
    ola.send("bye");
    ala.skip_to("ola: bye");
    server.program.signal(Signal::TERM);
    let lines = lines(path, "2 joined, 2 messages");
    for (number, line) in lines.iter().enumerate() {
        let shape: String = line
            .chars()
            .take(20)
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(shape, "0000-00-00 00:00:00 ", "{number}: {lines:#?}");
    }
    let texts: Vec<&str> = lines.iter().map(|line| &line[20..]).collect();
    assert!(
        texts[0].starts_with("listening on 127.0.0.1:"),
        "{texts:#?}"
    );
    for line in [
        "* ala (3ID12) joined",
        "* ola joined",
        "ala: cześć",
        "ola: bye",
    ] {
        assert!(texts.contains(&line), "{texts:#?}");
    }
    let text = lines.join("\n");
    assert!(!text.contains('\x1b') && !text.contains("secret"), "{text}");
    let mode = fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_log_file_is_appended_to() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("log.txt");
    fs::write(&path, "what was there\n").unwrap();
    let path = path.to_str().unwrap();
    let server = Server::start(&["--log", path]);
    let _ala = server.join("ala");
    assert_eq!(lines(path, "* ala joined")[0], "what was there");
}

#[test]
fn a_log_file_that_was_moved_away_is_replaced_by_a_new_one() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("log.txt");
    let old = dir.path().join("log.txt.1");
    let server = Server::start(&["--log", path.to_str().unwrap()]);
    let mut ala = server.join("ala");
    lines(path.to_str().unwrap(), "* ala joined");
    fs::rename(&path, &old).unwrap();
    ala.send("after the rename");
    let new = lines(path.to_str().unwrap(), "ala: after the rename");
    assert_eq!(new.len(), 1, "{new:#?}");
    assert!(!fs::read_to_string(&old).unwrap().contains("rename"));
}

#[test]
fn a_log_file_that_cannot_be_created_is_an_error_at_start() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("missing/log.txt");
    for path in [path.to_str().unwrap(), dir.path().to_str().unwrap()] {
        run(chat_server(&["-p", "0", "--log", path]))
            .expect_code(1)
            .expect_stderr(&format!("error: cannot open the log file {path}: "))
            .expect_stderr("name a file that can be written, or leave --log out");
    }
}

#[test]
fn the_log_and_the_history_cannot_share_a_file() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("file");
    let path = path.to_str().unwrap();
    run(chat_server(&["-p", "0", "--log", path, "--history", path]))
        .expect_code(1)
        .expect_stderr("--log and --history name the same file");
}

#[test]
#[cfg(target_os = "linux")] // /dev/full
fn a_full_disk_is_reported_once_and_the_chat_goes_on() {
    let server = Server::start(&["--log", "/dev/full"]);
    let mut ala = server.join("ala");
    let mut ola = server.join("ola");
    for number in 0..20 {
        ala.send(&format!("message {number}"));
        ola.skip_to(&format!("ala: message {number}"));
    }
    server.program.expect_stdout("ala: message 19");
    let log = server.program.stdout();
    let reports = log
        .matches("! the log file /dev/full cannot be written: ")
        .count();
    assert_eq!(reports, 1, "{log}");
}

#[test]
fn the_log_file_is_complete_even_if_nothing_reads_the_servers_stdout() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("log.txt");
    let path = path.to_str().unwrap();
    let mut command = chat_server(&["-p", "0", "--rate", "0", "--log", path]);
    command.stdout(Stdio::piped());
    let mut program = Program::start_unread(command);
    let _unread = program.take_stdout();
    let address = wait_until("the address", || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let (_, address) = text.trim_end().rsplit_once("listening on ")?;
        address.lines().next()?.parse().ok()
    });
    let mut ala = Client::connect(address).join("ala");
    // More than fits in the pipe and in the queue of the log.
    for number in 0..10_000 {
        ala.send(&format!("message {number}"));
    }
    let lines = lines(path, "ala: message 9999");
    let messages = lines.iter().filter(|line| line.contains("ala: message "));
    assert_eq!(messages.count(), 10_000);
}
