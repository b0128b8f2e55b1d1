//! The client in a window that a launcher opened, connected to its control socket.

use std::sync::mpsc;

use chat_run::control_socket::{ClientHandle, ControlEvent, ControlListener, Membership};
use chat_run::protocol::tally::{Fault, Tally};

use support::Terminal;
use support::client::{FakeServer, WELCOME, chat_client};
use support::{DEADLINE, Server, run};

fn listener() -> (ControlListener, mpsc::Receiver<ControlEvent>) {
    let (sender, events) = mpsc::channel();
    // Sending fails once the test is over and the receiver dropped.
    let listener = ControlListener::start(move |event| drop(sender.send(event))).unwrap();
    (listener, events)
}

fn window(listener: &ControlListener, args: &[&str]) -> Terminal {
    let name = listener.name_for(1);
    Terminal::start_with(args, &[("CHAT_CONTROL_SOCKET", name.to_str().unwrap())])
}

#[track_caller]
fn hello(events: &mpsc::Receiver<ControlEvent>) -> ClientHandle {
    match events.recv_timeout(DEADLINE).unwrap() {
        ControlEvent::Hello { client, .. } => {
            client.give_turn();
            client
        }
        event @ (ControlEvent::Membership { .. }
        | ControlEvent::Named { .. }
        | ControlEvent::Saw { .. }
        | ControlEvent::Exited { .. }) => panic!("{event:?}"),
    }
}

/// The next report of a client's membership.
#[track_caller]
fn membership(events: &mpsc::Receiver<ControlEvent>) -> Membership {
    match events.recv_timeout(DEADLINE).unwrap() {
        ControlEvent::Membership { membership, .. } => membership,
        event @ (ControlEvent::Hello { .. }
        | ControlEvent::Named { .. }
        | ControlEvent::Saw { .. }
        | ControlEvent::Exited { .. }) => panic!("{event:?}"),
    }
}

/// Waits for the next report of a client's name.
#[track_caller]
fn name(events: &mpsc::Receiver<ControlEvent>) -> String {
    loop {
        match events.recv_timeout(DEADLINE).unwrap() {
            ControlEvent::Named { name, .. } => return name.to_string(),
            ControlEvent::Membership { .. } => {}
            event @ (ControlEvent::Hello { .. }
            | ControlEvent::Saw { .. }
            | ControlEvent::Exited { .. }) => panic!("{event:?}"),
        }
    }
}

/// Waits for the next report of what a client has received: the first and the next sequence number,
/// the number of events, how many are missing before, and the first fault.
#[track_caller]
fn saw(events: &mpsc::Receiver<ControlEvent>) -> (u64, u64, u64, u64, Option<Fault>) {
    loop {
        match events.recv_timeout(DEADLINE).unwrap() {
            ControlEvent::Saw { tally, .. } => {
                let Tally {
                    first,
                    next,
                    received,
                    missing,
                    fault,
                    ..
                } = tally;
                return (first, next, received, missing, fault);
            }
            ControlEvent::Membership { .. } | ControlEvent::Named { .. } => {}
            event @ (ControlEvent::Hello { .. } | ControlEvent::Exited { .. }) => {
                panic!("{event:?}")
            }
        }
    }
}

