//! A program that is told to end while it is only starting: whatever it is told by, and at whatever stage, it ends in order and leaves nothing.

use std::ffi::OsString;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use support::Server;
use support::desktop::Desktop;
use support::shell::Shell;

/// As many times are tried for each way to tell it, from none to the longest, each moved by chance by less than the next one is away.
const TIMES: u32 = 16;

/// The longest time until a session is told to end. It has started by then.
const SESSION: Duration = Duration::from_millis(500);

/// As many are started at once: most of the time they wait.
const AT_ONCE: usize = 4;

/// How a program is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// To it alone.
    Signal(Signal),
    /// On its terminal, as often.
    CtrlC(usize),
}

const HOWS: [How; 6] = [
    How::CtrlC(1),
    How::CtrlC(2),
    How::Signal(Signal::INT),
    How::Signal(Signal::TERM),
    How::Signal(Signal::HUP),
    How::Signal(Signal::KILL),
];

/// One program that is told to end once.
#[derive(Debug)]
struct Round {
    how: How,
    delay: Duration,
}

/// Plays rounds of all kinds with `command`.
fn at_every_stage(command: &[&str], environment: &[(&str, OsString)], latest: Duration) {
    let command: Vec<OsString> = command.iter().map(OsString::from).collect();
    let step = latest / TIMES;
    let mut rounds = Vec::new();
    for how in HOWS {
        for time in 0..TIMES {
            let chance = getrandom::u32().unwrap() % 1000;
            let delay = step * time + step * chance / 1000;
            rounds.push(Round { how, delay });
        }
    }
    // Spread, so that rounds that are alike do not meet.
    let rounds = &rounds;
    thread::scope(|scope| {
        for first in 0..AT_ONCE {
            let command = &command;
            scope.spawn(move || {
                for round in rounds.iter().skip(first).step_by(AT_ONCE) {
                    round.play(command, environment);
                }
            });
        }
    });
}

impl Round {
    fn play(&self, command: &[OsString], environment: &[(&str, OsString)]) {
        let mut shell = Shell::new(command, environment);
        let _failing = Failing(self, &command[0]);
        shell.go();
        let job = shell.job();
        thread::sleep(self.delay);
        match self.how {
            How::Signal(signal) => kill_process(job, signal).unwrap(),
            How::CtrlC(times) => shell.screen.type_keys(&"\x03".repeat(times)),
        }
        let code = shell.wait_for("end", || shell.code());
        let is_killed = self.how == How::Signal(Signal::KILL);
        shell.wait_for("clean end", || shell.left().is_empty().then_some(()));
        // A client has nobody who could do that for it.
        if !(is_killed && command[0] == env!("CARGO_BIN_EXE_chat-client")) {
            shell.expect_given_back();
        }

        let by_signal = match self.how {
            How::Signal(signal) => 128 + signal.as_raw(),
            How::CtrlC(_) => 128 + Signal::INT.as_raw(),
        };
        let written = shell.written();
        let is_right = match code {
            0 => !is_killed,
            // It was so early that it did not even listen to signals, and had done nothing.
            _ if code == by_signal => {
                is_killed || !written.contains("listening") && !written.contains('\x1b')
            }
            // A second one ends a server at once.
            1 if command[0] == env!("CARGO_BIN_EXE_chat-server") => self.how == How::CtrlC(2),
            _ => false,
        };
        assert!(is_right, "exit code {code}; {}", shell.captured());
    }
}

/// Tells which round it was that failed.
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
fn a_session_without_windows_ends_at_every_stage_of_its_start() {
    session_at_every_stage("none", &[]);
}

#[test]
fn a_session_in_panes_ends_at_every_stage_of_its_start() {
    session_at_every_stage("panes", &[]);
}

#[test]
fn a_session_in_windows_ends_at_every_stage_of_its_start() {
    let desktop = Desktop::new();
    let environment: Vec<(&str, OsString)> = desktop
        .environment()
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect();
    session_at_every_stage("xterm", &environment);
}

#[test]
fn a_server_ends_at_every_stage_of_its_start() {
    let command = [env!("CARGO_BIN_EXE_chat-server"), "-p", "0"];
    at_every_stage(&command, &[], Duration::from_millis(20));
}

#[test]
fn a_client_ends_at_every_stage_of_its_start() {
    let server = Server::start(&["-m", "200"]);
    let address = server.address.to_string();
    let command = [env!("CARGO_BIN_EXE_chat-client"), &address, "-n", "ala"];
    at_every_stage(&command, &[], Duration::from_millis(100));
    server.stop();
}
