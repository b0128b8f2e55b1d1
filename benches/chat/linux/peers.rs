//! The servers to measure: how to start each, and the dialect that it speaks.

use std::fmt;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use procfs::process::Process;
use tempfile::TempDir;

use super::dialect::Dialect;
use super::irc;

/// Deadline for a server to accept connections.
const START_TIME: Duration = Duration::from_secs(10);
const START_POLL: Duration = Duration::from_millis(5);

/// A server to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Peer {
    /// chat-server, plain lines
    Plain,
    /// chat-server, JSON lines
    Json,
    /// chat-server with --history, plain lines
    History,
    /// A bare epoll loop: what any server must do, and nothing else
    Limit,
    /// `InspIRCd`, from Debian
    Inspircd,
    /// ngIRCd, from Debian
    Ngircd,
    /// tokio, one task and one unbounded channel per client
    Tokio,
    /// Python, one thread per client
    Python,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "ours",
            Self::Json => "ours, JSON",
            Self::History => "ours, history",
            Self::Limit => "the limit",
            Self::Inspircd => "InspIRCd",
            Self::Ngircd => "ngircd",
            Self::Tokio => "tokio",
            Self::Python => "Python",
        })
    }
}

impl Peer {
    pub(super) fn dialect(self) -> Dialect {
        match self {
            Self::Plain | Self::History | Self::Tokio | Self::Python => Dialect::Plain,
            Self::Json => Dialect::Json,
            Self::Limit => Dialect::Bare,
            Self::Inspircd | Self::Ngircd => Dialect::Irc,
        }
    }

    /// Whether the server sends join notices.
    pub(super) fn announces(self) -> bool {
        !matches!(self, Self::Limit | Self::Tokio | Self::Python)
    }

    /// Maximum number of clients that may log in at the same time, which depends on the backlog of
    /// the listening socket, and in chat-server on the pending logins. `InspIRCd` accepts all
    /// waiting connections once per second. ngircd's backlog holds ten connections; the kernel
    /// delays each further connection by a second.
    pub(super) fn herd(self) -> usize {
        match self {
            Self::Inspircd => usize::MAX,
            Self::Ngircd => 8,
            _ => 256,
        }
    }

    /// Maximum number of clients to measure with. An IRC server sends each member a line per join:
    /// with 10,000 clients, that would take minutes in each round.
    pub(super) fn crowd(self) -> usize {
        match self {
            Self::Inspircd | Self::Ngircd => 5_000,
            Self::Plain | Self::Json | Self::History | Self::Limit | Self::Tokio | Self::Python => {
                usize::MAX
            }
        }
    }

    /// Builds or downloads the server, if that is necessary.
    pub(super) fn prepare(self) -> Result<()> {
        match self {
            Self::Tokio => {
                let manifest =
                    concat!(env!("CARGO_MANIFEST_DIR"), "/benches/tokio-peer/Cargo.toml");
                let built = super::cargo()
                    .args(["build", "--release", "--locked", "--quiet"])
                    .args(["--manifest-path", manifest, "--target-dir", TOKIO_TARGET])
                    .status()?;
                ensure!(built.success(), "cannot build the tokio peer");
                Ok(())
            }
            Self::Inspircd | Self::Ngircd => irc::prepare(),
            Self::Plain | Self::Json | Self::History | Self::Limit | Self::Python => Ok(()),
        }
    }

    fn command(self, port: u16, folder: &Path) -> Result<Command> {
        let number = port.to_string();
        Ok(match self {
            Self::Plain | Self::Json | Self::History => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
                // All other options have their defaults, including the replay for newcomers.
                command.args(["-p", &number, "-m", "20000", "--rate", "0"]);
                if self == Self::History {
                    command.arg("--history").arg(folder.join("history"));
                }
                command
            }
            Self::Limit => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--serve-limit", &number]);
                command
            }
            Self::Tokio => {
                let mut command = Command::new(format!("{TOKIO_TARGET}/release/tokio-peer"));
                command.arg(number);
                command
            }
            Self::Python => {
                let mut command = Command::new("python3");
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/python-peer.py");
                command.args([script, &number]);
                command
            }
            Self::Inspircd => irc::inspircd(port, folder)?,
            Self::Ngircd => irc::ngircd(port, folder)?,
        })
    }
}

const TOKIO_TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tokio-peer");

/// A server process that listens on the loopback interface, and is killed on drop.
pub(super) struct Server {
    pub(super) peer: Peer,
    pub(super) address: SocketAddr,
    child: Child,
    /// Contains the server's history, configuration and error messages.
    _folder: TempDir,
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    pub(super) fn start(peer: Peer) -> Result<Self> {
        Self::start_with(peer, &[])
    }

    /// Like [`Server::start`], with additional arguments.
    pub(super) fn start_with(peer: Peer, args: &[&str]) -> Result<Self> {
        let folder = TempDir::new()?;
        let address = free_address()?;
        let complaints = folder.path().join("stderr");
        let child = peer
            .command(address.port(), folder.path())?
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&complaints)?)
            .spawn()
            .with_context(|| format!("cannot start {peer}"))?;
        let mut server = Self {
            peer,
            address,
            child,
            _folder: folder,
        };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait()?;
            if ended.is_some() || begin.elapsed() > START_TIME {
                let said = fs::read_to_string(&complaints).unwrap_or_default();
                bail!("{peer} does not listen: {said}");
            }
            thread::sleep(START_POLL);
        }
        Ok(server)
    }

    /// CPU time used by the server, in seconds. `/proc` counts it in steps of 10 ms.
    pub(super) fn processor_time(&self) -> Result<f64> {
        let stat = self.process()?.stat()?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a benchmark does not run for ages"
        )]
        let seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
        Ok(seconds)
    }

    /// CPU time used by the server, in seconds, without such steps. Reads a file for each of its
    /// threads, so it takes too long if there are thousands of them.
    pub(super) fn precise_processor_time(&self) -> Result<f64> {
        let mut total = Duration::ZERO;
        for task in self.process()?.tasks()? {
            total += Duration::from_nanos(task?.schedstat()?.sum_exec_runtime);
        }
        Ok(total.as_secs_f64())
    }

    /// Resident memory of the server, in KB.
    pub(super) fn resident(&self) -> Result<u64> {
        self.process()?
            .status()?
            .vmrss
            .context("no VmRSS in /proc/PID/status")
    }

    pub(super) fn threads(&self) -> Result<i64> {
        Ok(self.process()?.stat()?.num_threads)
    }

    fn process(&self) -> Result<Process> {
        Ok(Process::new(self.child.id().try_into()?)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that the server has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that no process listens on. Another program could take it before the server does;
/// then the server fails to start, which is reported.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