#[test]
fn a_client_reports_what_it_has_received_since_each_join() {
    let (listener, events) = listener();
    let fake = FakeServer::new();
    let mut ala = window(&listener, &[&fake.address(), "-n", "ala"]);
    let client = hello(&events);
    let welcome = |room: &str, seq: u64, more: &str| {
        WELCOME
            .replace(r#""room":"r""#, &format!(r#""room":"{room}""#))
            .replace(r#""seq":0"#, &format!(r#""seq":{seq}{more}"#))
    };
    let event = |seq: u64, more: &str| {
        format!(
            r#"{{"type":"server","seq":{seq},"time":"2026-01-31T10:00:00Z","text":"number {seq}."{more}}}"#
        )
    };
    let replay = r#","replay":true"#;
    let private =
        r#"{"type":"private","time":"2026-01-31T10:00:00Z","id":3,"from":"ola","text":"psst"}"#;
    // Accepts a connection, which lasts until the client shows the last event.
    let mut connect = |login: &str, lines: &[String], last: u64| {
        let mut server = fake.accept();
        server.expect(login);
        for line in lines {
            server.send(line);
        }
        ala.expect(&format!("number {last}."));
        server
    };

    // A replay and private messages do not count.
    let lines = [
        welcome("r", 4, ""),
        event(3, replay),
        event(5, ""),
        private.into(),
        event(6, ""),
    ];
    drop(connect("/json ala", &lines, 6));
    // A client that resumes goes on.
    let lines = [
        welcome("r", 8, ""),
        event(7, replay),
        event(8, replay),
        event(9, ""),
    ];
    drop(connect("/resume t 6", &lines, 9));
    // Events that the server no longer has begin the next tally.
    let lines = [
        welcome("r", 20, r#","missing":10"#),
        event(20, replay),
        event(21, ""),
        event(23, ""),
    ];
    drop(connect("/resume t 9", &lines, 23));
    assert_eq!(saw(&events), (5, 10, 5, 0, None));
    // Events of another room do not count.
    let lines = [welcome("s", 30, ""), event(31, "")];
    let server = connect("/resume t 23", &lines, 31);
    let fault = Fault {
        expected: 22,
        received: 23,
    };
    assert_eq!(saw(&events), (21, 24, 2, 10, Some(fault)));
    drop(server);
    client.quit();
    ala.exit(0);
    loop {
        match events.recv_timeout(DEADLINE).unwrap() {
            ControlEvent::Exited { .. } => break,
            ControlEvent::Membership { .. } | ControlEvent::Named { .. } => {}
            event @ (ControlEvent::Hello { .. } | ControlEvent::Saw { .. }) => panic!("{event:?}"),
        }
    }
}

#[test]
fn a_client_reports_its_name_after_the_login_and_after_a_change() {
    let (listener, events) = listener();
    let server = Server::start(&[]);
    let mut window = window(&listener, &[&server.address.to_string(), "-n", "ala"]);
    let _client = hello(&events);
    assert_eq!(name(&events), "ala");
    window.type_line("/changename zażółć");
    assert_eq!(name(&events), "zażółć");
}

#[test]
fn a_client_reports_each_change_of_its_membership_to_its_launcher() {
    let (listener, events) = listener();
    let server = Server::start(&[]);
    let _ola = server.join("ola");
    let mut window = window(&listener, &[&server.address.to_string()]);
    let _client = hello(&events);
    window.expect("name, and group if you like: ");
    window.type_line("ola");
    assert_eq!(membership(&events), Membership::Joining);
    window.expect("the name ola is taken");
    assert_eq!(membership(&events), Membership::Out);
    window.type_line("ala");
    window.expect("welcome");
    assert_eq!(membership(&events), Membership::Joining);
    assert_eq!(membership(&events), Membership::In);
}

#[test]
fn a_client_contacts_its_launcher_before_asking_for_a_name_and_quits_when_told() {
    let (listener, events) = listener();
    let fake = FakeServer::new();
    let mut ala = window(&listener, &[&fake.address()]);
    let client = hello(&events);
    ala.expect("name, and group if you like: ");
    client.quit();
    ala.exit(0);
}

#[test]
fn a_client_leaves_the_room_when_its_session_ends() {
    let (listener, events) = listener();
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = window(&listener, &[&server.address.to_string(), "-n", "ala"]);
    let client = hello(&events);
    ala.expect("welcome");
    client.quit();
    ola.expect_all(&["* ala joined", "* ala left"]);
    ala.exit(0);
}

#[test]
fn a_client_leaves_when_its_launcher_is_killed() {
    let (listener, events) = listener();
    let server = Server::start(&[]);
    let mut ala = window(&listener, &[&server.address.to_string(), "-n", "ala"]);
    ala.expect("welcome");
    drop(hello(&events));
    drop(listener);
    ala.exit(0);
    server.expect_log("* ala left");
}

#[test]
fn the_window_of_a_failed_client_stays_until_enter() {
    let (listener, events) = listener();
    let mut ala = window(&listener, &["127.0.0.1:1", "-n", "ala"]);
    let _client = hello(&events);
    ala.expect("error: cannot connect to 127.0.0.1:1 ");
    ala.expect("press Enter to close this window ");
    ala.press("\r");
    ala.exit(1);
}

#[test]
fn the_window_of_a_client_refused_by_a_full_room_stays_until_enter() {
    let (listener, events) = listener();
    let server = Server::start(&["-m", "1"]);
    let _ola = server.join("ola");
    let mut ala = window(&listener, &[&server.address.to_string(), "-n", "ala"]);
    let _client = hello(&events);
    ala.expect("error: the room is full (1)\r\n");
    ala.expect("press Enter to close this window ");
    ala.press("\r");
    ala.exit(1);
}

#[test]
fn a_client_keeps_reconnecting_until_its_session_ends() {
    let (listener, events) = listener();
    let server = Server::start(&[]);
    let mut ala = window(&listener, &[&server.address.to_string(), "-n", "ala"]);
    let client = hello(&events);
    ala.expect("welcome");
    server.kill();
    ala.expect("trying again, Ctrl+C gives up");
    client.quit();
    ala.exit(0);
}

#[test]
fn the_window_of_a_failed_client_closes_with_its_session() {
    let (listener, events) = listener();
    let mut ala = window(&listener, &["127.0.0.1:1", "-n", "ala"]);
    let client = hello(&events);
    ala.expect("press Enter to close this window ");
    client.quit();
    ala.exit(1);
}

#[test]
fn a_client_of_an_ended_session_does_not_start() {
    let (listener, events) = listener();
    let name = listener.name_for(1);
    drop((listener, events));
    let mut command = chat_client(&["-n", "ala"]);
    command.env("CHAT_CONTROL_SOCKET", name);
    run(command)
        .expect_code(1)
        .expect_stderr("error: the session that this client belongs to is over: ");
}
