//! The built-in panes in a busy room: frames per second, and the time from a key press to the
//! screen, compared with tmux.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use memchr::memmem;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::measure::Unit;
use super::peers::{Peer, Server, free_address};
use super::report::{Extra, median};

/// The name of [`measure`] on the command line.
pub(super) const FRAMES: &str = "frames";

const LAUNCHER: &str = env!("CARGO_BIN_EXE_chat-run");
const CLIENT: &str = env!("CARGO_BIN_EXE_chat-client");

/// Messages per burst, and the interval between bursts: 5,000 messages per second.
const BATCH: usize = 50;
const BATCH_TIME: Duration = Duration::from_millis(10);

/// Number of keys typed per measurement, and the time before each key.
const KEYS: usize = 20;
const KEY_TIME: Duration = Duration::from_millis(60);

/// Duration of counting frames.
const COUNTED: Duration = Duration::from_secs(3);

/// Deadline of each step.
const PATIENCE: Duration = Duration::from_secs(20);

/// Start of every frame of the panes (a synchronized update).
const FRAME: &[u8] = b"\x1b[?2026h";

/// Measures three clients in a terminal of 120 columns and 40 rows. With tmux, a fourth client
/// stands in for the pane with the server's log.
pub(super) fn measure() -> Result<Vec<Extra>> {
    let address = free_address()?;
    let mut panes = CommandBuilder::new(LAUNCHER);
    let port = address.port().to_string();
    panes.args(["-t", "panes", "--rate", "0", "-p", &port]);
    panes.args(["--names", "ala,ola,ula"]);
    let mut terminal = Terminal::start(panes)?;
    terminal.wait("ala", 0)?;
    let flood = Flood::start(address)?;
    let ours = terminal.key_to_screen()?;
    let frames = terminal.frames_per_second();
    drop((flood, terminal));

    let theirs = tmux();
    let bare = theirs.as_ref().ok().map(|theirs| ("tmux", *theirs));
    Ok(vec![
        Extra {
            what: "panes, frames under 5,000 messages/s",
            ours: frames,
            bare: None,
            unit: Unit::PerSecond,
        },
        Extra {
            what: "panes, key press to screen under the same load",
            ours,
            bare,
            unit: Unit::Seconds,
        },
    ])
}

/// Time from a key press to the screen with tmux, in seconds.
fn tmux() -> Result<f64> {
    let server = Server::start(Peer::Plain)?;
    let port = server.address.port().to_string();
    let socket = format!("chat-bench-{port}");
    let mut command = CommandBuilder::new("tmux");
    command.args(["-L", &socket, "-f", "/dev/null", "new-session"]);
    for (index, name) in ["log", "ala", "ola", "ula"].into_iter().enumerate() {
        if index > 0 {
            command.args([";", "split-window"]);
        }
        command.args([CLIENT, "127.0.0.1", &port, "-n", name]);
        command.args([";", "select-layout", "tiled"]);
    }
    command.args([";", "set", "status", "off"]);
    let mut terminal = Terminal::start(command)?;
    let measured = terminal.wait("ula", 0).and_then(|()| {
        let _flood = Flood::start(server.address)?;
        terminal.key_to_screen()
    });
    Command::new("tmux")
        .args(["-L", &socket, "kill-server"])
        .status()?;
    measured
}

/// A member that sends messages at a constant rate until dropped.
struct Flood {
    socket: TcpStream,
}

impl Flood {
    fn start(address: SocketAddr) -> Result<Self> {
        let begin = Instant::now();
        let socket = loop {
            match TcpStream::connect(address) {
                Ok(socket) => break socket,
                Err(error) if begin.elapsed() > PATIENCE => return Err(error.into()),
                Err(_) => thread::sleep(BATCH_TIME),
            }
        };
        let (mut reader, mut writer) = (socket.try_clone()?, socket.try_clone()?);
        writer.write_all(b"flood\n")?;
        thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        thread::spawn(move || {
            let batch = "a message of the flood, as long as most are\n".repeat(BATCH);
            let mut next = Instant::now();
            while writer.write_all(batch.as_bytes()).is_ok() {
                next += BATCH_TIME;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Ok(Self { socket })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // An error means that the server has closed the connection.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

/// A program in a terminal, and all of its output.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    seen: Arc<Mutex<Vec<u8>>>,
    _terminal: Box<dyn MasterPty + Send>,
}

impl Terminal {
    fn start(mut command: CommandBuilder) -> Result<Self> {
        let size = PtySize {
            rows: 40,
            cols: 120,
            ..PtySize::default()
        };
        command.env("TERM", "xterm-256color");
        command.env("LC_ALL", "C.UTF-8");
        command.env_remove("TMUX");
        let pty = native_pty_system().openpty(size)?;
        let child = pty.slave.spawn_command(command)?;
        let mut reader = pty.master.try_clone_reader()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut seen = into.lock().unwrap_or_else(PoisonError::into_inner);
                seen.extend_from_slice(&buffer[..count]);
            }
        });
        Ok(Self {
            child,
            keyboard: pty.master.take_writer()?,
            seen,
            _terminal: pty.master,
        })
    }

    fn look<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        look(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until `text` appears in the output after offset `from`.
    fn wait(&self, text: &str, from: usize) -> Result<()> {
        let begin = Instant::now();
        while self.look(|seen| memmem::find(&seen[from..], text.as_bytes()).is_none()) {
            if begin.elapsed() > PATIENCE {
                bail!("timed out waiting for `{text}`");
            }
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// The median time from a key press to the letter in the output, in seconds. The letters occur
    /// nowhere else in the output.
    fn key_to_screen(&mut self) -> Result<f64> {
        let mut times = Vec::new();
        for key in ["Q", "Z"].into_iter().cycle().take(KEYS) {
            thread::sleep(KEY_TIME);
            let from = self.look(<[u8]>::len);
            let begin = Instant::now();
            self.keyboard.write_all(key.as_bytes())?;
            self.wait(key, from)?;
            times.push(begin.elapsed().as_secs_f64());
        }
        median(times).context("no keys")
    }

    fn frames_per_second(&self) -> f64 {
        let from = self.look(<[u8]>::len);
        let begin = Instant::now();
        thread::sleep(COUNTED);
        let count = self.look(|seen| memmem::find_iter(&seen[from..], FRAME).count());
        #[expect(clippy::cast_precision_loss, reason = "some hundred frames")]
        let frames = count as f64;
        frames / begin.elapsed().as_secs_f64()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // An error means that the program has ended already. The server and the clients end with
        // the launcher.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
