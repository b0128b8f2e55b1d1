//! Programs that are told to end while they start: by any signal and at any stage, they end cleanly
//! and leave nothing behind.

use std::ffi::OsString;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use support::Server;
use support::desktop::Desktop;
use support::shell::Shell;

/// Number of delays tried for each way to end a program: spread evenly from 0 to the longest, each
/// plus a random part of one step.
const TIMES: u32 = 16;

/// The longest delay for a session, which has usually started by then.
const SESSION: Duration = Duration::from_millis(500);

/// Number of programs that run in parallel; each spends most of its time waiting.
const AT_ONCE: usize = 4;

/// A way to end a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A signal to the program alone.
    Signal(Signal),
    /// Ctrl+C on its terminal, this many times.
    CtrlC(usize),
}

const WAYS: [Way; 6] = [
    Way::CtrlC(1),
    Way::CtrlC(2),
    Way::Signal(Signal::INT),
    Way::Signal(Signal::TERM),
    Way::Signal(Signal::HUP),
    Way::Signal(Signal::KILL),
];

/// One start of a program, ended after a delay.
#[derive(Debug)]
struct Round {
    way: Way,
    delay: Duration,
}

/// Runs `command` with every way to end it and every delay up to `latest`.
fn at_every_stage(command: &[&str], environment: &[(&str, OsString)], latest: Duration) {
    let command: Vec<OsString> = command.iter().map(OsString::from).collect();
    let step = latest / TIMES;
    let mut rounds = Vec::new();
    for way in WAYS {
        for time in 0..TIMES {
            let chance = getrandom::u32().unwrap() % 1000;
            let delay = step * time + step * chance / 1000;
            rounds.push(Round { way, delay });
        }
    }
    // Each thread takes every fourth round, so that rounds that run in parallel differ.
    let rounds = &rounds;
    thread::scope(|scope| {
        for first in 0..AT_ONCE {
            let command = &command;
            scope.spawn(move || {
                for round in rounds.iter().skip(first).step_by(AT_ONCE) {
                    round.run(command, environment);
                }
            });
        }
    });
}

impl Round {
    fn run(&self, command: &[OsString], environment: &[(&str, OsString)]) {
        let mut shell = Shell::new(command, environment);
        let _failing = Failing(self, &command[0]);
        shell.run_command();
        let job = shell.foreground_pid();
        thread::sleep(self.delay);
        match self.way {
            Way::Signal(signal) => kill_process(job, signal).unwrap(),
            Way::CtrlC(times) => shell.screen.type_keys(&"\x03".repeat(times)),
        }
        let code = shell.wait_for("exit of the command", || shell.exit_code());
        let is_killed = self.way == Way::Signal(Signal::KILL);
        shell.wait_for("cleanup", || shell.leftovers().is_empty().then_some(()));
        // After SIGKILL, only a session still has a process that restores the terminal.
        if !is_killed || command[0] == env!("CARGO_BIN_EXE_chat-run") {
            shell.expect_terminal_restored();
        }

        let by_signal = match self.way {
            Way::Signal(signal) => 128 + signal.as_raw(),
            Way::CtrlC(_) => 128 + Signal::INT.as_raw(),
        };
        let written = shell.written();
        let is_right = match code {
            0 => !is_killed,
            // The signal came before the program handled signals or did anything.
            _ if code == by_signal => {
                is_killed || !written.contains("listening") && !written.contains('\x1b')
            }
            // A second Ctrl+C ends a server at once.
            1 if command[0] == env!("CARGO_BIN_EXE_chat-server") => self.way == Way::CtrlC(2),
            _ => false,
        };
        assert!(is_right, "exit code {code}; {}", shell.captured());
    }
}

/// Prints the round if it panics.
struct Failing<'a>(&'a Round, &'a OsString);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{} failed: {:?}", self.1.display(), self.0);
        }
    }
}

fn session_at_every_stage(terminal: &str, environment: &[(&str, OsString)]) {
    let command = [
        env!("CARGO_BIN_EXE_chat-run"),
        "-p",
        "0",
        "-c",
        "2",
        "--names",
        "ala",
        "-t",
        terminal,
    ];
    at_every_stage(&command, environment, SESSION);
}

#[test]
fn a_session_without_windows_can_be_ended_at_any_stage_of_its_start() {
    session_at_every_stage("none", &[]);
}

#[test]
fn a_session_in_panes_can_be_ended_at_any_stage_of_its_start() {
    session_at_every_stage("panes", &[]);
}

#[test]
fn a_session_in_windows_can_be_ended_at_any_stage_of_its_start() {
    let desktop = Desktop::new();
    let environment: Vec<(&str, OsString)> = desktop
        .environment()
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect();
    session_at_every_stage("xterm", &environment);
}

#[test]
fn a_server_can_be_ended_at_any_stage_of_its_start() {
    let command = [env!("CARGO_BIN_EXE_chat-server"), "-p", "0"];
    at_every_stage(&command, &[], Duration::from_millis(20));
}

#[test]
fn a_client_can_be_ended_at_any_stage_of_its_start() {
    let server = Server::start(&["-m", "200"]);
    let address = server.address.to_string();
    let command = [env!("CARGO_BIN_EXE_chat-client"), &address, "-n", "ala"];
    at_every_stage(&command, &[], Duration::from_millis(100));
    server.stop();
}
