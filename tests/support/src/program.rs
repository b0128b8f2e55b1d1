//! Running programs: their start, their output and their exit.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::process::{Pid, kill_process};

use super::{DEADLINE, Signal, excerpt, wait_until};

/// A command that runs one of this package's programs with no input, and without the environment
/// variables that change its behavior.
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
    // No directory can be created there, so a client keeps no history or name unless a test asks it
    // to.
    command.env("XDG_STATE_HOME", "/dev/null/state");
    command.stdin(Stdio::null());
    command
}

/// Path of one of this package's programs.
///
/// Cargo sets it at compile time only for test crates, and at run time since 1.94. Without it, the
/// program is in the parent of the test program's directory.
pub fn bin(name: &str) -> String {
    env::var(format!("CARGO_BIN_EXE_{name}")).unwrap_or_else(|_| {
        let tests = env::current_exe().expect("a test program has a path");
        let programs = tests.ancestors().nth(2).expect("target/debug/deps/TEST");
        let path = programs.join(name).into_os_string();
        path.into_string().expect("a path in UTF-8")
    })
}

/// A command that runs `chat-server` with these arguments.
pub fn chat_server(args: &[&str]) -> Command {
    let mut command = program(&bin("chat-server"));
    command.args(args);
    command
}

/// Runs `command` in a shell after `first`, such as `ulimit -n 64`. The command replaces the shell,
/// so it has the shell's process ID.
pub fn with_setup(first: &str, command: &Command) -> Command {
    let mut shell = program("sh");
    shell
        .args(["-c", &format!("{first}; exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    shell
}

/// Runs `command` with the default SIGHUP disposition, even when the tests run under `nohup`. It
/// keeps its process ID.
///
/// An ignored signal is inherited, and to reset it in this process would need `unsafe`. Not every
/// `env` has `--default-signal`, so it is used only if SIGHUP is ignored.
pub fn with_default_sighup(command: Command) -> Command {
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

/// A program's exit status and complete output.
#[derive(Debug)]
pub struct Exit {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Exit {
    /// Fails unless the program exited with this code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    /// Fails unless stderr contains this.
    #[track_caller]
    pub fn expect_stderr(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        self
    }

    /// Fails unless stdout contains this.
    #[track_caller]
    pub fn expect_stdout(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "no {part:?} in {self:#?}");
        self
    }
}

/// Runs a program until it exits.
#[track_caller]
pub fn run(command: Command) -> Exit {
    Program::start(command).exit()
}

/// Current and peak memory of a process, in KiB.
#[cfg(target_os = "linux")]
#[track_caller]
pub fn memory(process: &procfs::process::Process) -> (u64, u64) {
    let status = process.status().expect("it runs");
    let now = status.vmrss.expect("it is not a kernel thread");
    (now, status.vmhwm.expect("as above"))
}

/// A running program, killed on drop.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Capture,
    err: Capture,
    readers: Vec<JoinHandle<()>>,
    name: String,
}

impl Program {
    /// Starts a program and reads its stdout and stderr. `command` determines its stdin.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        let mut program = Self::start_unread(command);
        let stdout = program.child.stdout.take().expect("stdout is a pipe");
        program.readers.push(program.out.start(stdout));
        program
    }

    /// Starts a program and reads only its stderr. `command` determines its stdout.
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

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        // The child has not been waited for, so its process ID is still valid.
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{signal:?}: {error}"));
    }

    /// Writes a line to its stdin, which must be a pipe.
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

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Takes the unread stdout of a program started by [`Program::start_unread`].
    pub fn take_stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("stdout was not taken")
    }

    /// Starts to read its stdout.
    pub fn read_stdout(&mut self, stdout: impl Read + Send + 'static) {
        self.readers.push(self.out.start(stdout));
    }

    /// Its stdout so far.
    pub fn stdout(&self) -> String {
        self.out.text()
    }

    /// Its stderr so far.
    pub fn stderr(&self) -> String {
        self.err.text()
    }

    /// Waits until its stdout contains `part` and returns the first line with it.
    #[track_caller]
    pub fn expect_stdout(&self, part: &str) -> String {
        self.out
            .wait(&format!("{part:?} on stdout"), |text| line_with(text, part))
    }

    /// Waits until its stderr contains `part` and returns the first line with it.
    #[track_caller]
    pub fn expect_stderr(&self, part: &str) -> String {
        self.err
            .wait(&format!("{part:?} on stderr"), |text| line_with(text, part))
    }

    /// Waits until it exits on its own and its output has ended.
    #[track_caller]
    pub fn exit(mut self) -> Exit {
        let status = wait_until("the program has ended", || {
            self.child.try_wait().expect("it can be waited for")
        });
        for reader in self.readers.drain(..) {
            // Its child processes may hold the streams open.
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

    /// Kills it with SIGKILL.
    #[track_caller]
    pub fn kill(self) -> Exit {
        self.signal(Signal::KILL);
        self.exit()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // It may have exited since.
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

/// Output of a program on one stream so far, read by a thread.
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
                    // A pty whose other side is closed returns an error instead of end of file.
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

    /// Waits until `found` returns a value for the text so far.
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
                panic!("timed out waiting for {what}; the program wrote{ended}:\n{text}");
            }
            let waited = self.0.1.wait_timeout(captured, left);
            captured = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn line_with(text: &str, part: &str) -> Option<String> {
    // The last line may be incomplete.
    let whole = &text[..=text.rfind('\n')?];
    whole
        .lines()
        .find(|line| line.contains(part))
        .map(str::to_owned)
}
