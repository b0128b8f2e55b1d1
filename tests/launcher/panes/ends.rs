//! However a session in panes ends, the terminal is restored and no process is left.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use rustix::process::Pid;

use super::{CTRL_C, panes, port, put_script, scripted, start, with_client};
use support::screen::Screen;
use support::{Signal, wait_until};

/// Waits until the terminal has its old modes and its main screen.
fn expect_restored(screen: &Screen, modes: &str) {
    wait_until("the terminal is restored", || {
        let is_plain = screen.inspect(|screen| {
            !screen.alternate_screen() && !screen.bracketed_paste() && !screen.hide_cursor()
        });
        (is_plain && screen.modes() == modes).then_some(())
    });
}

/// The command lines of running `chat-…` processes that contain the session's port.
fn left(port: u16) -> Vec<String> {
    let wanted = port.to_string();
    let processes = procfs::process::all_processes().unwrap().flatten();
    processes
        .filter_map(|process| process.cmdline().ok())
        .map(|arguments| arguments.join(" "))
        .filter(|line| line.contains("chat-") && line.split(' ').any(|word| word == wanted))
        .collect()
}

fn expect_nothing_left(port: u16) {
    wait_until("no process is left", || left(port).is_empty().then_some(()));
}

#[test]
fn ending_a_session_restores_the_terminal_and_prints_the_summary() {
    type End = fn(&mut Screen);
    let ends: [(&str, End); 4] = [
        ("Ctrl+C", |screen| screen.type_keys(CTRL_C)),
        ("SIGTERM", |screen| send(screen, Signal::TERM)),
        ("SIGHUP", |screen| send(screen, Signal::HUP)),
        ("/quit", |screen| screen.type_keys("\x1b0/quit\r")),
    ];
    for (name, end) in ends {
        let command = panes(&["--names", "ala,ola,jan"]);
        let mut screen = start_below_a_line(&command);
        let modes = screen.modes();
        screen.expect("3 online");
        assert_ne!(screen.modes(), modes);
        let port = port(&screen);
        end(&mut screen);
        assert_eq!(screen.end().exit_code(), 0, "{name}");
        expect_restored(&screen, &modes);
        screen.wait(
            "the log and the summary under what was there before",
            |text| {
                let rows: Vec<&str> = text.trim_end().lines().collect();
                let end = rows
                    .iter()
                    .position(|row| row.starts_with("the room is closed: "))?;
                let ([first, log @ ..], [summary, proof, ..]) = rows.split_at(end) else {
                    return None;
                };
                let is_summary = summary.ends_with("3 joined, 0 messages")
                    && proof.starts_with("proof: 3 of 3 clients were checked, ");
                let is_whole = *first == "before"
                    && log[0].starts_with("listening on ")
                    && log.iter().filter(|row| row.contains(" joined")).count() == 3;
                (is_summary && is_whole).then_some(())
            },
        );
        assert!(left(port).is_empty(), "{name}: {:?}", left(port));
    }
}

/// Joins the room of this session as someone else would. After that, `online` members are online.
fn join(screen: &Screen, name: &str, online: usize) -> TcpStream {
    let mut member = TcpStream::connect(("127.0.0.1", port(screen))).unwrap();
    member.write_all(format!("{name}\n").as_bytes()).unwrap();
    screen.expect(&format!("· {online} online"));
    member
}

#[test]
fn ctrl_c_asks_for_a_second_ctrl_c_if_others_are_in_the_room() {
    let mut screen = start(&["--names", "ala,ola"], 100, 30);
    let _jan = join(&screen, "jan", 3);
    screen.type_keys(CTRL_C);
    screen.expect("Ctrl+C again ends the session for 1 member");
    // Any other key withdraws the question.
    screen.type_keys("h");
    screen.expect_gone("Ctrl+C again");
    screen.type_keys("ello\r");
    screen.expect(" ala: hello");
    let _ela = join(&screen, "ela", 4);
    screen.type_keys(&format!("\x1b0{CTRL_C}"));
    screen.expect("Ctrl+C again ends the session for 2 members");
    // The question is also withdrawn after some time.
    screen.expect_gone("Ctrl+C again");
    screen.type_keys(CTRL_C);
    screen.expect("Ctrl+C again");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
}

