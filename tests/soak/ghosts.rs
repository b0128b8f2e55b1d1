//! Connections whose network vanishes silently: each side detects it within the documented time and
//! recovers.
//!
//! There are three network namespaces in a row: the server's, a router's and the client's. A router
//! that stops routing has the same effect as closing a laptop. The connections' timeouts are
//! divided by ten, except in `./run.sh soak`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::alone;
use chat_run::net::GIVEN_UP_AFTER;
use support::faults::Faults;
use support::screen::Screen;
use support::wait::wait_at_most;
use support::{DEADLINE, Program, Server, program};

/// Address of the server.
const SERVER: &str = "10.99.1.1";

/// Sets up the namespaces of the processes `$1` (server), `$2` (router) and `$3` (client).
const SETUP: &str = r#"
set -e
ip link add server netns "$1" type veth peer name server netns "$2"
ip link add client netns "$3" type veth peer name client netns "$2"
at() { nsenter -n -t "$@"; }
at "$1" ip link set lo up
at "$1" ip address add 10.99.1.1/24 dev server
at "$2" ip address add 10.99.1.2/24 dev server
at "$2" ip address add 10.99.2.2/24 dev client
at "$3" ip address add 10.99.2.1/24 dev client
at "$1" ip link set server up
at "$2" ip link set server up
at "$2" ip link set client up
at "$3" ip link set client up
at "$1" ip route add default via 10.99.1.2
at "$3" ip route add default via 10.99.2.2
"#;

/// Divisor of the connections' timeouts.
fn speedup() -> u32 {
    if std::env::var_os("SOAK_MINUTES").is_some() {
        1
    } else {
        10
    }
}

/// Deadline for detecting a vanished peer: the shortened timeout, and [`DEADLINE`] more for a busy
/// machine.
fn detection_deadline() -> Duration {
    GIVEN_UP_AFTER / speedup() + DEADLINE
}

/// The three namespaces. A process in each keeps it alive until its stdin closes.
struct Network {
    holders: [Child; 3],
    faults: Faults,
}

impl Network {
    /// Creates the namespaces and routes. Prints a notice and returns `None` if that is not
    /// allowed.
    fn new() -> Option<Self> {
        let holders = [(); 3].map(|()| {
            let mut holder = Command::new("unshare");
            holder.args(["-n", "sh", "-c", "echo ready; exec cat"]);
            holder.stdin(Stdio::piped()).stdout(Stdio::piped());
            holder.stderr(Stdio::null()).spawn().unwrap()
        });
        let mut network = Self {
            holders,
            faults: Faults::new(),
        };
        let mut has_namespaces = true;
        for holder in &mut network.holders {
            let mut line = String::new();
            let mut lines = BufReader::new(holder.stdout.take().unwrap());
            has_namespaces &= lines.read_line(&mut line).unwrap() > 0;
        }
        let mut setup = Command::new("sh");
        setup.args(["-c", SETUP, "sh"]);
        setup.args(
            network
                .holders
                .each_ref()
                .map(|holder| holder.id().to_string()),
        );
        if has_namespaces && setup.status().unwrap().success() && network.route(true) {
            return Some(network);
        }
        eprintln!(
            "NOT TESTED: connections whose network vanishes, since no network namespaces can be created here. \
             The socket options that detect it are tested in src/net/listen.rs."
        );
        None
    }

    /// A command in namespace `number`.
    fn command(&self, number: usize, path: &str) -> Command {
        let mut command = program("nsenter");
        let holder = self.holders[number].id().to_string();
        command.args(["-n", "-t", &holder, path]);
        if speedup() > 1 {
            self.faults.speed_up(&mut command, speedup());
        }
        command
    }

    /// Turns routing on or off, and returns whether that succeeded.
    fn route(&self, routes: bool) -> bool {
        let script = format!("echo {} >/proc/sys/net/ipv4/ip_forward", u8::from(routes));
        let mut command = self.command(1, "sh");
        command.args(["-c", &script]).status().unwrap().success()
    }

