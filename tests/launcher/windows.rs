//! Sessions with real windows of each terminal emulator, each test on an X server of its own.
//! `./run.sh test` installs the programs they need.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Child;

use rustix::process::Signal;

use support::desktop::{Desktop, Window};
use support::session::{Session, send};
use support::wait::DEADLINE;

const MEMBERS: [&str; 3] = ["ala", "ola", "jan"];

/// Starts a session of three named clients in windows of `terminal`.
fn start_three<'a>(desktop: &'a Desktop, terminal: &str) -> Session<'a> {
    Session::start(
        desktop,
        &["-p", "0", "-t", terminal, "--names", "ala,ola,jan"],
    )
}

/// A plain-text client, to check what the server sends.
fn join(port: u16, name: &str) -> BufReader<TcpStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    writeln!(socket, "{name}").unwrap();
    let mut lines = BufReader::new(socket);
    read_until(&mut lines, "welcome");
    lines
}

/// Reads lines until one contains `text`, and returns that line.
fn read_until(lines: &mut BufReader<TcpStream>, text: &str) -> String {
    let mut read = String::new();
    loop {
        let mut line = String::new();
        let count = lines.read_line(&mut line).unwrap_or(0);
        assert!(count > 0, "the server did not send `{text}`, but:\n{read}");
        if line.contains(text) {
            return line;
        }
        read.push_str(&line);
    }
}