#[test]
fn a_client_that_has_no_name_yet_does_not_count_as_a_member_of_the_session() {
    let mut screen = Screen::start(&panes(&["-c", "2"]), 100, 30);
    screen.expect("0 online");
    screen.expect("name, and group if you like");
    let jan = join(&screen, "jan", 1);
    screen.type_keys(CTRL_C);
    screen.expect("Ctrl+C again ends the session for 1 member");
    drop(jan);
    screen.expect("· 0 online");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
}

#[test]
fn a_signal_ends_a_session_without_a_question() {
    for signal in [Signal::TERM, Signal::HUP] {
        let mut screen = start(&["--names", "ala"], 100, 30);
        let _jan = join(&screen, "jan", 2);
        send(&screen, signal);
        assert_eq!(screen.end().exit_code(), 0);
    }
}

/// Starts `command` on a terminal that already shows a line of text.
fn start_below_a_line(command: &Command) -> Screen {
    let mut shell = support::with_setup("echo before", command);
    shell.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    for (name, value) in command.get_envs() {
        if value.is_none() {
            shell.env_remove(name);
        }
    }
    Screen::start(&shell, 80, 24)
}

fn send(screen: &Screen, signal: Signal) {
    let pid = Pid::from_raw(screen.pid().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[test]
fn the_terminal_is_restored_if_the_launcher_is_killed_or_crashes() {
    for signal in [Signal::KILL, Signal::ABORT] {
        let mut screen = start_below_a_line(&panes(&["--names", "ala,ola,jan"]));
        let modes = screen.modes();
        screen.expect("3 online");
        let port = port(&screen);
        send(&screen, signal);
        assert_ne!(screen.end().exit_code(), 0);
        expect_restored(&screen, &modes);
        assert!(screen.text().starts_with("before"), "{}", screen.text());
        expect_nothing_left(port);
    }
}

#[test]
fn a_killed_terminal_watchdog_is_reaped_and_the_session_goes_on() {
    let mut screen = start_below_a_line(&panes(&["--names", "ala"]));
    let modes = screen.modes();
    screen.expect("1 online");
    let children = format!("/proc/{0}/task/{0}/children", screen.pid());
    let children = fs::read_to_string(children).unwrap();
    let watchdog = children.split_whitespace().find(|pid| {
        fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|arguments| arguments.contains("--terminal-watchdog"))
    });
    let watchdog: i32 = watchdog.unwrap().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(watchdog).unwrap(), Signal::KILL).unwrap();
    wait_until("the watchdog is reaped", || {
        (!Path::new(&format!("/proc/{watchdog}")).exists()).then_some(())
    });
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
    expect_restored(&screen, &modes);
}

#[test]
fn killing_the_server_ends_the_session() {
    let mut screen = start_below_a_line(&panes(&["--names", "ala,ola,jan"]));
    let modes = screen.modes();
    screen.expect("3 online");
    let port = port(&screen);
    let children = format!("/proc/{0}/task/{0}/children", screen.pid());
    let children = fs::read_to_string(children).unwrap();
    let server = children.split_whitespace().find(|pid| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "chat-server\n")
    });
    let server = Pid::from_raw(server.unwrap().parse().unwrap()).unwrap();
    rustix::process::kill_process(server, Signal::KILL).unwrap();
    assert_eq!(screen.end().exit_code(), 1);
    expect_restored(&screen, &modes);
    screen.expect("error: the server was killed by signal 9 (SIGKILL)");
    expect_nothing_left(port);
}

