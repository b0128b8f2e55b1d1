//! A server that runs, and how clients come to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
#[cfg(target_os = "linux")]
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::byte_by_byte;
use super::proxy::Proxy;
use super::{Client, Exit, GREETING, Program, Signal, chat_server, json};
#[cfg(target_os = "linux")]
use super::{memory, wait_until};

/// A `chat-server` that is listening on a port of its own.
pub struct Server {
    pub program: Program,
    /// Where it is to be joined.
    pub address: SocketAddr,
    _proxy: Option<Proxy>,
}

impl Server {
    /// Starts one on loopback, with these arguments besides.
    #[track_caller]
    pub fn start(args: &[&str]) -> Self {
        let mut command = chat_server(&["-p", "0"]);
        command.args(args);
        Self::start_as(command)
    }

    /// Starts one that takes its console's lines from a pipe, and ends with it.
    #[track_caller]
    pub fn start_with_console(args: &[&str]) -> Self {
        let mut command = chat_server(&["-p", "0", "--supervised"]);
        command.args(args).stdin(Stdio::piped());
        Self::start_as(command)
    }

    /// Starts `command`, which is to become a server.
    #[track_caller]
    pub fn start_as(command: Command) -> Self {
        let program = Program::start(command);
        let line = program.expect_stdout("listening on ");
        let address = line
            .strip_prefix("listening on ")
            .and_then(|address| address.parse().ok());
        let address: SocketAddr = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        let proxy = byte_by_byte::proxy(address);
        Self {
            program,
            address: proxy.as_ref().map_or(address, Proxy::address),
            _proxy: proxy,
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// A connection that has said nothing, and read nothing, yet.
    #[track_caller]
    pub fn connect(&self) -> Client {
        match self.address {
            SocketAddr::V6(address) if address.ip().is_unspecified() => {
                Client::connect((Ipv4Addr::LOCALHOST, address.port()).into())
            }
            address => Client::connect(address),
        }
    }

    /// A connection that the kernel takes little for, when it is not read.
    #[track_caller]
    pub fn connect_narrow(&self) -> Client {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None);
        let socket = socket.expect("a socket");
        // Before it connects, since that is when the window is agreed on.
        socket
            .set_recv_buffer_size(4096)
            .expect("the size is allowed");
        socket.connect(&self.address.into()).expect("it listens");
        Client::over(socket.into())
    }

    /// A connection that was greeted.
    #[track_caller]
    pub fn greeted(&self) -> Client {
        let mut client = self.connect();
        client.expect(GREETING);
        client
    }

    /// A member that gets plain lines, `who` being `NAME [GROUP]`. It has read its welcome, and no more.
    #[track_caller]
    pub fn join(&self, who: &str) -> Client {
        self.connect().join(who)
    }

    /// As [`Server::join`], by a connection that the kernel takes little for.
    #[track_caller]
    pub fn join_narrow(&self, who: &str) -> Client {
        self.connect_narrow().join(who)
    }

    /// A member that gets JSON lines. It has read its welcome, and no more: the past and its own joining follow.
    #[track_caller]
    pub fn join_json(&self, who: &str) -> Client {
        self.connect().join_json(who)
    }

    /// A member that gets JSON lines, and has read its own joining. For rooms without a past.
    #[track_caller]
    pub fn join_json_live(&self, who: &str) -> Client {
        let mut client = self.join_json(who);
        let id = client.welcome["id"].clone();
        client.expect_json(json!({"type": "joined", "id": id}));
        client
    }

    /// Who comes back with this token and has the events up to `after`. It has read its welcome, and no more.
    #[track_caller]
    pub fn resume(&self, token: &str, after: u64) -> Client {
        let mut client = self.connect().called("who came back");
        client.send(&format!("/resume {token} {after}"));
        client.expect(GREETING);
        client.welcome = client.expect_json(json!({"type": "welcome"}));
        client
    }

    /// Waits until the operator was shown `part`, and gives that line.
    #[track_caller]
    pub fn expect_log(&self, part: &str) -> String {
        self.program.expect_stdout(part)
    }

    /// Types a line on its console.
    #[track_caller]
    pub fn type_line(&mut self, line: &str) {
        self.program.type_line(line);
    }

    /// Ends it as SIGTERM does: it must exit with 0 and have written nothing to stderr.
    #[track_caller]
    pub fn stop(self) -> Exit {
        self.program.signal(Signal::TERM);
        let exit = self.program.exit().expect_code(0);
        assert_eq!(exit.stderr, "");
        exit
    }

    /// Ends it by SIGKILL.
    #[track_caller]
    pub fn kill(self) -> Exit {
        self.program.kill()
    }

    /// What the system knows of it.
    #[cfg(target_os = "linux")]
    pub fn process(&self) -> procfs::process::Process {
        procfs::process::Process::new(self.pid().cast_signed()).expect("it runs")
    }

    /// The names of its threads, as `ps -L` shows them, in order.
    #[cfg(target_os = "linux")]
    pub fn threads(&self) -> Vec<String> {
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

/// What a server uses of the machine.
#[cfg(target_os = "linux")]
impl Server {
    /// Does `what`, during which the server may take less than `limit` KiB more memory than before.
    ///
    /// # Panics
    /// It took more.
    #[track_caller]
    pub fn takes_at_most<T>(&self, limit: u64, what: impl FnOnce() -> T) -> T {
        let (before, _) = memory(&self.process());
        let done = what();
        let (_, most) = memory(&self.process());
        assert!(most - before < limit, "it took {} KiB", most - before);
        done
    }

    /// Waits until each of `members` has its thread, which starts a moment after the welcome.
    #[track_caller]
    pub fn has_threads_of(&self, members: usize) {
        wait_until("each member has a thread", || {
            let threads = self.threads();
            let theirs = threads.iter().filter(|name| name.starts_with("c:"));
            (theirs.count() == members).then_some(())
        });
    }

    /// How many descriptors are open.
    #[track_caller]
    pub fn descriptors(&self) -> usize {
        self.process().fd_count().expect("it runs")
    }

    /// The processor time used so far.
    #[track_caller]
    pub fn used(&self) -> Duration {
        let stat = self.process().stat().expect("it runs");
        let ticks = stat.utime + stat.stime;
        Duration::from_millis(ticks * 1000 / procfs::ticks_per_second())
    }

    /// Limits the descriptors to those that are open. The server may have inherited some with higher numbers.
    #[track_caller]
    pub fn allow_no_more_descriptors(&self) {
        let open = self.process().fd().expect("it runs").flatten();
        let open: Vec<i32> = open.map(|descriptor| descriptor.fd).collect();
        let limit = (0..).find(|number| !open.contains(number));
        let limit = limit.expect("a number is free");
        let mut prlimit = Command::new("prlimit");
        prlimit.arg(format!("--pid={}", self.pid()));
        prlimit.arg(format!("--nofile={limit}:"));
        assert!(prlimit.status().expect("prlimit is there").success());
    }
}
