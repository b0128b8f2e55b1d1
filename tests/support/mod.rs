//! What the tests are written in: programs that run, servers among them, and clients that speak line by line.
//!
//! A test reads like a script: `ala.send("hi"); ola.expect("ala: hi");`. Every wait has a deadline, and what was said
//! until then is printed when a test fails. Whatever was started ends with the test, also where it fails.

#![allow(
    dead_code,
    reason = "each test file is a crate of its own, and none uses all of this"
)]
#![allow(
    clippy::print_stderr,
    reason = "the transcript of a test that failed; the test harness shows it with that test"
)]

pub(crate) mod proxy;

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::proxy::{Plan, Proxy};
pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
pub(crate) use serde_json::{Value, json};

/// Long enough for a machine that does a lot else; a test that passes never waits for it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// How often [`wait_until`] looks again.
const LOOK: Duration = Duration::from_millis(5);

/// How many lines of a transcript are printed, first and last: a load test says thousands.
const SHOWN: usize = 40;

/// How much of a line is printed, in characters.
const WIDTH: usize = 120;

/// The greeting of a server without a password.
pub(crate) const GREETING: &str = concat!(
    "* chat-server ",
    env!("CARGO_PKG_VERSION"),
    ": type your name"
);

/// Waits until `fact` gives something; fails with `what` when it does not in time.
#[track_caller]
pub(crate) fn wait_until<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(LOOK);
    }
}

/// The beginning of a long line.
fn cut(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}… ({} bytes)", &line[..end], line.len()),
        None => line.to_owned(),
    }
}

/// The beginning and the end of a long list of lines.
fn excerpt(lines: &[impl AsRef<str>]) -> String {
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at == SHOWN && lines.len() > 2 * SHOWN {
            let _ = writeln!(text, "    … {} lines …", lines.len() - 2 * SHOWN);
        }
        if at < SHOWN || at + SHOWN >= lines.len() {
            let _ = writeln!(text, "    {}", cut(line.as_ref()));
        }
    }
    text
}

/// What a program has written so far to one of its streams, read by a thread as it comes.
#[derive(Clone, Default)]
pub(crate) struct Capture(Arc<(Mutex<Captured>, Condvar)>);

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    ended: bool,
}