/// Runs each test with each emulator.
macro_rules! for_each_emulator {
    ($($test:ident),* $(,)?) => {
        mod gnome_terminal { $(#[test] fn $test() { super::$test("gnome-terminal"); })* }
        mod terminator { $(#[test] fn $test() { super::$test("terminator"); })* }
        mod xterm { $(#[test] fn $test() { super::$test("xterm"); })* }
        mod konsole { $(#[test] fn $test() { super::$test("konsole"); })* }
        mod xfce4_terminal { $(#[test] fn $test() { super::$test("xfce4-terminal"); })* }
        mod kitty { $(#[test] fn $test() { super::$test("kitty"); })* }
        mod alacritty { $(#[test] fn $test() { super::$test("alacritty"); })* }
    };
}

for_each_emulator! {
    a_message_typed_in_one_window_appears_in_the_others,
    alt_b_moves_the_cursor_by_a_word,
    ctrl_c_ends_the_whole_session,
    sigterm_and_sighup_end_the_whole_session,
    killing_the_launcher_ends_the_whole_session,
    killing_the_launcher_ends_a_frozen_client,
    a_stopped_client_is_ended_with_sigterm,
    closing_a_window_ends_only_its_client,
    killing_the_server_ends_the_session,
    the_open_command_starts_more_clients,
    new_windows_leave_the_focus_to_the_first_client,
    the_big_option_enlarges_the_letters,
}

fn a_message_typed_in_one_window_appears_in_the_others(terminal: &str) {
    let desktop = Desktop::new();
    let mut session = start_three(&desktop, terminal);
    let windows = session.wait_for_members(&MEMBERS);
    for (window, title) in windows
        .iter()
        .zip(["chat 1 - ala", "chat 2 - ola", "chat 3 - jan"])
    {
        assert!(window.title.starts_with(title), "{windows:#?}");
    }

    let port = session.port();
    let mut plain = join(port, "plain");
    desktop.type_in(&windows[0], "written in window 1");
    assert_eq!(
        read_until(&mut plain, "window 1"),
        "ala: written in window 1\n"
    );
    session.wait_for_text("written in window 1");
    for window in &windows[1..] {
        session.wait_for(&format!("text in {}", window.title), || {
            let text = desktop.text_in(window);
            text.contains("ala: written in window 1").then_some(())
        });
    }
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

fn alt_b_moves_the_cursor_by_a_word(terminal: &str) {
    let desktop = Desktop::new();
    let arguments = ["-p", "0", "-t", terminal, "-c", "1", "--names", "ala"];
    let mut session = Session::start(&desktop, &arguments);
    let windows = session.wait_for_members(&MEMBERS[..1]);
    // The session may still move the focus, so try again until the window gets all keys.
    session.wait_for("a typed line", || {
        desktop.type_in(&windows[0], "first");
        session.shown().contains(": first").then_some(())
    });
    for key in ["a", "space", "b", "alt+b", "x", "Return"] {
        desktop.press_in(&windows[0], key);
    }
    session.wait_for_text(": a xb");
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
}

fn ctrl_c_ends_the_whole_session(terminal: &str) {
    let desktop = Desktop::new();
    // The session allows its processes more time to end than this test waits, so none of them can
    // have needed a signal.
    let end_time = (2 * DEADLINE).as_millis().to_string();
    let names = MEMBERS.join(",");
    let arguments = ["-p", "0", "-t", terminal, "--names", &names];
    let arguments = [&arguments[..], &["--end-time", &end_time]].concat();
    let mut session = Session::start(&desktop, &arguments);
    session.wait_for_members(&MEMBERS);
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
    assert!(session.shown().contains("the room is closed: "));
    assert!(session.shown().contains("3 joined, 0 messages"));
}

fn sigterm_and_sighup_end_the_whole_session(terminal: &str) {
    let desktop = Desktop::new();
    for signal in [Signal::TERM, Signal::HUP] {
        let mut session = start_three(&desktop, terminal);
        session.wait_for_members(&MEMBERS);
        session.signal(signal);
        assert_eq!(session.wait(), 0, "{}", session.shown());
        session.assert_cleaned_up();
    }
}

fn killing_the_launcher_ends_the_whole_session(terminal: &str) {
    let desktop = Desktop::new();
    let mut session = start_three(&desktop, terminal);
    session.wait_for_members(&MEMBERS);
    session.signal(Signal::KILL);
    assert_ne!(session.wait(), 0);
    session.wait_for_cleanup();
}

fn killing_the_launcher_ends_a_frozen_client(terminal: &str) {
    let desktop = Desktop::new();
    let mut session = start_three(&desktop, terminal);
    session.wait_for_members(&MEMBERS);
    session.type_in("/freeze ola\n");
    session.wait_for_text("* ola is frozen");
    session.signal(Signal::KILL);
    assert_ne!(session.wait(), 0);
    session.wait_for_cleanup();
}

fn a_stopped_client_is_ended_with_sigterm(terminal: &str) {
    let desktop = Desktop::new();
    let mut session = start_three(&desktop, terminal);
    session.wait_for_members(&MEMBERS);
    let client = session.process("chat-client", "ola");
    send(client.pid, Signal::STOP);
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
    // The notice may name windows before the client.
    let waited_for = format!("the client of chat 2 - ola (pid {})", client.pid);
    for part in [&waited_for, ": sending SIGTERM"] {
        assert!(session.shown().contains(part), "{}", session.shown());
    }
    assert!(
        !session.shown().contains("cannot end"),
        "{}",
        session.shown()
    );
}

fn closing_a_window_ends_only_its_client(terminal: &str) {
    let desktop = Desktop::new();
    let mut session = start_three(&desktop, terminal);
    let windows = session.wait_for_members(&MEMBERS);
    desktop.close(&windows[1]);
    session.wait_for_text("ola left");
    let rest = session.wait_for_windows(2);
    assert_eq!(rest, [windows[0].clone(), windows[2].clone()]);
    let mut plain = join(session.port(), "plain");
    desktop.type_in(&windows[2], "still here");
    read_until(&mut plain, "jan: still here");
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    // Some emulators kill the client of a closed window before it can report what it has received.
    session.wait_for_text(" of 4 clients were checked");
    session.assert_cleaned_up();
}

fn killing_the_server_ends_the_session(terminal: &str) {
    let desktop = Desktop::new();
    let mut session = start_three(&desktop, terminal);
    session.wait_for_members(&MEMBERS);
    send(
        session.process("chat-server", "--supervised").pid,
        Signal::KILL,
    );
    assert_eq!(session.wait(), 1, "{}", session.shown());
    session.assert_cleaned_up();
    session.wait_for_text("error: the server was killed by signal 9 (SIGKILL)");
    session.wait_for_text("the room is closed: ");
}

fn the_open_command_starts_more_clients(terminal: &str) {
    let desktop = Desktop::new();
    let mut session = Session::start(&desktop, &["-p", "0", "-t", terminal, "-c", "0"]);
    session.port();
    session.type_in("/open ala 3ID12\n");
    session.wait_for_text("ala (3ID12) joined");
    let windows = session.wait_for_windows(1);
    // gnome-terminal's server process exits with its last window.
    desktop.close(&windows[0]);
    session.wait_for_text("left");
    session.wait_for_windows(0);
    session.type_in("/open ola\n");
    session.wait_for_text("ola joined");
    session.type_in("/open\n");
    let windows = session.wait_for_windows(2);
    assert!(windows[1].title.starts_with("chat 3"), "{windows:#?}");
    session.type_in("/open *\n");
    let error = session.wait_for("error", || {
        let shown = session.shown();
        let line = shown.lines().find(|line| line.contains("`*`"))?;
        Some(line.trim_end().to_owned())
    });
    // The error looks like one of the server's: the time, then the rest in yellow.
    let (_, text) = error.split_once(':').unwrap();
    assert_eq!(&text[5..17], " \x1b[0m\x1b[33m! ", "{error:?}");
    session.type_in("/quit\n");
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

fn new_windows_leave_the_focus_to_the_first_client(terminal: &str) {
    let desktop = Desktop::new();
    let mut session = start_three(&desktop, terminal);
    session.wait_for_members(&MEMBERS);
    session.wait_for("focus", || {
        desktop
            .active_title()
            .starts_with("chat 1 - ala")
            .then_some(())
    });
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

fn the_big_option_enlarges_the_letters(terminal: &str) {
    let desktop = Desktop::new();
    let width = |size: &[&str]| {
        let arguments = ["-p", "0", "-t", terminal, "--names", "ala", "-c", "1"];
        let mut session = Session::start(&desktop, &[&arguments, size].concat());
        let windows = session.wait_for_members(&["ala"]);
        session.wait_for("text", || {
            let text = desktop.text_in(&windows[0]);
            text.contains("welcome").then_some(())
        });
        let client = session.process("chat-client", "ala");
        let screen = File::open(format!("/proc/{}/fd/0", client.pid)).unwrap();
        let columns = rustix::termios::tcgetwinsize(screen).unwrap().ws_col;
        let width = desktop.width_of(&windows[0]) / i32::from(columns);
        session.ctrl_c();
        assert_eq!(session.wait(), 0, "{}", session.shown());
        session.assert_cleaned_up();
        width
    };
    let (usual, big) = (width(&[]), width(&["--big"]));
    assert!(big * 3 >= usual * 4, "{usual} pixels, and big ones {big}");
}

#[test]
fn closing_the_launchers_terminal_ends_the_whole_session() {
    let desktop = Desktop::new();
    let mut xterm = desktop.command("xterm");
    xterm.args(["-T", "a terminal", "-e", env!("CARGO_BIN_EXE_chat-run")]);
    xterm.args(["-p", "0", "-t", "gnome-terminal", "--names", "ala,ola,jan"]);
    let mut xterm = xterm.spawn().unwrap();
    let watched = Watched { desktop: &desktop };
    let windows = watched.wait_for("windows", || {
        let windows = desktop.windows("chat ");
        (windows.len() == 3).then_some(windows)
    });
    for window in &windows {
        watched.wait_for("a welcome", || {
            desktop.text_in(window).contains("welcome").then_some(())
        });
    }

    let terminal = desktop.windows("a terminal");
    desktop.close(&terminal[0]);
    xterm.wait().unwrap();
    watched.wait_for("cleanup", || {
        let left = desktop.running().is_empty() && desktop.windows("chat ").is_empty();
        left.then_some(())
    });
}

/// Waits on a desktop without a [`Session`].
pub(crate) struct Watched<'a> {
    pub(crate) desktop: &'a Desktop,
}

impl Watched<'_> {
    pub(crate) fn wait_for<T>(&self, what: &str, answer: impl FnMut() -> Option<T>) -> T {
        let captured = || {
            let windows = self.desktop.windows("");
            let texts: Vec<String> = windows
                .iter()
                .map(|window| self.desktop.text_in(window))
                .collect();
            format!("{:#?}\n{windows:#?}\n{texts:#?}", self.desktop.running())
        };
        support::wait::wait_at_most(DEADLINE, what, captured, answer)
    }
}

/// Starts `chat-run` in an xterm called `launcher`, at this place.
fn run_in_xterm(desktop: &Desktop, geometry: &str, arguments: &[&str]) -> Child {
    let mut xterm = desktop.command("xterm");
    xterm.args(["-fa", "Monospace", "-fs", "11", "-geometry", geometry]);
    xterm.args(["-T", "launcher", "-e", env!("CARGO_BIN_EXE_chat-run")]);
    xterm.args(["-p", "0"]).args(arguments).spawn().unwrap()
}

/// Whether two windows, without their frames, have a part of the screen in common.
fn overlap(a: [i32; 4], b: [i32; 4]) -> bool {
    let apart = |axis: usize| a[axis] + a[axis + 2] <= b[axis] || b[axis] + b[axis + 2] <= a[axis];
    !apart(0) && !apart(1)
}

fn wait_for_count(watched: &Watched<'_>, count: usize) -> Vec<Window> {
    watched.wait_for("client windows", || {
        let windows = watched.desktop.windows("chat ");
        (windows.len() == count).then_some(windows)
    })
}

#[test]
fn windows_neither_cover_the_launchers_terminal_nor_take_its_focus() {
    let desktop = Desktop::new();
    let watched = Watched { desktop: &desktop };
    for geometry in ["80x24+0+0", "80x24-0-0", "80x24+430+258"] {
        let arguments = ["-t", "xterm", "-c", "6"];
        let mut launcher = run_in_xterm(&desktop, geometry, &arguments);
        let clients = wait_for_count(&watched, 6);
        let terminal = desktop.windows("launcher").remove(0);
        let place = desktop.geometry(&terminal);
        for client in &clients {
            let other = desktop.geometry(client);
            assert!(!overlap(place, other), "{place:?} {client:?} {other:?}");
        }
        for client in &clients {
            watched.wait_for("a question", || {
                desktop.text_in(client).contains("name").then_some(())
            });
        }
        desktop.activate(&terminal);
        desktop.type_in(&terminal, "/open");
        wait_for_count(&watched, 7);
        watched.wait_for("focus", || {
            (desktop.active_title() == "launcher").then_some(())
        });
        desktop.press_in(&terminal, "ctrl+c");
        launcher.wait().unwrap();
        wait_for_count(&watched, 0);
    }
}

#[test]
fn the_first_columns_of_a_large_launcher_terminal_stay_visible() {
    let desktop = Desktop::new();
    let watched = Watched { desktop: &desktop };
    let mut launcher = run_in_xterm(&desktop, "170x50+0+0", &["-t", "xterm", "-c", "6"]);
    let clients = wait_for_count(&watched, 6);
    let terminal = desktop.windows("launcher").remove(0);
    let [x, y, width, height] = desktop.geometry(&terminal);
    assert!(width > 1500, "{width}");
    for client in &clients {
        let other = desktop.geometry(client);
        assert!(!overlap([x, y, 360, height], other), "{client:?} {other:?}");
    }
    desktop.press_in(&terminal, "ctrl+c");
    launcher.wait().unwrap();
}

#[test]
fn a_later_window_takes_a_free_place() {
    let desktop = Desktop::new();
    let mut session = start_three(&desktop, "xterm");
    let windows = session.wait_for_members(&MEMBERS);
    let places: Vec<[i32; 4]> = windows.iter().map(|w| desktop.geometry(w)).collect();
    desktop.close(&windows[1]);
    session.wait_for_text("ola left");
    session.wait_for_windows(2);
    session.type_in("/open ela\n");
    session.wait_for_text("ela joined");
    let windows = session.wait_for_windows(3);
    assert_eq!(desktop.geometry(&windows[2]), places[1]);
    session.type_in("/open iza\n");
    session.wait_for_text("iza joined");
    let new = desktop.geometry(&session.wait_for_windows(4)[3]);
    for place in places {
        assert!(!overlap(new, place), "{new:?} {place:?}");
    }
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

#[test]
fn ctrl_c_in_a_window_ends_only_its_client() {
    let desktop = Desktop::new();
    let mut session = start_three(&desktop, "xterm");
    let windows = session.wait_for_members(&MEMBERS);
    desktop.press_in(&windows[2], "ctrl+c");
    session.wait_for_text("jan left");
    session.wait_for_windows(2);
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

#[test]
fn clients_join_in_the_order_of_their_names() {
    let desktop = Desktop::new();
    let names = ["zoe", "ala", "max", "ewa", "tom", "jan"];
    // The first window opens last.
    let script = "case \"$*\" in *'chat 1'*) sleep 0.3;; esac\nexec /usr/bin/xterm \"$@\"";
    desktop.put_program("xterm", script);
    let (all, count) = (names.join(","), names.len().to_string());
    let arguments = ["-p", "0", "-t", "xterm", "-c", &count, "--names", &all];
    let mut session = Session::start(&desktop, &arguments);
    session.wait_for_members(&names);
    let shown = session.shown();
    let places = names.map(|name| shown.find(&format!("{name} joined")));
    assert!(places.is_sorted(), "{shown}");
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

#[test]
fn a_second_ctrl_c_sends_sigterm_to_clients_that_have_not_exited() {
    let desktop = Desktop::new();
    let mut session = start_three(&desktop, "xterm");
    session.wait_for_members(&MEMBERS);
    send(session.process("chat-client", "ola").pid, Signal::STOP);
    session.ctrl_c();
    session.wait_for_text("shutting down");
    session.ctrl_c();
    session.wait_for_text("sending SIGTERM");
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

#[test]
fn unnamed_clients_ask_for_a_name() {
    let desktop = Desktop::new();
    let mut session = Session::start(
        &desktop,
        &["-p", "0", "-t", "xterm", "-c", "2", "--names", "ala"],
    );
    session.port();
    session.wait_for_text("ala joined");
    let windows = session.wait_for_windows(2);
    session.wait_for("question", || {
        desktop.text_in(&windows[1]).contains("name").then_some(())
    });
    desktop.type_in(&windows[1], "ola 3ID12");
    session.wait_for_text("ola (3ID12) joined");
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

#[test]
fn the_password_reaches_the_clients_but_not_the_command_lines() {
    let desktop = Desktop::new();
    for terminal in ["gnome-terminal", "terminator", "xterm"] {
        let arguments = ["-p", "0", "-t", terminal, "--names", "ala", "-c", "1"];
        let mut session = Session::start_with(&desktop, &arguments, |command| {
            command.env("CHAT_PASSWORD", "se-cret");
        });
        session.wait_for_members(&["ala"]);
        for process in desktop.running() {
            let shown = process
                .arguments
                .iter()
                .any(|text| text.contains("se-cret"));
            assert!(!shown, "{process:?}");
        }
        session.ctrl_c();
        assert_eq!(session.wait(), 0, "{}", session.shown());
        session.assert_cleaned_up();
    }
}

#[test]
fn by_default_the_launcher_tries_the_next_emulator_if_one_fails() {
    let desktop = Desktop::new();
    desktop.put_program("gnome-terminal", "echo 'this is a fake' >&2; exit 1");
    let mut session = Session::start(&desktop, &["-p", "0", "--names", "ala,ola,jan"]);
    let windows = session.wait_for_members(&MEMBERS);
    assert_eq!(windows[0].title, "chat 1 - ala");
    session.wait_for_text(
        "no window opened: gnome-terminal exited with status 1: this is a fake; trying terminator",
    );
    let all = desktop.running();
    assert!(
        all.iter()
            .any(|process| process.arguments.iter().any(|a| a.contains("terminator"))),
        "{all:#?}"
    );
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

#[test]
fn by_default_the_launcher_tries_the_next_emulator_if_one_hangs() {
    let desktop = Desktop::new();
    desktop.put_program("gnome-terminal", "exec sleep 600");
    desktop.put_program("terminator", "trap '' TERM; sleep 600");
    let mut session = Session::start(
        &desktop,
        &["-p", "0", "--window-time", "1500", "--names", "ala,ola,jan"],
    );
    session.wait_for_members(&MEMBERS);
    session.wait_for_text("terminator showed no client in 1.5 s; trying xterm");
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

#[test]
fn a_session_ends_if_no_window_opens() {
    let desktop = Desktop::new();
    desktop.put_program("xterm", "exit 7");
    let mut session = Session::start(&desktop, &["-p", "0", "-t", "xterm", "-c", "2"]);
    session.port();
    assert_eq!(session.wait(), 1, "{}", session.shown());
    for window in ["chat 1", "chat 2"] {
        session.wait_for_text(&format!(
            "{window} did not open: xterm exited with status 7"
        ));
    }
    session.wait_for_text("error: no window opened; try another terminal");
    session.assert_cleaned_up();
}

#[test]
fn a_window_that_fails_to_open_does_not_affect_the_others() {
    let desktop = Desktop::new();
    let script = "case \"$*\" in *'chat 2'*) exit 7;; esac\nexec /usr/bin/xterm \"$@\"";
    desktop.put_program("xterm", script);
    let mut session = start_three(&desktop, "xterm");
    session.port();
    session.wait_for_text("chat 2 - ola did not open: xterm exited with status 7");
    for name in ["ala", "jan"] {
        session.wait_for_text(&format!("{name} joined"));
    }
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

#[test]
fn an_emulator_that_fails_once_is_tried_again() {
    let desktop = Desktop::new();
    let once = desktop.programs().join("failed");
    let script = format!(
        "[ -e {0} ] || {{ touch {0}; exit 7; }}\nexec /usr/bin/xterm \"$@\"",
        once.display()
    );
    desktop.put_program("xterm", &script);
    let mut session = start_three(&desktop, "xterm");
    session.wait_for_members(&MEMBERS);
    assert!(
        !session.shown().contains("did not open"),
        "{}",
        session.shown()
    );
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

#[test]
fn windows_opened_by_another_process_than_the_emulator_close_with_the_session() {
    let desktop = Desktop::new();
    // Like the gnome-terminal wrapper that Debian's alternatives may use.
    desktop.put_program("x-terminal-emulator", "setsid xterm \"$@\" &");
    let mut session = start_three(&desktop, "x-terminal-emulator");
    let windows = session.wait_for_members(&MEMBERS);
    assert_eq!(windows[2].title, "chat 3 - jan");
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    // The windows are not the launcher's descendants; each closes with its client.
    session.wait_for_cleanup();
}

#[test]
fn a_session_under_nohup_survives_a_hangup() {
    let desktop = Desktop::new();
    let script = "trap '' HUP; exec \"$0\" \"$@\"";
    let arguments = [
        "-c",
        script,
        env!("CARGO_BIN_EXE_chat-run"),
        "-p",
        "0",
        "-t",
        "xterm",
        "--names",
        "ala",
        "-c",
        "1",
    ];
    let mut session = Session::start_program(&desktop, "sh", &arguments, |_| {});
    let windows = session.wait_for_members(&["ala"]);
    session.signal(Signal::HUP);
    send(
        session.process("chat-server", "--supervised").pid,
        Signal::HUP,
    );
    let mut plain = join(session.port(), "plain");
    desktop.type_in(&windows[0], "still here");
    read_until(&mut plain, "ala: still here");
    // nohup is for the session; a closed window still ends its client.
    desktop.close(&windows[0]);
    session.wait_for_text("ala left");
    session.signal(Signal::TERM);
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

#[test]
fn ctrl_s_in_the_launchers_terminal_blocks_neither_the_chat_nor_the_shutdown() {
    let desktop = Desktop::new();
    let mut session = Session::start(&desktop, &["-p", "0", "-c", "0", "--rate", "0"]);
    let port = session.port();
    let mut ala = join(port, "ala");
    session.wait_for_text("ala joined");
    // Ctrl+S stops the terminal's output.
    session.type_in("\x13");
    let mut ola = join(port, "ola");
    for number in 0..1000 {
        let line = format!("line {number} of a long conversation that the terminal does not take");
        writeln!(ala.get_mut(), "{line}").unwrap();
        if number % 50 == 0 {
            read_until(&mut ola, &line);
        }
    }
    session.signal(Signal::TERM);
    assert_eq!(session.wait(), 0, "{}", session.shown());
    assert!(!session.shown().contains("line 999"));
    session.assert_cleaned_up();
}

#[test]
fn by_default_the_launcher_falls_back_to_panes_if_every_emulator_fails() {
    let desktop = Desktop::new();
    let mut session = Session::start_with(
        &desktop,
        &["-p", "0", "--names", "ala,ola,jan"],
        |command| command.env("DISPLAY", ":123456"),
    );
    session.port();
    session.wait_for_text("trying terminator");
    session.wait_for_text("trying xterm");
    session.wait_for_text("no window opened: xterm exited with status 1");
    for name in MEMBERS {
        session.process("chat-client", name);
    }
    session.wait_for_text("▶ chat 1 · ala");
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}

#[test]
fn windows_show_utf8_text_even_if_the_locale_is_not_utf8() {
    let desktop = Desktop::new();
    for (terminal, locale) in [
        ("gnome-terminal", "C"),
        ("xterm", "C"),
        // A UTF-8 locale that is not installed.
        ("gnome-terminal", "xx_YY.UTF-8"),
        ("xterm", "xx_YY.UTF-8"),
    ] {
        let arguments = ["-p", "0", "-t", terminal, "--names", "żółw", "-c", "1"];
        let mut session = Session::start_with(&desktop, &arguments, |command| {
            command.env("LC_ALL", locale);
        });
        let windows = session.wait_for_members(&["żółw"]);
        session.wait_for("letters", || {
            desktop
                .text_in(&windows[0])
                .contains("welcome, żółw")
                .then_some(())
        });
        session.ctrl_c();
        assert_eq!(session.wait(), 0, "{}", session.shown());
        session.assert_cleaned_up();
    }
}
