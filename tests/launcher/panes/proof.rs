//! The proof at the end of a session: its clients have received what the server has sent.

use std::fs;

use procfs::process::all_processes;
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;

use super::{expect_welcomes, port, programs, scripted, start, with_client};
use support::proxy::{Plan, Proxy, Step};
use support::screen::Screen;
use support::{Client, Signal};

/// Columns of a terminal on which no line of the proof is wrapped.
const WIDE: u16 = 240;

/// Ends the session, and returns the last line that it leaves on the terminal.
#[track_caller]
fn proof(screen: &mut Screen) -> String {
    screen.type_keys("\x1b0/quit\r");
    assert_eq!(screen.end().exit_code(), 0);
    screen.wait("the summary and the proof", |text| {
        let mut rows = text.trim_end().lines().rev();
        let last = rows.next()?.trim_end().to_owned();
        let is_after_summary = rows.next()?.starts_with("the room is closed: ");
        (is_after_summary && last.starts_with("proof")).then_some(last)
    })
}

#[track_caller]
fn join(port: u16, name: &str) -> Client {
    Client::connect(([127, 0, 0, 1], port).into()).join(name)
}

/// Sends a signal to the child of the session whose command line contains `program` and `argument`.
#[track_caller]
fn signal(screen: &Screen, signal: Signal, program: &str, argument: &str) {
    let parent = screen.pid() as i32;
    let child = all_processes().unwrap().flatten().find(|process| {
        let is_child = process.stat().is_ok_and(|stat| stat.ppid == parent);
        let is_named = |line: Vec<String>| {
            line[0].ends_with(program) && line.iter().any(|word| word == argument)
        };
        is_child && process.cmdline().is_ok_and(is_named)
    });
    let pid = Pid::from_raw(child.expect("a child").pid()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A session with the client `ala`, which connects through a proxy.
struct Proxied {
    screen: Screen,
    port: u16,
    _proxy: Proxy,
    _dir: TempDir,
}

impl Proxied {
    /// Starts a session whose client's first connection gets these `steps` from the server.
    fn start(steps: Vec<Step>) -> Self {
        let client = programs().join("chat-client");
        let dir = with_client(&format!(
            r#"host=$1; shift 2
            until [ -e "$0.port" ]; do sleep 0.1; done
            exec '{}' "$host" "$(cat "$0.port")" "$@""#,
            client.display()
        ));
        let command = scripted(&dir, &["-c", "1", "--names", "ala"]);
        let screen = Screen::start(&command, WIDE, 24);
        let port = port(&screen);
        let plan = Plan {
            down: steps,
            ..Plan::default()
        };
        let server = ([127, 0, 0, 1], port).into();
        let proxy = Proxy::start(server, vec![plan], Plan::default());
        let file = dir.path().join("port");
        fs::write(&file, proxy.address().port().to_string()).unwrap();
        fs::rename(file, dir.path().join("chat-client.port")).unwrap();
        expect_welcomes(&screen, 1);
        Self {
            screen,
            port,
            _proxy: proxy,
            _dir: dir,
        }
    }

    /// Steps that forward everything up to the message `one`.
    fn after_one(steps: impl IntoIterator<Item = Step>) -> Self {
        let forward = [r#""one""#, "\n"].map(|end| Step::ForwardTo(end.into()));
        Self::start(forward.into_iter().chain(steps).collect())
    }

    /// Lets `jan`, the second member, say `one`, `two` and `three`, which are events 3 to 5.
    fn talk(&mut self) {
        let mut jan = join(self.port, "jan");
        for text in ["one", "two", "three"] {
            jan.send(text);
        }
        // In the panes of the server and the client.
        self.screen.wait("the last message", |text| {
            (text.matches("jan: three").count() == 2).then_some(())
        });
    }
}

#[test]
fn a_session_ends_with_the_proof_that_its_clients_have_received_everything() {
    let mut screen = start(&["--names", "ala,ola"], WIDE, 24);
    let mut jan = join(port(&screen), "jan");
    jan.send("hello");
    screen.wait("the message in each pane", |text| {
        (text.matches("jan: hello").count() == 3).then_some(())
    });
    let line = proof(&mut screen);
    let begin = "proof: 2 of 3 clients were checked, ";
    assert!(line.starts_with(begin), "{line}");
    assert!(line.contains("), 0 lost, 0 twice; "), "{line}");
    let (_, threads) = line.rsplit_once("; ").unwrap();
    let (started, ended) = threads.split_once(" threads started, ").unwrap();
    assert_eq!(ended, format!("{started} ended"));
}

#[test]
fn a_session_without_clients_only_proves_that_its_threads_have_ended() {
    let mut screen = start(&["--names", "ala"], WIDE, 24);
    signal(&screen, Signal::KILL, "chat-client", "ala");
    screen.expect("0 online");
    let line = proof(&mut screen);
    let begin = "proof: 0 of 1 client was checked (not ala, whose client ended without a report); ";
    assert!(line.starts_with(begin), "{line}");
}

#[test]
fn a_killed_client_is_left_out_of_the_proof_and_named() {
    let mut screen = start(&["--names", "ala,ola"], WIDE, 24);
    signal(&screen, Signal::KILL, "chat-client", "ola");
    screen.expect("1 online");
    let line = proof(&mut screen);
    let begin =
        "proof: 1 of 2 clients was checked (not ola, whose client ended without a report), ";
    assert!(line.starts_with(begin), "{line}");
}

#[test]
fn a_client_that_a_signal_ends_is_checked() {
    let mut screen = start(&["--names", "ala,ola"], WIDE, 24);
    signal(&screen, Signal::HUP, "chat-client", "ola");
    screen.expect("1 online");
    let line = proof(&mut screen);
    let begin = "proof: 2 of 2 clients were checked, ";
    assert!(line.starts_with(begin), "{line}");
}

#[test]
fn a_killed_server_leaves_no_proof() {
    let mut screen = start(&["--names", "ala"], WIDE, 24);
    signal(&screen, Signal::KILL, "chat-server", "--supervised");
    assert_eq!(screen.end().exit_code(), 1);
    screen.expect("\nproof: none, because the server was killed by signal 9 (SIGKILL)\n");
}

#[test]
fn a_client_that_resumes_after_a_break_is_checked_as_a_whole() {
    let mut session = Proxied::after_one([Step::Reset]);
    session.talk();
    let line = proof(&mut session.screen);
    let begin = "proof: 1 of 2 clients was checked, ";
    assert!(line.starts_with(begin), "{line}");
}

#[test]
fn an_event_that_is_lost_repeated_or_changed_on_the_way_makes_the_proof_fail() {
    let event = |seq: u64, text: &str| {
        let line = format!(
            r#"{{"type":"message","seq":{seq},"time":"2026-01-31T10:00:00Z","id":2,"from":"jan","text":"{text}"}}"#
        );
        Step::Insert((line + "\n").into_bytes())
    };
    let lose = || Step::DiscardTo(b"\n".to_vec());
    for (steps, fault) in [
        (vec![lose()], "did not receive event 4 before event 5"),
        (
            vec![event(3, "one")],
            "received event 3 again or late, when 4 was due",
        ),
        (vec![lose(), event(4, "tvo")], "received events 1 to "),
    ] {
        let mut session = Proxied::after_one(steps);
        session.talk();
        let line = proof(&mut session.screen);
        let begin = format!("proof FAILED: ala {fault}");
        assert!(line.starts_with(&begin), "{line}");
        assert!(line.ends_with("; 1 of 2 clients was checked"), "{line}");
    }
}