impl Capture {
    fn lock(&self) -> MutexGuard<'_, Captured> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn start(&self, mut stream: impl Read + Send + 'static) -> JoinHandle<()> {
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

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// Waits until `found` finds something in the text so far.
    #[track_caller]
    pub(crate) fn wait<T>(&self, what: &str, mut found: impl FnMut(&str) -> Option<T>) -> T {
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

/// A command that runs one of this package's programs, with no input, and with nothing in its environment that
/// changes what it does.
pub(crate) fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    for name in [
        "CHAT_PASSWORD",
        "CHAT_TERMINAL",
        "CHAT_LIFELINE",
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

/// A command that runs `chat-server` with these arguments and nothing else.
pub(crate) fn chat_server(args: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_chat-server"));
    command.args(args);
    command
}

/// `command`, run by a shell after `first`, as in `ulimit -n 64`. It has the shell's process id.
pub(crate) fn after(first: &str, command: &Command) -> Command {
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
pub(crate) fn hearing_hangups(command: Command) -> Command {
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
pub(crate) struct Exit {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Exit {
    /// Fails unless the program ended by itself with this code.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    /// Fails unless stderr has this in it.
    #[track_caller]
    pub(crate) fn expect_stderr(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        self
    }

    /// Fails unless stdout has this in it.
    #[track_caller]
    pub(crate) fn expect_stdout(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "no {part:?} in {self:#?}");
        self
    }
}

/// Runs a program to its end.
#[track_caller]
pub(crate) fn run(command: Command) -> Exit {
    Program::start(command).exit()
}

/// A program that runs. It is killed when this is dropped.
pub(crate) struct Program {
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
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        let mut program = Self::start_unread(command);
        let stdout = program.child.stdout.take().expect("stdout is a pipe");
        program.readers.push(program.out.start(stdout));
        program
    }

    /// Starts it and reads its stderr alone; its stdout is where `command` says.
    #[track_caller]
    pub(crate) fn start_unread(mut command: Command) -> Self {
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
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        // It was not waited for, so the id is still its own.
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{signal:?}: {error}"));
    }

    /// Types a line on its stdin, which must be a pipe.
    #[track_caller]
    pub(crate) fn type_line(&mut self, line: &str) {
        self.type_bytes(format!("{line}\n").as_bytes());
    }

    /// Writes bytes to its stdin, which must be a pipe.
    #[track_caller]
    pub(crate) fn type_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is a pipe");
        stdin.write_all(bytes).expect("it reads its stdin");
    }

    /// Ends its stdin.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Its stdout, where nobody reads it yet.
    pub(crate) fn take_stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("nobody reads stdout")
    }

    /// Begins to read its stdout.
    pub(crate) fn read_stdout(&mut self, stdout: impl Read + Send + 'static) {
        self.readers.push(self.out.start(stdout));
    }

    /// What it has written to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        self.out.text()
    }

    /// What it has written to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.err.text()
    }

    /// Waits until `part` stands in its stdout, and gives the first line that has it.
    #[track_caller]
    pub(crate) fn expect_stdout(&self, part: &str) -> String {
        self.out
            .wait(&format!("{part:?} on stdout"), |text| line_with(text, part))
    }

    /// Waits until `part` stands in its stderr, and gives the first line that has it.
    #[track_caller]
    pub(crate) fn expect_stderr(&self, part: &str) -> String {
        self.err
            .wait(&format!("{part:?} on stderr"), |text| line_with(text, part))
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn exit(mut self) -> Exit {
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
    pub(crate) fn kill(self) -> Exit {
        self.signal(Signal::KILL);
        self.exit()
    }
}

/// A program on a terminal of its own. It is killed when this is dropped.
pub(crate) struct Terminal {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    screen: Capture,
    /// The terminal is there as long as this is.
    _pair: portable_pty::PtyPair,
}

impl Terminal {
    /// Starts `command` on a new terminal of 24 lines of 80 characters.
    #[track_caller]
    pub(crate) fn start(command: &Command) -> Self {
        let mut builder = portable_pty::CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => builder.env(name, value),
                None => builder.env_remove(name),
            }
        }
        let pair = portable_pty::native_pty_system()
            .openpty(portable_pty::PtySize::default())
            .expect("a terminal");
        let child = pair.slave.spawn_command(builder).expect("it starts");
        let screen = Capture::default();
        screen.start(pair.master.try_clone_reader().expect("a reader"));
        let keyboard = pair.master.take_writer().expect("a writer");
        Self {
            child,
            keyboard,
            screen,
            _pair: pair,
        }
    }

    /// Types this; `\r` is Enter, `\x03` Ctrl+C.
    #[track_caller]
    pub(crate) fn type_keys(&mut self, keys: &[u8]) {
        self.keyboard
            .write_all(keys)
            .expect("the terminal is there");
    }

    /// Waits until `part` was shown, and gives the first line that has it.
    #[track_caller]
    pub(crate) fn expect(&self, part: &str) -> String {
        let what = format!("{part:?} on the terminal");
        self.screen.wait(&what, |text| line_with(text, part))
    }

    /// All that was shown so far.
    pub(crate) fn shown(&self) -> String {
        self.screen.text()
    }

    /// Waits until the program has ended by itself, and gives its exit code.
    #[track_caller]
    pub(crate) fn exit_code(&mut self) -> u32 {
        let status = wait_until("the program has ended", || {
            self.child.try_wait().expect("it can be waited for")
        });
        status.exit_code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // Where it has just ended by itself, there is nothing to kill.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            let text = self.shown();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("on the terminal:\n{}", excerpt(&lines));
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

/// A `chat-server` that is listening on a port of its own.
pub(crate) struct Server {
    pub(crate) program: Program,
    /// Where it is to be joined.
    pub(crate) address: SocketAddr,
    _proxy: Option<Proxy>,
}

/// What stands before every server in the tests that are run once more byte by byte, and before none in all others.
#[track_caller]
pub(crate) fn taking_apart(server: SocketAddr) -> Option<Proxy> {
    // The one crate that has those tests.
    let is_byte_by_byte = env!("CARGO_CRATE_NAME") == "byte_by_byte";
    is_byte_by_byte.then(|| Proxy::start(server, Vec::new(), Plan::apart()))
}

impl Server {
    /// Starts one on loopback, with these arguments besides.
    #[track_caller]
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = chat_server(&["-p", "0"]);
        command.args(args);
        Self::start_as(command)
    }

    /// Starts one that takes its console's lines from a pipe, and ends with it.
    #[track_caller]
    pub(crate) fn start_with_console(args: &[&str]) -> Self {
        let mut command = chat_server(&["-p", "0", "--lifeline"]);
        command.args(args).stdin(Stdio::piped());
        Self::start_as(command)
    }

    /// Starts `command`, which is to become a server.
    #[track_caller]
    pub(crate) fn start_as(command: Command) -> Self {
        let program = Program::start(command);
        let line = program.expect_stdout("listening on ");
        let address = line
            .strip_prefix("listening on ")
            .and_then(|address| address.parse().ok());
        let address: SocketAddr = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        let proxy = taking_apart(address);
        Self {
            program,
            address: proxy.as_ref().map_or(address, Proxy::address),
            _proxy: proxy,
        }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// A connection that has said nothing, and read nothing, yet.
    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        match self.address {
            SocketAddr::V6(address) if address.ip().is_unspecified() => {
                Client::connect((Ipv4Addr::LOCALHOST, address.port()).into())
            }
            address => Client::connect(address),
        }
    }

    /// A connection that was greeted.
    #[track_caller]
    pub(crate) fn greeted(&self) -> Client {
        let mut client = self.connect();
        client.expect(GREETING);
        client
    }

    /// A member that gets plain lines, `who` being `NAME [GROUP]`. It has read its welcome, and no more.
    #[track_caller]
    pub(crate) fn join(&self, who: &str) -> Client {
        self.connect().join(who)
    }

    /// A member that gets JSON lines. It has read its welcome, and no more: the past and its own joining follow.
    #[track_caller]
    pub(crate) fn join_json(&self, who: &str) -> Client {
        self.connect().join_json(who)
    }

    /// A member that gets JSON lines, and has read its own joining. For rooms without a past.
    #[track_caller]
    pub(crate) fn join_json_live(&self, who: &str) -> Client {
        let mut client = self.join_json(who);
        let id = client.welcome["id"].clone();
        client.expect_json(json!({"type": "joined", "id": id}));
        client
    }

    /// Who comes back with this token and has the events up to `after`. It has read its welcome, and no more.
    #[track_caller]
    pub(crate) fn resume(&self, token: &str, after: u64) -> Client {
        let mut client = self.connect().called("who came back");
        client.send(&format!("/resume {token} {after}"));
        client.expect(GREETING);
        client.welcome = client.expect_json(json!({"type": "welcome"}));
        client
    }

    /// Waits until the operator was shown `part`, and gives that line.
    #[track_caller]
    pub(crate) fn expect_log(&self, part: &str) -> String {
        self.program.expect_stdout(part)
    }

    /// Types a line on its console.
    #[track_caller]
    pub(crate) fn type_line(&mut self, line: &str) {
        self.program.type_line(line);
    }

    /// Ends it as SIGTERM does: it must exit with 0 and have written nothing to stderr.
    #[track_caller]
    pub(crate) fn stop(self) -> Exit {
        self.program.signal(Signal::TERM);
        let exit = self.program.exit().expect_code(0);
        assert_eq!(exit.stderr, "");
        exit
    }

    /// Ends it by SIGKILL.
    #[track_caller]
    pub(crate) fn kill(self) -> Exit {
        self.program.kill()
    }

    /// The names of its threads, as `ps -L` shows them, in order.
    #[cfg(target_os = "linux")]
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
        let mut names: Vec<String> = tasks
            .flatten()
            // One that has ended meanwhile has no name any more.
            .filter_map(|task| std::fs::read(task.path().join("comm")).ok())
            .map(|name| String::from_utf8_lossy(&name).trim_end().to_owned())
            .collect();
        names.sort();
        names
    }
}