    fn server(&self) -> Server {
        let mut command = self.command(0, env!("CARGO_BIN_EXE_chat-server"));
        command.args(["-p", "0", "--host", SERVER]);
        Server::start_as(command)
    }

    /// Starts a client in the server's namespace.
    fn client_near(&self, server: &Server, name: &str) -> Program {
        let mut command = self.command(0, env!("CARGO_BIN_EXE_chat-client"));
        command.args([&server.address.to_string(), "-n", name]);
        command.stdin(Stdio::piped());
        Program::start(command)
    }

    /// Joins a member in the server's namespace.
    fn join_near(&self, server: &Server, name: &str) -> Program {
        let member = self.client_near(server, name);
        member.expect_stdout(&format!("* welcome, {name}"));
        member
    }

    /// Joins a member on a terminal in the client's namespace.
    fn join_far(&self, server: &Server, name: &str) -> Screen {
        let mut command = self.command(2, env!("CARGO_BIN_EXE_chat-client"));
        command.args([&server.address.to_string(), "-n", name, "--answer-time"]);
        command.arg((GIVEN_UP_AFTER / speedup()).as_millis().to_string());
        let member = Screen::start(&command, 100, 20);
        member.expect(&format!("* welcome, {name}"));
        member
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            holder.stdin = None;
            let _ = holder.wait();
        }
    }
}

/// Waits until the output `shown` contains `part`, at most [`detection_deadline`] after `began`.
#[track_caller]
fn expect_in_time(began: Instant, what: &str, part: &str, shown: impl Fn() -> String) {
    let left = detection_deadline().saturating_sub(began.elapsed());
    let is_shown = || shown().contains(part).then_some(());
    wait_at_most(left, what, &shown, is_shown);
    eprintln!("{what} after {:?}", began.elapsed());
}

#[test]
fn a_member_whose_network_vanishes_leaves_in_time_and_its_name_is_kept() {
    let _alone = alone();
    let Some(network) = Network::new() else {
        return;
    };
    let (silent, talking) = (network.server(), network.server());
    let ola = network.join_near(&silent, "ola");
    let mut jan = network.join_near(&talking, "jan");
    let _members = [&silent, &talking].map(|server| network.join_far(server, "ala"));
    ola.expect_stdout("* ala joined");
    jan.expect_stdout("* ala joined");
    assert!(network.route(false));
    let began = Instant::now();
    // On this server, there is unacknowledged data.
    jan.type_line("is anybody there?");
    for (member, server, what) in [
        (
            &jan,
            &talking,
            "leave notice of a member with unacknowledged data",
        ),
        (
            &ola,
            &silent,
            "leave notice of a member on an idle connection",
        ),
    ] {
        let left = "* ala left (connection lost)";
        expect_in_time(began, what, left, || member.stdout());
        let other = network.client_near(server, "ala");
        let kept = "the name ala is kept for its owner";
        other.exit().expect_code(1).expect_stderr(kept);
    }
}

#[test]
fn a_client_without_network_says_so_and_reconnects_with_its_typed_line() {
    let _alone = alone();
    let Some(network) = Network::new() else {
        return;
    };
    let server = network.server();
    let mut ola = network.join_near(&server, "ola");
    let (mut silent, mut talking) = (
        network.join_far(&server, "ala"),
        network.join_far(&server, "jan"),
    );
    ola.expect_stdout("* ala joined");
    ola.expect_stdout("* jan joined");
    silent.type_keys("half a li");
    silent.expect("> half a li");
    assert!(network.route(false));
    let began = Instant::now();
    talking.type_keys("can you hear me?\r");
    for (client, what) in [
        (&silent, "notice on an idle client"),
        (&talking, "notice on a sending client"),
    ] {
        let told = "trying again, Ctrl+C gives up";
        expect_in_time(began, what, told, || client.text());
    }
    ola.type_line("are you there?");
    assert!(network.route(true));
    for (client, name) in [(&silent, "ala"), (&talking, "jan")] {
        client.expect(&format!("* connected again as {name}"));
        client.expect("ola: are you there?");
    }
    silent.expect("> half a li");
    silent.type_keys("ne\r");
    ola.expect_stdout("ala: half a line");
}
