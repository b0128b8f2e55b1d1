//! Frozen clients: stopped by F8 or `/freeze`, and continued at the latest when the session ends.

use procfs::process::{Process, all_processes};
use rustix::process::{Pid, kill_process};

use super::{CTRL_C, panes, port, start};
use support::screen::Screen;
use support::{Client, Signal, wait_until};

const F8: &str = "\x1b[19~";

/// The processes that the launcher has started with `word` on their command line, in the order of
/// their IDs.
fn children(screen: &Screen, word: &str) -> Vec<Process> {
    let parent = screen.pid() as i32;
    let mut found: Vec<Process> = all_processes()
        .unwrap()
        .flatten()
        .filter(|process| process.stat().is_ok_and(|stat| stat.ppid == parent))
        .filter(|process| {
            process
                .cmdline()
                .is_ok_and(|line| line.join(" ").contains(word))
        })
        .collect();
    found.sort_by_key(Process::pid);
    found
}

fn clients(screen: &Screen) -> Vec<Process> {
    children(screen, "chat-client")
}

fn wait_for_state(client: &Process, is_stopped: bool) {
    wait_until(&format!("is stopped: {is_stopped}"), || {
        let state = client.stat().unwrap().state;
        ((state == 'T') == is_stopped).then_some(())
    });
}

fn has_ended(process: &Process) -> bool {
    process.stat().map_or(true, |stat| stat.state == 'Z')
}

#[test]
fn f8_freezes_and_thaws_the_client_of_the_focused_pane() {
    let mut screen = start(&["--names", "ala,ola"], 80, 24);
    let clients = clients(&screen);
    screen.type_keys("\x1b2");
    screen.type_keys(F8);
    screen.expect("FROZEN chat 2");
    screen.expect("* ola is frozen");
    wait_for_state(&clients[1], true);
    wait_for_state(&clients[0], false);
    screen.type_keys("hi from the past\r");
    screen.type_keys(F8);
    screen.expect_gone("FROZEN");
    screen.expect("* ola runs again");
    wait_for_state(&clients[1], false);
    // The keys that were typed while the client was frozen reach it now.
    screen.wait("the line in both panes and the log", |text| {
        (text.matches("hi from the past").count() >= 3).then_some(())
    });
    screen.type_keys("\x1b0");
    screen.type_keys(F8);
    screen.expect("! F8 freezes a client");
}

#[test]
fn freeze_finds_a_client_by_its_current_name_and_refuses_other_members() {
    let mut screen = start(&["--names", "ala,ola"], 80, 24);
    let clients = clients(&screen);
    screen.type_keys("\x1b2/changename ela\r");
    screen.expect("ola is now ela");
    let port = port(&screen);
    let _jan = Client::connect(([127, 0, 0, 1], port).into()).join("jan");
    screen.type_keys("\x1b0");
    for (line, answer) in [
        ("/freeze ELA", "* ela is frozen"),
        ("/freeze ela", "! ela is already frozen"),
        ("/thaw ela", "* ela runs again"),
        ("/thaw ela", "! ela is not frozen"),
        ("/freeze jan", "! jan is not a client of this session"),
        ("/thaw server", "! server is not a client of this session"),
        ("/freeze", "! type a name: /freeze NAME"),
    ] {
        screen.type_keys(&format!("{line}\r"));
        screen.expect(answer);
    }
    wait_for_state(&clients[1], false);
}

#[test]
fn a_client_that_has_no_name_yet_is_frozen_and_thawed_by_its_key() {
    let mut screen = Screen::start(&panes(&["-c", "1"]), 160, 24);
    screen.expect("name, and group");
    screen.type_keys("\x1b1");
    screen.type_keys(F8);
    screen.expect("* chat 1 is frozen");
    screen.expect("until F8 in its pane");
    screen.type_keys(F8);
    screen.expect("* chat 1 runs again");
}

#[test]
fn the_end_of_a_session_thaws_its_clients() {
    let mut screen = start(&["--names", "ala,ola"], 80, 24);
    let clients = clients(&screen);
    screen.type_keys("\x1b1");
    screen.type_keys(F8);
    screen.expect("FROZEN");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
    assert!(clients.iter().all(has_ended));
    // If a client had still been frozen, the session would have waited for it and named it.
    assert!(!screen.text().contains("waiting for"), "{}", screen.text());
}

#[test]
fn a_killed_launcher_leaves_no_frozen_client_behind() {
    let mut screen = start(&["--names", "ala,ola"], 80, 24);
    let clients = clients(&screen);
    screen.type_keys("\x1b1");
    screen.type_keys(F8);
    screen.expect("FROZEN");
    let watchdogs = children(&screen, "--thaw-watchdog");
    assert_eq!(watchdogs.len(), 1);
    wait_for_state(&clients[0], true);
    kill_process(Pid::from_raw(screen.pid() as i32).unwrap(), Signal::KILL).unwrap();
    wait_until("no client and no watchdog is left", || {
        let mut all = clients.iter().chain(&watchdogs);
        all.all(has_ended).then_some(())
    });
}