/// A raw connection: what it sends and what it expects is said in lines.
pub(crate) struct Client {
    socket: TcpStream,
    /// What was read and is not a whole line yet, or was not asked for.
    buffer: Vec<u8>,
    transcript: Vec<String>,
    name: String,
    broken: bool,
    /// What a JSON client was told when it joined.
    pub(crate) welcome: Value,
}

impl Client {
    /// Connects, and says nothing.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, DEADLINE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::over(socket)
    }

    /// Takes a connection that there is.
    pub(crate) fn over(socket: TcpStream) -> Self {
        socket.set_nodelay(true).expect("it is a TCP socket");
        socket
            .set_write_timeout(Some(DEADLINE))
            .expect("the timeout is not 0");
        Self {
            socket,
            buffer: Vec::new(),
            transcript: Vec::new(),
            name: "a client".into(),
            broken: false,
            welcome: Value::Null,
        }
    }

    /// Logs in, as [`Server::join`] does.
    #[track_caller]
    pub(crate) fn join(self, who: &str) -> Self {
        let mut client = self.called(who);
        // Who speaks first is greeted at once.
        client.send(who);
        client.expect(GREETING);
        client.expect_start("* welcome, ");
        client
    }

    /// Logs in, as [`Server::join_json`] does.
    #[track_caller]
    pub(crate) fn join_json(self, who: &str) -> Self {
        let mut client = self.called(who);
        client.send(&format!("/json {who}"));
        client.expect(GREETING);
        client.welcome = client.expect_json(json!({"type": "welcome"}));
        client
    }

    /// The same, under this name in a failed test's output.
    pub(crate) fn called(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// What a JSON client can come back by.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        self.welcome["token"].as_str().expect("a token").to_owned()
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Its own address.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("it is connected")
    }

    /// Sends a line.
    #[track_caller]
    pub(crate) fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
        self.transcript.push(format!("> {text:?}"));
        (&self.socket)
            .write_all(bytes)
            .unwrap_or_else(|error| panic!("{} cannot send: {error}", self.name));
    }

    /// Says that it will send nothing more, and can still be sent to, as `nc -N` does.
    #[track_caller]
    pub(crate) fn finish_sending(&mut self) {
        self.transcript.push("> end of input".into());
        self.socket
            .shutdown(Shutdown::Write)
            .expect("it is connected");
    }

    /// Leaves in a way that is none of `/quit`'s: its token is good still.
    #[track_caller]
    pub(crate) fn hang_up(mut self) {
        self.finish_sending();
        self.lines_to_end();
    }

    /// Breaks the connection, as a machine does that loses its power and comes back.
    #[track_caller]
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.socket);
        socket
            .set_linger(Some(Duration::ZERO))
            .expect("it is a TCP socket");
    }

    /// The next line; `None` where the server has closed.
    #[track_caller]
    pub(crate) fn line_or_end(&mut self) -> Option<String> {
        let line = self.line_or_broken();
        if line.is_none() {
            let rest = String::from_utf8_lossy(&self.buffer);
            assert_eq!(rest, "", "{} got half a line at the end", self.name);
            assert!(
                !self.broken,
                "{} cannot read: the connection broke",
                self.name
            );
        }
        line
    }

    /// The next whole line; `None` where the connection is over, however it ended.
    #[track_caller]
    pub(crate) fn line_or_broken(&mut self) -> Option<String> {
        let deadline = Instant::now() + DEADLINE;
        let mut chunk = [0; 16 * 1024];
        let mut scanned = 0;
        loop {
            if let Some(at) = self.buffer[scanned..]
                .iter()
                .position(|&byte| byte == b'\n')
            {
                let line: Vec<u8> = self.buffer.drain(..=scanned + at).collect();
                let line = String::from_utf8(line).expect("a server sends UTF-8");
                let line = line.strip_suffix('\n').expect("it ends so").to_owned();
                self.transcript.push(format!("< {line}"));
                return Some(line);
            }
            scanned = self.buffer.len();
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} got no line in time", self.name);
            self.socket
                .set_read_timeout(Some(left))
                .expect("it is not 0");
            match (&self.socket).read(&mut chunk) {
                Ok(0) => {
                    self.transcript.push("< end".into());
                    return None;
                }
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => {
                        self.transcript.push(format!("< {error}"));
                        self.broken = true;
                        return None;
                    }
                },
            }
        }
    }

    /// The next line.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let line = self.line_or_end();
        line.unwrap_or_else(|| panic!("{} got the end, not a line", self.name))
    }

    /// All lines until the server closes.
    #[track_caller]
    pub(crate) fn lines_to_end(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line_or_end()).collect()
    }

    /// The next line is this one.
    #[track_caller]
    pub(crate) fn expect(&mut self, line: &str) {
        let got = self.line();
        assert!(
            got == line,
            "{} got {:?}, not {:?}",
            self.name,
            cut(&got),
            cut(line)
        );
    }

    /// The next lines are these.
    #[track_caller]
    pub(crate) fn expect_all(&mut self, lines: &[&str]) {
        for line in lines {
            self.expect(line);
        }
    }

    /// The next line begins so.
    #[track_caller]
    pub(crate) fn expect_start(&mut self, start: &str) -> String {
        let got = self.line();
        assert!(
            got.starts_with(start),
            "{} got {got:?}, not {start:?}…",
            self.name
        );
        got
    }

    /// Reads on until this line comes, and gives what came before it.
    #[track_caller]
    pub(crate) fn skip_to(&mut self, line: &str) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        let mut before = Vec::new();
        loop {
            assert!(
                Instant::now() < deadline,
                "{} got others, and not {line:?}",
                self.name
            );
            let Some(got) = self.line_or_end() else {
                panic!("{} got the end before {line:?}", self.name);
            };
            if got == line {
                return before;
            }
            before.push(got);
        }
    }

    /// The next line is a JSON object.
    #[track_caller]
    pub(crate) fn json(&mut self) -> Value {
        let line = self.line();
        let value: Result<Value, _> = serde_json::from_str(&line);
        match value {
            Ok(value) if value.is_object() => value,
            _ => panic!("{} got {line:?}, no JSON object", self.name),
        }
    }

    /// The next line is a JSON object that has these fields, and perhaps others; all of it is given back.
    #[track_caller]
    pub(crate) fn expect_json(&mut self, fields: Value) -> Value {
        let got = self.json();
        for (name, value) in fields.as_object().expect("fields are an object") {
            let other = got.get(name);
            assert_eq!(
                other,
                Some(value),
                "the field {name:?} that {} got in {got}",
                self.name
            );
        }
        got
    }

    /// The server closes, and says nothing before.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let got = self.line_or_end();
        assert_eq!(got, None, "{} got a line, not the end", self.name);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}:\n{}", self.name, excerpt(&self.transcript));
        }
    }
}
