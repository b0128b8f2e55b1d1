//! Programs that run: how they are started, what they write, and how they end.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::process::{Pid, kill_process};

use super::{DEADLINE, Signal, excerpt, wait_until};

/// A command that runs one of this package's programs, with no input, and with nothing in its environment that
/// changes what it does.
pub fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    for name in [
        "CHAT_PASSWORD",
        "CHAT_TERMINAL",
        "CHAT_CONTROL_SOCKET",
        "COLORFGBG",
        "COLORTERM",
        "NO_COLOR",
    ] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color").env("TZ", "UTC");
    // No folder can be made there: what a client keeps over sessions is kept by the tests that are about it.
    command.env("XDG_STATE_HOME", "/dev/null/state");
    command.stdin(Stdio::null());
    command
}

/// The path of one of this package's programs.
///
/// Cargo gives it at compile time to test crates alone, and at run time since 1.94. Otherwise the program is next to the
/// directory of the test program.
pub fn bin(name: &str) -> String {
    env::var(format!("CARGO_BIN_EXE_{name}")).unwrap_or_else(|_| {
        let tests = env::current_exe().expect("a test program has a path");
        let programs = tests.ancestors().nth(2).expect("target/debug/deps/TEST");
        let path = programs.join(name).into_os_string();
        path.into_string().expect("a path in UTF-8")
    })
}

/// A command that runs `chat-server` with these arguments and nothing else.
pub fn chat_server(args: &[&str]) -> Command {
    let mut command = program(&bin("chat-server"));
    command.args(args);
    command
}

/// `command`, run by a shell after `first`, as in `ulimit -n 64`. It has the shell's process id.
pub fn after(first: &str, command: &Command) -> Command {
    let mut shell = program("sh");
    shell
        .args(["-c", &format!("{first}; exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    shell
}

/// `command`, which SIGHUP ends or is handled by, although the tests may run under `nohup`. It keeps its process id.
///
/// An ignored signal is inherited, and to take it back by oneself would take `unsafe`. Not every `env` can do it, so it is
/// asked for that only where there is a need.
pub fn hearing_hangups(command: Command) -> Command {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is number 1, the lowest bit.
    if ignored.is_none_or(|mask| mask & 1 == 0) {
        return command;
    }
    let mut env = program("env");
    env.arg("--default-signal=HUP")
        .arg(command.get_program())
        .args(command.get_args());
    env
}

/// How a program ended, and all that it wrote.
#[derive(Debug)]
pub struct Exit {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Exit {
    /// Fails unless the program ended by itself with this code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    /// Fails unless stderr has this in it.
    #[track_caller]
    pub fn expect_stderr(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        self
    }

    /// Fails unless stdout has this in it.
    #[track_caller]
    pub fn expect_stdout(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "no {part:?} in {self:#?}");
        self
    }
}

/// Runs a program to its end.
#[track_caller]
pub fn run(command: Command) -> Exit {
    Program::start(command).exit()
}

/// The memory that a process has, and the most that it has had so far, in KiB.
#[cfg(target_os = "linux")]
#[track_caller]
pub fn memory(process: &procfs::process::Process) -> (u64, u64) {
    let status = process.status().expect("it runs");
    let now = status.vmrss.expect("it is no kernel's thread");
    (now, status.vmhwm.expect("as above"))
}

/// A program that runs. It is killed when this is dropped.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Capture,
    err: Capture,
    readers: Vec<JoinHandle<()>>,
    name: String,
}

impl Program {
    /// Starts it and reads its stdout and stderr. Its stdin is what `command` says.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        let mut program = Self::start_unread(command);
        let stdout = program.child.stdout.take().expect("stdout is a pipe");
        program.readers.push(program.out.start(stdout));
        program
    }

    /// Starts it and reads its stderr alone; its stdout is where `command` says.
    #[track_caller]
    pub fn start_unread(mut command: Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let err = Capture::default();
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let readers = vec![err.start(stderr)];
        Self {
            stdin: child.stdin.take(),
            child,
            out: Capture::default(),
            err,
            readers,
            name,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        // It was not waited for, so the id is still its own.
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{signal:?}: {error}"));
    }

    /// Types a line on its stdin, which must be a pipe.
    #[track_caller]
    pub fn type_line(&mut self, line: &str) {
        self.type_bytes(format!("{line}\n").as_bytes());
    }

    /// Writes bytes to its stdin, which must be a pipe.
    #[track_caller]
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is a pipe");
        stdin.write_all(bytes).expect("it reads its stdin");
    }

    /// Ends its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Its stdout, where nobody reads it yet.
    pub fn take_stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("nobody reads stdout")
    }

    /// Begins to read its stdout.
    pub fn read_stdout(&mut self, stdout: impl Read + Send + 'static) {
        self.readers.push(self.out.start(stdout));
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.out.text()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.err.text()
    }

    /// Waits until `part` stands in its stdout, and gives the first line that has it.
    #[track_caller]
    pub fn expect_stdout(&self, part: &str) -> String {
        self.out
            .wait(&format!("{part:?} on stdout"), |text| line_with(text, part))
    }

    /// Waits until `part` stands in its stderr, and gives the first line that has it.
    #[track_caller]
    pub fn expect_stderr(&self, part: &str) -> String {
        self.err
            .wait(&format!("{part:?} on stderr"), |text| line_with(text, part))
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn exit(mut self) -> Exit {
        let status = wait_until("the program has ended", || {
            self.child.try_wait().expect("it can be waited for")
        });
        for reader in self.readers.drain(..) {
            // What it started may hold its streams open.
            wait_until("its output has ended", || {
                reader.is_finished().then_some(())
            });
        }
        Exit {
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    /// Ends it by SIGKILL.
    #[track_caller]
    pub fn kill(self) -> Exit {
        self.signal(Signal::KILL);
        self.exit()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // Where it has just ended by itself, there is nothing to kill.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            for (stream, capture) in [("stdout", &self.out), ("stderr", &self.err)] {
                let text = capture.text();
                let lines: Vec<&str> = text.lines().collect();
                eprintln!("{stream} of {}:\n{}", self.name, excerpt(&lines));
            }
        }
    }
}

/// What a program has written so far to one of its streams, read by a thread as it comes.
#[derive(Clone, Default)]
pub struct Capture(Arc<(Mutex<Captured>, Condvar)>);

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    ended: bool,
}

impl Capture {
    fn lock(&self) -> MutexGuard<'_, Captured> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn start(&self, mut stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let capture = self.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let read = match stream.read(&mut buffer) {
                    Ok(read) => read,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    // A pty whose other side is gone fails instead of ending.
                    Err(_) => 0,
                };
                let mut captured = capture.lock();
                captured.bytes.extend_from_slice(&buffer[..read]);
                captured.ended = read == 0;
                capture.0.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// Waits until `found` finds something in the text so far.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, mut found: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut captured = self.lock();
        loop {
            let text = String::from_utf8_lossy(&captured.bytes);
            if let Some(found) = found(&text) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if captured.ended || left.is_zero() {
                let ended = if captured.ended { " and ended" } else { "" };
                let lines: Vec<&str> = text.lines().collect();
                let text = excerpt(&lines);
                panic!("waited in vain for {what}; the program wrote{ended}:\n{text}");
            }
            let waited = self.0.1.wait_timeout(captured, left);
            captured = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn line_with(text: &str, part: &str) -> Option<String> {
    // The last line may be half written.
    let whole = &text[..text.rfind('\n')? + 1];
    whole
        .lines()
        .find(|line| line.contains(part))
        .map(str::to_owned)
}
