//! However a session in panes ends, the terminal is given back and nothing is left.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use rustix::process::Pid;

use super::{CTRL_C, panes, port, scripted, start, with_client};
use support::screen::Screen;
use support::{Signal, wait_until};

/// Whether the terminal is as a shell expects it, with what was on it before.
fn expect_given_back(screen: &Screen, modes: &str) {
    wait_until("the terminal is given back", || {
        let is_plain = screen.look(|screen| {
            !screen.alternate_screen() && !screen.bracketed_paste() && !screen.hide_cursor()
        });
        (is_plain && screen.modes() == modes).then_some(())
    });
}

/// The processes of this session that still run, by what their arguments have.
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
    wait_until("nothing is left", || left(port).is_empty().then_some(()));
}

#[test]
fn every_asked_for_end_gives_the_terminal_back_with_the_summary() {
    type Tell = fn(&mut Screen);
    let ends: [(&str, Tell); 4] = [
        ("Ctrl+C", |screen| screen.type_keys(CTRL_C)),
        ("SIGTERM", |screen| send(screen, Signal::TERM)),
        ("SIGHUP", |screen| send(screen, Signal::HUP)),
        ("/quit", |screen| screen.type_keys("\x1b0/quit\r")),
    ];
    for (name, tell) in ends {
        let command = panes(&["--names", "ala,ola,jan"]);
        let mut screen = after_a_line(&command);
        let modes = screen.modes();
        screen.expect("3 online");
        assert_ne!(screen.modes(), modes);
        let port = port(&screen);
        tell(&mut screen);
        assert_eq!(screen.end().exit_code(), 0, "{name}");
        expect_given_back(&screen, &modes);
        screen.wait("the summary under what was there before", |text| {
            let mut lines = text.lines();
            let is_summary = |line: &str| {
                line.starts_with("the room is closed: ") && line.ends_with("3 joined, 0 messages")
            };
            (lines.next() == Some("before") && lines.next().is_some_and(is_summary)).then_some(())
        });
        assert!(left(port).is_empty(), "{name}: {:?}", left(port));
    }
}

/// Starts `command` on a terminal that has a line on it already.
fn after_a_line(command: &Command) -> Screen {
    let mut shell = support::after("echo before", command);
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
fn a_launcher_that_is_killed_or_crashes_gives_the_terminal_back_all_the_same() {
    for signal in [Signal::KILL, Signal::ABORT] {
        let mut screen = after_a_line(&panes(&["--names", "ala,ola,jan"]));
        let modes = screen.modes();
        screen.expect("3 online");
        let port = port(&screen);
        send(&screen, signal);
        assert_ne!(screen.end().exit_code(), 0);
        expect_given_back(&screen, &modes);
        assert!(screen.text().starts_with("before"), "{}", screen.text());
        expect_nothing_left(port);
    }
}

#[test]
fn a_keeper_that_is_killed_is_not_left_as_a_zombie_and_the_session_goes_on() {
    let mut screen = after_a_line(&panes(&["--names", "ala"]));
    let modes = screen.modes();
    screen.expect("1 online");
    let children = format!("/proc/{0}/task/{0}/children", screen.pid());
    let children = fs::read_to_string(children).unwrap();
    let keeper = children.split_whitespace().find(|pid| {
        fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|arguments| arguments.contains("--keep-terminal"))
    });
    let keeper: i32 = keeper.unwrap().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(keeper).unwrap(), Signal::KILL).unwrap();
    wait_until("it is reaped", || {
        (!Path::new(&format!("/proc/{keeper}")).exists()).then_some(())
    });
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
    expect_given_back(&screen, &modes);
}

#[test]
fn a_server_that_is_killed_ends_the_session() {
    let mut screen = after_a_line(&panes(&["--names", "ala,ola,jan"]));
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
    expect_given_back(&screen, &modes);
    screen.expect("error: the server ended by itself (signal: 9 (SIGKILL))");
    expect_nothing_left(port);
}

#[test]
fn clients_that_do_not_react_are_waited_for_by_name_and_killed() {
    let folder = with_client("trap '' TERM HUP INT; echo ready; while :; do sleep 60; done");
    let mut screen = Screen::start(&scripted(&folder, &["--names", "ala"]), 120, 24);
    screen.expect("ready");
    let port = port(&screen);
    screen.type_keys(CTRL_C);
    screen.expect("waiting for the window chat 1 - ala (pid ");
    assert_eq!(screen.end().exit_code(), 0);
    expect_nothing_left(port);
}

#[test]
fn a_terminal_that_takes_nothing_does_not_hold_up_the_end() {
    let folder = with_client("yes 'a line of text that goes on and on'");
    let command = scripted(&folder, &["-c", "3"]);
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
    // From here on nobody reads it.
    let pid = child.process_id().unwrap();
    let draw = wait_until("the thread that draws", || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        tasks
            .map(|task| task.path())
            .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "draw\n"))
    });
    wait_until("it is held up", || {
        let waits_in = fs::read_to_string(draw.join("syscall")).unwrap_or_default();
        // write(2) is number 1 on x86-64 and 64 on arm64.
        (waits_in.starts_with("1 ") || waits_in.starts_with("64 ")).then_some(())
    });
    let mut writer = pair.master.take_writer().unwrap();
    writer.write_all(CTRL_C.as_bytes()).unwrap();
    let status = wait_until("it ends", || child.try_wait().unwrap());
    assert_eq!(status.exit_code(), 0);
}

#[test]
fn ctrl_c_ends_the_session_whatever_the_terminal_sent_before() {
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