#[test]
fn the_last_lines_of_a_failed_servers_log_are_shown_on_the_terminal() {
    let dir = with_client("exec cat");
    let server = dir.path().join("chat-server");
    fs::remove_file(&server).unwrap();
    let script = "printf 'listening on 127.0.0.1:9999\\n'; read -r line; \
         seq -f '\\e[32mline %.0f.\\e[m' 1 50; \
         echo 'error: cannot go on' >&2; exit 3";
    put_script(&server, &script.replace("\\e", "\x1b"));
    let mut screen = Screen::start(&scripted(&dir, &["-c", "1"]), 80, 40);
    screen.expect("▶ chat 1");
    screen.type_keys("\x1b0/go\r");
    assert_eq!(screen.end().exit_code(), 1);
    screen.expect("error: the server exited with status 3");
    let text = screen.text();
    assert!(text.contains("line 50."), "{text}");
    assert!(!text.contains("line 30."), "{text}");
    assert!(text.contains("error: cannot go on"), "{text}");
    let row = text.lines().position(|row| row == "line 50.").unwrap() as u16;
    let color = screen.inspect(|screen| screen.cell(row, 0).unwrap().fgcolor());
    assert_eq!(color, vt100::Color::Idx(2), "{text}");
}

#[test]
fn unresponsive_clients_are_named_and_killed() {
    let dir = with_client("trap '' TERM HUP INT; echo ready; while :; do sleep 60; done");
    let mut screen = Screen::start(&scripted(&dir, &["--names", "ala"]), 120, 24);
    screen.expect("ready");
    let port = port(&screen);
    screen.type_keys(CTRL_C);
    screen.expect("waiting for the window chat 1 - ala (pid ");
    assert_eq!(screen.end().exit_code(), 0);
    expect_nothing_left(port);
}

#[test]
fn a_session_ends_even_if_its_terminal_takes_no_output() {
    let dir = with_client("yes 'a line of text that goes on and on'");
    let command = scripted(&dir, &["-c", "3"]);
    let mut builder = CommandBuilder::new(command.get_program());
    builder.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => builder.env(name, value),
            None => builder.env_remove(name),
        }
    }
    let pair = native_pty_system().openpty(PtySize::default()).unwrap();
    let mut child = pair.slave.spawn_command(builder).unwrap();
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().unwrap();
    let mut seen = Vec::new();
    while memchr::memmem::find(&seen, b"goes").is_none() {
        let mut bytes = [0; 4096];
        let count = reader.read(&mut bytes).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&bytes[..count]);
    }
    // From here on, nothing reads from the terminal.
    let pid = child.process_id().unwrap();
    let draw = wait_until("the drawing thread exists", || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        tasks
            .map(|task| task.path())
            .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "draw\n"))
    });
    wait_until("the drawing thread is blocked in write", || {
        let waits_in = fs::read_to_string(draw.join("syscall")).unwrap_or_default();
        // write(2) is number 1 on x86-64 and 64 on arm64.
        (waits_in.starts_with("1 ") || waits_in.starts_with("64 ")).then_some(())
    });
    let mut writer = pair.master.take_writer().unwrap();
    writer.write_all(CTRL_C.as_bytes()).unwrap();
    let status = wait_until("the launcher exits", || child.try_wait().unwrap());
    assert_eq!(status.exit_code(), 0);
}

#[test]
fn ctrl_c_ends_the_session_after_stray_terminal_replies() {
    for before in ["\x1b[?2026;0$y", "\x1b[?1;1R", "\x1b[?", "\x1b[200~abc"] {
        let mut screen = start(&["--names", "ala"], 100, 30);
        screen.type_keys(before);
        if !before.ends_with("abc") {
            screen.type_keys("\rhello\r");
            screen.expect("ala: hello");
        }
        screen.type_keys(CTRL_C);
        assert_eq!(screen.end().exit_code(), 0, "{before:?}");
    }
}
