//! The server's console on a terminal: the line being typed stays intact below the log.

#![cfg(target_os = "linux")] // Job control, and /proc.

use std::net::SocketAddr;

use rustix::process::{Pid, kill_process};
use support::screen::{Screen, last_row};
use support::{Client, Signal, chat_server, program, wait_until};

const CTRL_C: &str = "\x03";
const CTRL_Z: &str = "\x1a";

/// Starts a server on a terminal of this size.
#[track_caller]
fn start(columns: u16, rows: u16) -> (Screen, SocketAddr) {
    let screen = Screen::start(&chat_server(&["-p", "0"]), columns, rows);
    let address = screen.expect_address();
    screen.expect("\n>");
    (screen, address)
}

#[test]
fn a_half_typed_line_stays_intact_below_the_log() {
    let (mut screen, address) = start(40, 12);
    screen.type_keys("/say half of a se");
    screen.expect_last_row("> /say half of a se");
    let mut ala = Client::connect(address).join("ala");
    let mut members = Vec::new();
    for number in 0..20 {
        members.push(Client::connect(address).join(&format!("m{number}")));
        ala.send(&format!(
            "message {number} is longer than a row of the screen"
        ));
        // At every moment, the typed line is the last row.
        let text = screen.text();
        assert_eq!(last_row(&text), "> /say half of a se", "{text}");
    }
    screen.expect("message 19");
    screen.expect_last_row("> /say half of a se");
    let rows = screen.all_rows();
    for number in 0..20 {
        let first = format!("ala: message {number} is");
        let at = rows
            .iter()
            .position(|row| row.ends_with(&first) || row.contains(&first));
        let at = at.unwrap_or_else(|| panic!("no {first:?} in {rows:#?}"));
        let rest = rows[at..=at + 2].join(" ");
        assert!(rest.contains("of the screen"), "{rest:?}");
    }
    screen.type_keys("ntence\r");
    ala.skip_to("* the server: half of a sentence");
    screen.expect_last_row(">");
}

#[test]
fn typed_lines_can_be_edited_recalled_and_completed() {
    let (mut screen, address) = start(80, 24);
    let mut ala = Client::connect(address).join("ala");
    screen.expect("* ala joined");
    screen.type_keys("/sy one\x1b[H\x1b[C\x1b[Cax\x7f\x1b[F\r");
    screen.expect("> /say one");
    ala.skip_to("* the server: one");
    screen.type_keys("\x1b[A\x7f\x7f\x7ftwo\r");
    ala.expect("* the server: two");
    // A name is completed after its command.
    screen.type_keys("/ki\t\t");
    screen.expect_last_row("> /kick ala");
    screen.type_keys("\r");
    ala.expect("! you were kicked");
    screen.expect("* ala left (kicked)");
    screen.type_keys("\x04");
    screen.type_keys("/online\r");
    screen.expect("* 0 online");
}

#[test]
fn the_console_refuses_a_multi_line_paste_and_a_pasted_line_waits_for_enter() {
    let (mut screen, address) = start(80, 24);
    let mut ala = Client::connect(address).join("ala");
    screen.type_keys("\x1b[200~/say one\n/quit\n\x1b[201~");
    screen.expect("! a paste of 2 lines was not taken");
    screen.type_keys("\x1b[200~/say three\n\x1b[201~");
    screen.expect_last_row("> /say three");
    screen.type_keys("\r");
    ala.skip_to("* the server: three");
}

#[test]
fn the_terminal_is_restored_and_the_cursor_is_below_the_log_after_every_exit() {
    type End = fn(&mut Screen);
    let ends: [(&str, End); 4] = [
        ("SIGTERM", |screen| signal(screen.pid(), Signal::TERM)),
        ("SIGHUP", |screen| signal(screen.pid(), Signal::HUP)),
        ("Ctrl+C", |screen| screen.type_keys(CTRL_C)),
        ("/quit", |screen| screen.type_keys("\x15/quit\r")),
    ];
    for (name, end) in ends {
        let command = support::with_default_sighup(chat_server(&["-p", "0"]));
        let mut screen = Screen::start(&command, 60, 12);
        let canonical = |screen: &Screen| screen.modes().contains("ICANON");
        screen.expect("\n>");
        wait_until("raw mode", || (!canonical(&screen)).then_some(()));
        screen.type_keys("half a line");
        screen.expect("> half a line");
        end(&mut screen);
        assert_eq!(screen.end().exit_code(), 0, "{name}");
        assert!(canonical(&screen), "{name}");
        assert!(screen.modes().contains("ECHO"), "{name}");
        screen.wait("the summary", |text| {
            last_row(text)
                .starts_with("the room is closed: ")
                .then_some(())
        });
        let text = screen.text();
        assert!(!text.contains("> half"), "{name}: {text}");
        let (row, column) = screen.inspect(vt100::Screen::cursor_position);
        let rows = text.trim_end().lines().count();
        assert_eq!((usize::from(row), column), (rows, 0), "{name}: {text}");
        assert!(!screen.inspect(vt100::Screen::bracketed_paste), "{name}");
        assert!(!screen.inspect(vt100::Screen::hide_cursor), "{name}");
    }
}

