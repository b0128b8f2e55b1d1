//! The launcher's console on a terminal: the line being typed stays whole below the log.

#![cfg(target_os = "linux")] // Signals, and modes of a terminal.

use std::net::SocketAddr;

use rustix::process::{Pid, Signal, kill_process};
use support::screen::{Screen, last_row};
use support::{Client, bin, program, wait_until};

/// Starts a session without windows on a terminal of this size.
#[track_caller]
fn start(columns: u16, rows: u16) -> (Screen, SocketAddr) {
    let mut command = program(&bin("chat-run"));
    command.args(["-t", "none", "-p", "0"]);
    let screen = Screen::start(&command, columns, rows);
    let address = screen.expect_address();
    screen.expect("only this machine can join");
    screen.expect("\n>");
    (screen, address)
}

#[test]
fn a_half_typed_line_stays_whole_while_members_join_and_talk() {
    let (mut screen, address) = start(60, 16);
    screen.type_keys("/say half of a se");
    screen.expect_last_row("> /say half of a se");
    let mut ala = Client::connect(address).join("ala");
    let mut members = Vec::new();
    for number in 0..10 {
        members.push(Client::connect(address).join(&format!("m{number}")));
        ala.send(&format!("message {number}"));
        let text = screen.text();
        assert_eq!(last_row(&text), "> /say half of a se", "{text}");
    }
    screen.expect("ala: message 9\n");
    for number in 0..10 {
        let line = format!(" ala: message {number}");
        let is_whole = |row: &String| row.ends_with(&line) && row.len() == 8 + line.len();
        assert!(screen.all_rows().iter().any(is_whole), "{line:?}");
    }
    screen.type_keys("ntence\r");
    ala.skip_to("* the server: half of a sentence");
    screen.expect_last_row(">");
}

#[test]
fn typed_lines_can_be_edited_recalled_and_completed() {
    let (mut screen, address) = start(80, 24);
    let mut ala = Client::connect(address).join("ala");
    screen.type_keys("/sy one\x1b[H\x1b[C\x1b[Ca\r");
    ala.skip_to("* the server: one");
    screen.type_keys("\x1b[A\x7f\x7f\x7ftwo\r");
    ala.expect("* the server: two");
    screen.type_keys("/op\t");
    screen.expect_last_row("> /open");
    screen.type_keys("\x15/ki\t\t");
    screen.expect_last_row("> /kick ala");
    screen.type_keys("\x15\x1b[200~/say one\n/quit\n\x1b[201~");
    screen.expect("! a paste of 2 lines was not taken");
    ala.send("still here");
    screen.expect("ala: still here");
}

#[test]
fn tab_completes_the_names_of_all_members_in_the_room() {
    let (mut screen, address) = start(80, 24);
    let complete = |screen: &mut Screen, start: &str, expected: &str| {
        screen.type_keys(&format!("\x15/kick {start}\t"));
        screen.expect_last_row(&format!("> /kick {expected}"));
    };
    let mut zofia = Client::connect(address).join("Zofia 3ID12");
    screen.expect("* Zofia (3ID12) joined");
    complete(&mut screen, "zo", "Zofia");
    zofia.send("/changename Łucja");
    screen.expect("* Zofia is now Łucja");
    complete(&mut screen, "lu", "Łucja");
    complete(&mut screen, "zo", "zo");
    zofia.send("/quit");
    screen.expect("* Łucja left");
    complete(&mut screen, "lu", "lu");
}

#[test]
fn a_long_list_of_members_is_in_columns_at_any_width() {
    let (mut screen, address) = start(80, 24);
    let names = ["ala 3ID12", "Kowalski_Jan 3ID11A", "ola", "Żaneta gr/1"];
    let more = ["日本語 3ID12", "bartosz", "m", "karolina 3ID12"];
    let members = names.into_iter().chain(more);
    let _members: Vec<Client> = members
        .map(|member| Client::connect(address).join(member))
        .collect();
    screen.type_keys("/online\r");
    let expect = |screen: &Screen, rows: &[&str]| {
        screen.wait("the list", |text| {
            let (_, below) = text.split_once("* 8 online\n")?;
            let below: Vec<&str> = below
                .lines()
                .map(|row| row.get(9..).unwrap_or(""))
                .collect();
            (below.split_last()?.1 == rows).then_some(())
        });
    };
    expect(
        &screen,
        &[
            "ala (3ID12)            Kowalski_Jan (3ID11A)  ola",
            "Żaneta (gr/1)          日本語 (3ID12)         bartosz",
            "m                      karolina (3ID12)",
        ],
    );
    screen.resize(52, 24);
    expect(
        &screen,
        &[
            "ala (3ID12)",
            "Kowalski_Jan (3ID11A)",
            "ola",
            "Żaneta (gr/1)",
            "日本語 (3ID12)",
            "bartosz",
            "m",
            "karolina (3ID12)",
        ],
    );
}

#[test]
fn the_terminal_is_restored_however_the_session_ends() {
    type End = fn(&mut Screen);
    let ends: [(&str, End); 3] = [
        ("SIGTERM", |screen| {
            let pid = Pid::from_raw(screen.pid().cast_signed()).expect("a process");
            kill_process(pid, Signal::TERM).expect("it runs");
        }),
        ("Ctrl+C", |screen| screen.type_keys("\x03")),
        ("/quit", |screen| screen.type_keys("\x15/quit\r")),
    ];
    for (name, end) in ends {
        let (mut screen, _) = start(60, 16);
        let canonical = |screen: &Screen| screen.modes().contains("ICANON");
        wait_until("raw mode", || (!canonical(&screen)).then_some(()));
        screen.type_keys("half a line");
        screen.expect_last_row("> half a line");
        end(&mut screen);
        assert_eq!(screen.end().exit_code(), 0, "{name}");
        assert!(canonical(&screen), "{name}");
        assert!(screen.modes().contains("ECHO"), "{name}");
        screen.wait("the summary and the proof", |text| {
            let (_, end) = text.split_once("\nthe room is closed: ")?;
            end.contains("\nproof: nobody joined; ").then_some(())
        });
        assert!(!screen.inspect(vt100::Screen::bracketed_paste), "{name}");
    }
}

#[test]
fn ctrl_z_stops_the_session_like_a_job_and_fg_brings_the_line_back() {
    let mut shell = program("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "$ ");
    shell.env("HISTFILE", "/dev/null");
    let mut screen = Screen::start(&shell, 100, 24);
    screen.expect("$");
    screen.type_keys(&format!("{:?} -t none -p 0\r", bin("chat-run")));
    screen.expect("only this machine can join");
    screen.expect("\n>");
    screen.type_keys("/say begun");
    screen.expect_last_row("> /say begun");
    screen.type_keys("\x1a");
    screen.expect("Stopped");
    // While the session is in the background, the shell reads what is typed.
    screen.type_keys("bg\recho the shell has it\r");
    screen.expect("\nthe shell has it");
    screen.type_keys("fg\r");
    screen.expect_last_row("> /say begun");
    screen.type_keys(" and ended\r");
    screen.expect("* the server: begun and ended");
    screen.type_keys("\x03");
    screen.expect("the room is closed: ");
    screen.wait("the shell's prompt", |text| {
        text.trim_end().ends_with('$').then_some(())
    });
    screen.type_keys("stty -a; exit\r");
    screen.expect(" echo ");
    screen.end();
}
