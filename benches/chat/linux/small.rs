//! Times that users notice, such as the time to start; the sizes of the programs; and their build
//! time.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use procfs::process::{Process, all_processes};
use rustix::process::{Pid, Signal, kill_process};

use super::dialect::WELCOME;
use super::measure::Unit;
use super::peers::{Peer, Server, free_address};
use super::report::{Extra, median};

const SERVER: &str = env!("CARGO_BIN_EXE_chat-server");
const CLIENT: &str = env!("CARGO_BIN_EXE_chat-client");
const LAUNCHER: &str = env!("CARGO_BIN_EXE_chat-run");

/// Number of windows per session, the default.
const WINDOWS: usize = 3;

/// The terminal emulator of the measured sessions. It is the smallest.
const EMULATOR: &str = "xterm";

/// Deadline of each step.
const PATIENCE: Duration = Duration::from_secs(20);

/// A time that users notice, and a baseline, such as that of netcat. Both are in seconds.
pub(super) struct Small {
    /// Name on the command line.
    pub(super) key: &'static str,
    pub(super) what: &'static str,
    pub(super) bare: &'static str,
    pub(super) ours: fn() -> Result<f64>,
    pub(super) theirs: fn() -> Result<f64>,
}

pub(super) const SMALL: [Small; 4] = [
    Small {
        key: "server",
        what: "chat-server, start to `listening`",
        bare: "nc -l",
        ours: server_listens,
        theirs: netcat_listens,
    },
    Small {
        key: "client",
        what: "chat-client, start to prompt",
        bare: "nc, start to a line from the limit",
        ours: client_asks,
        theirs: netcat_is_greeted,
    },
    Small {
        key: "session",
        what: "chat-run, start to three clients logged in",
        bare: "three emulators running `true`",
        ours: || session().map(|(start, _)| start),
        theirs: emulators,
    },
    Small {
        key: "end",
        what: "chat-run, Ctrl+C until all processes are gone",
        bare: "three emulators running `cat`, SIGTERM",
        ours: || session().map(|(_, end)| end),
        theirs: emulators_end,
    },
];

/// The name of [`wake`] on the command line.
pub(super) const WAKE: &str = "wake";

/// The median time from waking a thread that sleeps until it runs. A message whose delivery needs a
/// second thread of the server takes longer by this time.
pub(super) fn wake() -> Result<Extra> {
    const WAKES: u32 = 200;
    /// Time between two messages of the measure `quiet`, in which the processors become idle.
    const PAUSE: Duration = Duration::from_millis(5);
    let (waker, wakes) = mpsc::channel::<Instant>();
    let sleeper = thread::spawn(move || {
        let times = wakes.into_iter().map(|woken| woken.elapsed().as_secs_f64());
        times.collect()
    });
    for _ in 0..WAKES {
        thread::sleep(PAUSE);
        waker.send(Instant::now())?;
    }
    drop(waker);
    let times = sleeper.join().ok().context("a thread failed")?;
    Ok(Extra {
        what: "waking a thread, until it runs",
        ours: median(times).context("no time")?,
        bare: None,
        unit: Unit::Seconds,
    })
}

/// The name of [`build`] on the command line.
pub(super) const BUILD: &str = "build";

/// Sizes of the three programs, and the time of a clean release build after all sources were
/// downloaded.
pub(super) fn build() -> Result<Vec<Extra>> {
    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clean");

    let _ = fs::remove_dir_all(FOLDER);
    let begin = Instant::now();
    let built = super::cargo()
        .args(["build", "--release", "--locked", "--quiet"])
        .args(["--target-dir", FOLDER])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .status()?;
    ensure!(built.success(), "the build fails");
    let mut found = vec![Extra {
        what: "clean release build",
        ours: begin.elapsed().as_secs_f64(),
        bare: None,
        unit: Unit::Seconds,
    }];
    for (what, program) in [
        ("size of chat-server", "chat-server"),
        ("size of chat-client", "chat-client"),
        ("size of chat-run", "chat-run"),
    ] {
        let path = Path::new(FOLDER).join("release").join(program);
        #[expect(clippy::cast_precision_loss, reason = "a file's size")]
        let ours = fs::metadata(path)?.len() as f64;
        found.push(Extra {
            what,
            ours,
            bare: None,
            unit: Unit::Bytes,
        });
    }
    fs::remove_dir_all(FOLDER)?;
    Ok(found)
}

fn server_listens() -> Result<f64> {
    let mut command = Command::new(SERVER);
    command.args(["-p", "0"]).stdout(Stdio::piped());
    let begin = Instant::now();
    let mut child = Ending(command.stdin(Stdio::piped()).spawn()?);
    let out = child.0.stdout.take().context("no stdout")?;
    until(out, "listening on", 1)?;
    Ok(begin.elapsed().as_secs_f64())
}