#[track_caller]
fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
    kill_process(pid, signal).expect("it runs");
}

#[test]
fn ctrl_s_pauses_the_display_but_not_the_room_and_ctrl_q_resumes_it() {
    let (mut screen, address) = start(80, 24);
    let mut ala = Client::connect(address).join("ala");
    screen.expect("* ala joined");
    screen.type_keys("\x13");
    screen.type_keys("/say while stopped\r/say");
    ala.skip_to("* the server: while stopped");
    assert!(
        !screen.text().contains("while stopped"),
        "{}",
        screen.text()
    );
    screen.type_keys("\x11");
    screen.expect("* the server: while stopped");
    screen.expect_last_row("> /say");
}

#[test]
fn narrowing_the_terminal_redraws_the_log_and_the_typed_line() {
    let (mut screen, address) = start(80, 12);
    let mut ala = Client::connect(address).join("ala");
    ala.send("a message that needs more than one row of a narrow terminal");
    screen.expect("narrow terminal");
    screen.type_keys("/say a line that is longer than forty columns, too");
    screen.expect_last_row("> /say a line that is longer than forty columns, too");
    screen.resize(40, 12);
    screen.expect("\n> /say a line that is longer than forty\n columns, too");
    screen.expect("ala: a message that needs more\n");
}

/// Starts a shell on a terminal and a server in it.
#[track_caller]
fn shell_with_server() -> (Screen, SocketAddr) {
    let mut shell = program("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "$ ");
    shell.env("HISTFILE", "/dev/null");
    let mut screen = Screen::start(&shell, 100, 24);
    screen.expect("$");
    let server = chat_server(&[]);
    screen.type_keys(&format!("{:?} -p 0\r", server.get_program()));
    let address = screen.expect_address();
    screen.expect("\n>");
    (screen, address)
}

#[test]
fn ctrl_z_suspends_the_server_and_fg_restores_the_typed_line() {
    let (mut screen, address) = shell_with_server();
    screen.type_keys("/say begun");
    screen.expect_last_row("> /say begun");
    screen.type_keys(CTRL_Z);
    screen.expect("Stopped");
    screen.type_keys("echo the shell has it\r");
    screen.expect("\nthe shell has it");
    screen.type_keys("fg\r");
    screen.expect_last_row("> /say begun");
    let mut ala = Client::connect(address).join("ala");
    screen.type_keys(" and ended\r");
    ala.skip_to("* the server: begun and ended");
    screen.type_keys(CTRL_C);
    screen.expect("the room is closed: ");
    screen.wait("the shell's prompt", |text| {
        text.trim_end().ends_with('$').then_some(())
    });
    screen.type_keys("stty -a; exit\r");
    screen.expect(" echo ");
    screen.end();
}

#[test]
fn in_the_background_the_server_runs_and_the_shell_has_the_terminal() {
    let (mut screen, address) = shell_with_server();
    screen.type_keys("/say begun");
    screen.expect_last_row("> /say begun");
    screen.type_keys(CTRL_Z);
    screen.expect("Stopped");
    screen.type_keys("bg\r");
    let mut ala = Client::connect(address).join("ala");
    screen.expect("* ala joined");
    screen.type_keys("echo the shell has it; stty -a\r");
    screen.expect("\nthe shell has it");
    screen.expect(" icanon ");
    ala.send("in the background");
    screen.expect("ala: in the background");
    screen.type_keys("fg\r");
    screen.expect_last_row("> /say begun");
    screen.type_keys(" and ended\r");
    ala.skip_to("* the server: begun and ended");
}
