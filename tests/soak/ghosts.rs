//! Connections whose network vanishes without a word: each side finds out in the time that is promised, and goes on.
//!
//! Three network namespaces in a row: the server's, a router's, and the client's. A router that does not route is what a laptop is for the others
//! that has been closed. Time passes ten times as fast for what a connection waits for; `./run.sh soak` has it pass as it does.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::alone;
use chat_run::net::GIVEN_UP_AFTER;
use support::faults::Faults;
use support::screen::Screen;
use support::wait::wait_at_most;
use support::{DEADLINE, Program, Server, program};

/// The server's address, and that of the client.
const SERVER: &str = "10.99.1.1";

/// Sets up the namespaces of the processes `$1`, the server's, `$2`, the router's, and `$3`, the client's.
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

/// How many times as fast as usual a connection gives its peer up.
fn haste() -> u32 {
    if std::env::var_os("SOAK_MINUTES").is_some() {
        1
    } else {
        10
    }
}

/// Time in which a peer that has vanished must have been found out, here. A busy machine has some more.
fn given_up_after() -> Duration {
    GIVEN_UP_AFTER / haste() + DEADLINE
}

/// The three namespaces. Each is there as long as a process is in it, and these end with their input.
struct Network {
    holders: [Child; 3],
    faults: Faults,
}

impl Network {
    /// Makes them, and the way through them; says so where that is not allowed.
    fn new() -> Option<Self> {
        let holders = [(); 3].map(|()| {
            let mut holder = Command::new("unshare");
            holder.args(["-n", "sh", "-c", "echo in; exec cat"]);
            holder.stdin(Stdio::piped()).stdout(Stdio::piped());
            holder.stderr(Stdio::null()).spawn().unwrap()
        });
        let mut network = Self {
            holders,
            faults: Faults::new(),
        };
        let mut is_in = true;
        for holder in &mut network.holders {
            let mut line = String::new();
            let mut lines = BufReader::new(holder.stdout.take().unwrap());
            is_in &= lines.read_line(&mut line).unwrap() > 0;
        }
        let mut setup = Command::new("sh");
        setup.args(["-c", SETUP, "sh"]);
        setup.args(
            network
                .holders
                .each_ref()
                .map(|holder| holder.id().to_string()),
        );
        if is_in && setup.status().unwrap().success() && network.route(true) {
            return Some(network);
        }
        eprintln!(
            "NOT TESTED, as there are no network namespaces to be had here: what becomes of a connection whose network vanishes. \
             That the server asks the kernel to find out is tested all the same, by src/net/listen.rs."
        );
        None
    }

    /// A command in the namespace of holder number `number`.
    fn command(&self, number: usize, path: &str) -> Command {
        let mut command = program("nsenter");
        let holder = self.holders[number].id().to_string();
        command.args(["-n", "-t", &holder, path]);
        if haste() > 1 {
            self.faults.speed_up(&mut command, haste());
        }
        command
    }

    /// Lets the network work, or not; true where that was done.
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

    /// A member on the server's own machine.
    fn neighbour(&self, server: &Server, name: &str) -> Program {
        let mut command = self.command(0, env!("CARGO_BIN_EXE_chat-client"));
        command.args([&server.address.to_string(), "-n", name]);
        command.stdin(Stdio::piped());
        let member = Program::start(command);
        member.expect_stdout(&format!("* welcome, {name}"));
        member
    }

    /// A member on the client's machine, on a terminal.
    fn distant(&self, server: &Server, name: &str) -> Screen {
        let mut command = self.command(2, env!("CARGO_BIN_EXE_chat-client"));
        command.args([&server.address.to_string(), "-n", name, "--answer-time"]);
        command.arg((GIVEN_UP_AFTER / haste()).as_millis().to_string());
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

/// Waits until `shown` has `part`, which is to come in the time after `began` in which a peer is given up.
#[track_caller]
fn expect_in_time(began: Instant, what: &str, part: &str, shown: impl Fn() -> String) {
    let left = given_up_after().saturating_sub(began.elapsed());
    let has_come = || shown().contains(part).then_some(());
    wait_at_most(left, what, &shown, has_come);
    eprintln!("{what} after {:?}", began.elapsed());
}

#[test]
fn a_member_whose_network_vanishes_is_gone_in_time_and_its_name_is_free() {
    let _alone = alone();
    let Some(network) = Network::new() else {
        return;
    };
    let (silent, talking) = (network.server(), network.server());
    let ola = network.neighbour(&silent, "ola");
    let mut jan = network.neighbour(&talking, "jan");
    let _members = [&silent, &talking].map(|server| network.distant(server, "ala"));
    ola.expect_stdout("* ala joined");
    jan.expect_stdout("* ala joined");
    assert!(network.route(false));
    let began = Instant::now();
    // Here there is something that is never acknowledged.
    jan.type_line("is anybody there?");
    for (member, server, what) in [
        (&jan, &talking, "word of one to whom something was said"),
        (&ola, &silent, "word of one to whom nothing was said"),
    ] {
        let left = "* ala left (connection lost)";
        expect_in_time(began, what, left, || member.stdout());
        network.neighbour(server, "ala");
    }
}

#[test]
fn a_client_whose_network_vanishes_says_so_and_comes_back_with_the_line_that_is_being_typed() {
    let _alone = alone();
    let Some(network) = Network::new() else {
        return;
    };
    let server = network.server();
    let mut ola = network.neighbour(&server, "ola");
    let (mut silent, mut talking) = (
        network.distant(&server, "ala"),
        network.distant(&server, "jan"),
    );
    ola.expect_stdout("* ala joined");
    ola.expect_stdout("* jan joined");
    silent.type_keys("half a li");
    silent.expect("> half a li");
    assert!(network.route(false));
    let began = Instant::now();
    talking.type_keys("can you hear me?\r");
    for (client, what) in [
        (&silent, "word to one who says nothing"),
        (&talking, "word to one who says something"),
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