fn netcat_listens() -> Result<f64> {
    let port = free_address()?.port().to_string();
    let mut command = Command::new("nc");
    command.args(["-v", "-l", "-n", "-p", &port, "-s", "127.0.0.1"]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let begin = Instant::now();
    let mut child = Ending(command.spawn()?);
    let err = child.0.stderr.take().context("no stderr")?;
    until(err, "istening on", 1)?;
    Ok(begin.elapsed().as_secs_f64())
}

fn client_asks() -> Result<f64> {
    let server = Server::start(Peer::Plain)?;
    let pty = native_pty_system().openpty(PtySize::default())?;
    let mut command = CommandBuilder::new(CLIENT);
    command.args(["127.0.0.1", &server.address.port().to_string()]);
    let reader = pty.master.try_clone_reader()?;
    let begin = Instant::now();
    let mut child = pty.slave.spawn_command(command)?;
    drop(pty.slave);
    let asked = until(reader, "name", 1);
    let took = begin.elapsed().as_secs_f64();
    child.kill()?;
    child.wait()?;
    asked.map(|()| took)
}

fn netcat_is_greeted() -> Result<f64> {
    let server = Server::start(Peer::Limit)?;
    let mut command = Command::new("nc");
    command.args(["127.0.0.1", &server.address.port().to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let begin = Instant::now();
    let mut child = Ending(command.spawn()?);
    let out = child.0.stdout.take().context("no stdout")?;
    until(out, WELCOME, 1)?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Time from the launcher's start until three clients have logged in, and from Ctrl+C until all of
/// the session's processes have ended.
fn session() -> Result<(f64, f64)> {
    let screen = Screen::start()?;
    let mut command = screen.command(LAUNCHER);
    command.args(["-p", "0", "-t", EMULATOR, "--names", "ala,ola,ula"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let begin = Instant::now();
    let mut child = Ending(command.spawn()?);
    let out = child.0.stdout.take().context("no stdout")?;
    until(out, " joined", WINDOWS)?;
    let start = begin.elapsed().as_secs_f64();
    let family = family(child.0.id().try_into()?)?;
    let begin = Instant::now();
    kill_process(Pid::from_child(&child.0), Signal::INT)?;
    child.0.wait()?;
    wait_for_the_end(family.iter());
    Ok((start, begin.elapsed().as_secs_f64()))
}

/// A process and its descendants.
fn family(ancestor: i32) -> Result<Vec<Process>> {
    let parents: Vec<(i32, i32)> = all_processes()?
        .flatten()
        .filter_map(|process| Some((process.pid(), process.stat().ok()?.ppid)))
        .collect();
    let mut family = vec![ancestor];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        family.extend(children.map(|(pid, _)| *pid));
        next += 1;
    }
    // Skip processes that have just ended.
    Ok(family
        .into_iter()
        .filter_map(|pid| Process::new(pid).ok())
        .collect())
}

fn emulators() -> Result<f64> {
    let screen = Screen::start()?;
    let begin = Instant::now();
    let all = screen.emulators(&["true"])?;
    for mut child in all {
        child.0.wait()?;
    }
    Ok(begin.elapsed().as_secs_f64())
}

fn emulators_end() -> Result<f64> {
    let screen = Screen::start()?;
    let mut all = screen.emulators(&["cat"])?;
    let mut families = Vec::new();
    for child in &all {
        // Wait until the emulator has started its child.
        families.push(loop {
            let family = family(child.0.id().try_into()?)?;
            if family.len() > 1 {
                break family;
            }
            thread::yield_now();
        });
    }
    let begin = Instant::now();
    for child in &all {
        kill_process(Pid::from_child(&child.0), Signal::TERM)?;
    }
    for child in &mut all {
        child.0.wait()?;
    }
    wait_for_the_end(families.iter().flatten());
    Ok(begin.elapsed().as_secs_f64())
}

fn wait_for_the_end<'a>(processes: impl Iterator<Item = &'a Process>) {
    for process in processes {
        while process.is_alive() {
            thread::yield_now();
        }
    }
}

/// A headless X server.
struct Screen {
    display: String,
    _server: Ending,
}

impl Screen {
    fn start() -> Result<Self> {
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-noreset", "-nolisten", "tcp"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Ending(command.spawn().context("cannot start Xvfb")?);
        let out = server.0.stdout.take().context("no stdout")?;
        let mut number = String::new();
        BufReader::new(out).read_line(&mut number)?;
        Ok(Self {
            display: format!(":{}", number.trim()),
            _server: server,
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DISPLAY", &self.display)
            .env_remove("WAYLAND_DISPLAY");
        command.stderr(Stdio::null());
        command
    }

    fn emulators(&self, run: &[&str]) -> Result<Vec<Ending>> {
        (0..WINDOWS)
            .map(|_| {
                let mut command = self.command(EMULATOR);
                command.arg("-e").args(run).stdin(Stdio::null());
                Ok(Ending(command.spawn().context("cannot start xterm")?))
            })
            .collect()
    }
}

/// A process that is killed on drop.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // An error means that the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads until `wanted` has occurred `times` times. Fails after [`PATIENCE`].
fn until(from: impl Read + Send + 'static, wanted: &'static str, times: usize) -> Result<()> {
    let (done, wait) = mpsc::channel();
    // Read in a thread, because a read from a pipe or terminal cannot time out.
    thread::spawn(move || {
        let found = find(from, wanted, times);
        // An error means that the receiver has timed out.
        let _ = done.send(found);
    });
    match wait.recv_timeout(PATIENCE) {
        Ok(found) => found,
        Err(_) => bail!("timed out waiting for `{wanted}`"),
    }
}

fn find(mut from: impl Read, wanted: &str, times: usize) -> Result<()> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while memchr::memmem::find_iter(&seen, wanted).count() < times {
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => bail!(
                "the output ended without `{wanted}`: {}",
                String::from_utf8_lossy(&seen)
            ),
            Ok(count) => seen.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}
