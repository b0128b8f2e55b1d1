//! A running server, and clients that connect to it.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
#[cfg(target_os = "linux")]
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::byte_by_byte;
use super::proxy::Proxy;
use super::{Client, Exit, GREETING, Program, Signal, chat_server, json};
#[cfg(target_os = "linux")]
use super::{memory, wait_until};

/// A free port on loopback, for a test that needs its number before a server listens on it, or
/// after. No other test gets it, and the system gives it to no other socket: where ports are picked
/// automatically, the range begins at 32768 (Linux) or 49152 (RFC 6335).
pub fn reserved_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        // Test programs that run at the same time start from different ports.
        let number = process::id() * 100 + TRIED.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + number % 20_000).expect("it is less than 30,000");
        // A server listens on both loopback addresses. Without IPv6, ::1 counts as free.
        let is_in_use = |ip: IpAddr| {
            let result = TcpListener::bind((ip, port));
            result.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
        };
        if !is_in_use(Ipv4Addr::LOCALHOST.into()) && !is_in_use(Ipv6Addr::LOCALHOST.into()) {
            return port;
        }
    }
}

/// A `chat-server` listening on a free port.
pub struct Server {
    pub program: Program,
    /// Address for clients: the server's, or the proxy's in a byte-by-byte run.
    pub address: SocketAddr,
    _proxy: Option<Proxy>,
}

impl Server {
    /// Starts a server on loopback with these additional arguments.
    #[track_caller]
    pub fn start(args: &[&str]) -> Self {
        let mut command = chat_server(&["-p", "0"]);
        command.args(args);
        Self::start_as(command)
    }

    /// Starts a server with a pipe as its console; it exits when the pipe closes.
    #[track_caller]
    pub fn start_with_console(args: &[&str]) -> Self {
        let mut command = chat_server(&["-p", "0", "--supervised"]);
        command.args(args).stdin(Stdio::piped());
        Self::start_as(command)
    }

    /// Starts `command`, which runs a server, and waits until it listens.
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

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Connects; nothing has been sent or read.
    #[track_caller]
    pub fn connect(&self) -> Client {
        match self.address {
            SocketAddr::V6(address) if address.ip().is_unspecified() => {
                Client::connect((Ipv4Addr::LOCALHOST, address.port()).into())
            }
            address => Client::connect(address),
        }
    }

    /// Connects from another address of this machine, such as 127.0.0.2.
    #[track_caller]
    pub fn connect_from(&self, ip: Ipv4Addr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let address = SocketAddr::from((ip, 0));
        socket.bind(&address.into()).expect("the address is local");
        socket.connect(&self.address.into()).expect("it listens");
        Client::from_socket(socket.into())
    }

    /// Connects with a small receive buffer, so that the kernel buffers little for it.
    #[track_caller]
    pub fn connect_with_small_buffer(&self) -> Client {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None);
        let socket = socket.expect("a socket");
        // The window is negotiated by connect(2), so the size must be set before.
        socket
            .set_recv_buffer_size(4096)
            .expect("the size is allowed");
        socket.connect(&self.address.into()).expect("it listens");
        Client::from_socket(socket.into())
    }

    /// Connects and reads the greeting.
    #[track_caller]
    pub fn greeted(&self) -> Client {
        let mut client = self.connect();
        client.expect(GREETING);
        client
    }

    /// Joins as a plain client and reads the welcome. `who` is `NAME [GROUP]`.
    #[track_caller]
    pub fn join(&self, who: &str) -> Client {
        self.connect().join(who)
    }

    /// As [`Server::join`], with a small receive buffer.
    #[track_caller]
    pub fn join_with_small_buffer(&self, who: &str) -> Client {
        self.connect_with_small_buffer().join(who)
    }

    /// Joins as a JSON client and reads the welcome. The replay and its own join event follow.
    #[track_caller]
    pub fn join_json(&self, who: &str) -> Client {
        self.connect().join_json(who)
    }

    /// Joins as a JSON client and reads its own join event. For rooms without past messages.
    #[track_caller]
    pub fn join_json_live(&self, who: &str) -> Client {
        let mut client = self.join_json(who);
        let id = client.welcome["id"].clone();
        client.expect_json(json!({"type": "joined", "id": id}));
        client
    }

    /// Resumes with this token after event number `after`, and reads the welcome.
    #[track_caller]
    pub fn resume(&self, token: &str, after: u64) -> Client {
        let mut client = self.connect().named("a resumed client");
        client.send(&format!("/resume {token} {after}"));
        client.expect(GREETING);
        client.welcome = client.expect_json(json!({"type": "welcome"}));
        client
    }

    /// Waits until a line of the log contains `part` and returns the line.
    #[track_caller]
    pub fn expect_log(&self, part: &str) -> String {
        self.program.expect_stdout(part)
    }

    /// Types a line on the console.
    #[track_caller]
    pub fn type_line(&mut self, line: &str) {
        self.program.type_line(line);
    }

    /// Stops the server with SIGTERM. It must exit with 0 and an empty stderr.
    #[track_caller]
    pub fn stop(self) -> Exit {
        self.program.signal(Signal::TERM);
        let exit = self.program.exit().expect_code(0);
        assert_eq!(exit.stderr, "");
        exit
    }

    #[track_caller]
    pub fn kill(self) -> Exit {
        self.program.kill()
    }

    /// The server's entry in `/proc`.
    #[cfg(target_os = "linux")]
    pub fn process(&self) -> procfs::process::Process {
        procfs::process::Process::new(self.pid().cast_signed()).expect("it runs")
    }

    /// Sorted names of the server's threads, as `ps -L` shows them.
    #[cfg(target_os = "linux")]
    pub fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
        let mut names: Vec<String> = tasks
            .flatten()
            // A thread that has exited since has no name.
            .filter_map(|task| std::fs::read(task.path().join("comm")).ok())
            .map(|name| String::from_utf8_lossy(&name).trim_end().to_owned())
            .collect();
        names.sort();
        names
    }
}

/// Resource usage.
#[cfg(target_os = "linux")]
impl Server {
    /// Runs `load` and checks that the server's peak memory grows by less than `limit` KiB.
    #[track_caller]
    pub fn assert_memory_growth_below<T>(&self, limit: u64, load: impl FnOnce() -> T) -> T {
        let (before, _) = memory(&self.process());
        let result = load();
        let (_, peak) = memory(&self.process());
        assert!(
            peak - before < limit,
            "memory grew by {} KiB",
            peak - before
        );
        result
    }

    /// Waits until `members` member threads run. A thread starts shortly after the welcome.
    #[track_caller]
    pub fn wait_for_member_threads(&self, members: usize) {
        wait_until("each member has a thread", || {
            let threads = self.threads();
            let member_threads = threads.iter().filter(|name| name.starts_with("c:"));
            (member_threads.count() == members).then_some(())
        });
    }

    /// Number of open file descriptors.
    #[track_caller]
    pub fn descriptors(&self) -> usize {
        self.process().fd_count().expect("it runs")
    }

    /// Processor time used so far.
    #[track_caller]
    pub fn cpu_time(&self) -> Duration {
        let stat = self.process().stat().expect("it runs");
        let ticks = stat.utime + stat.stime;
        Duration::from_millis(ticks * 1000 / procfs::ticks_per_second())
    }

    /// Sets the descriptor limit so that no more can be opened. The limit is the lowest free
    /// number, since the server may have inherited descriptors with higher numbers.
    #[track_caller]
    pub fn limit_descriptors_to_open(&self) {
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
