//! Sessions in the built-in panes: what stands on the terminal, what keys do, what is too much, and how they end.

mod ends;
mod floods;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use support::screen::Screen;
use support::{hearing_hangups, program, run, wait_until};

const CTRL_C: &str = "\x03";
const F1: &str = "\x1bOP";
const F2: &str = "\x1bOQ";
const F6: &str = "\x1b[17~";
const SHIFT_F6: &str = "\x1b[17;2~";
const PAGE_UP: &str = "\x1b[5~";
const PAGE_DOWN: &str = "\x1b[6~";
const END: &str = "\x1b[F";

/// `chat-run` from this folder, with nothing around that windows could be opened with.
fn chat_run_in(folder: &Path, arguments: &[&str]) -> Command {
    let run = folder.join("chat-run");
    let mut command = program(run.to_str().unwrap());
    command.args(["-p", "0"]).args(arguments);
    for variable in ["DISPLAY", "WAYLAND_DISPLAY", "LC_ALL", "LC_CTYPE"] {
        command.env_remove(variable);
    }
    command.env("LANG", "C.UTF-8");
    hearing_hangups(command)
}

fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_chat-run")).parent().unwrap()
}

fn panes(arguments: &[&str]) -> Command {
    let arguments = [&["-t", "panes"], arguments].concat();
    chat_run_in(programs(), &arguments)
}

/// A folder with our programs, and in place of the client a script that gets its arguments.
fn with_client(script: &str) -> TempDir {
    let folder = tempfile::tempdir_in(programs()).unwrap();
    for program in ["chat-run", "chat-server"] {
        fs::hard_link(programs().join(program), folder.path().join(program)).unwrap();
    }
    put_script(&folder.path().join("chat-client"), script);
    folder
}

fn put_script(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Panes with that script in place of the client, found on PATH.
fn scripted(folder: &TempDir, arguments: &[&str]) -> Command {
    let arguments = [&["-t", "panes"], arguments].concat();
    let mut command = chat_run_in(folder.path(), &arguments);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", folder.path().display()));
    command
}

/// Waits until all of these have joined.
fn start(arguments: &[&str], columns: u16, rows: u16) -> Screen {
    let names = arguments.last().unwrap().split(',').count().to_string();
    let arguments = [&["-c", &names], arguments].concat();
    let screen = Screen::start(&panes(&arguments), columns, rows);
    screen.expect(&format!("{names} online"));
    screen
}

fn port(screen: &Screen) -> u16 {
    screen.wait("the port", |text| {
        let (_, rest) = text.split_once("server 127.0.0.1:")?;
        rest.split_once(' ')?.0.parse().ok()
    })
}

/// A session of scripts, so that nothing on the screen is another in every run, with a log and with a talk in each client's pane.
struct Scripted {
    screen: Screen,
    _folder: TempDir,
}

impl Scripted {
    const SERVER: &str = r#"
        printf 'listening on 127.0.0.1:9999\n'
        read -r line
        printf '\033]2;online 3\007\n10:00:00 \033[32m* ala joined\033[m\n10:00:05 ala: cześć\n'
        while read -r line; do :; done
        printf 'the room is closed: 5 s, 3 joined, 1 message\n'"#;

    const CLIENT: &str = r#"
        shift 6
        printf 'this is %s\n' "${2:-nobody}"
        printf 'a line that is longer than the pane: one two three four five six seven eight nine ten\n'
        printf 'żółw 日本語のテキストは幅が広い日本語のテキストは幅が広い e\314\201\n'
        printf '\033]2;chat %s - %s (3)\007\033[32m* ola joined\033[m\n> ' "$CHAT_CONTROL_SOCKET" "$2"
        exec cat"#;

    fn start(arguments: &[&str], columns: u16, rows: u16) -> Self {
        let client = Self::CLIENT.replace("$CHAT_CONTROL_SOCKET", "${CHAT_CONTROL_SOCKET##*,}");
        let folder = with_client(&client);
        fs::remove_file(folder.path().join("chat-server")).unwrap();
        put_script(&folder.path().join("chat-server"), Self::SERVER);
        let mut screen = Screen::start(&scripted(&folder, arguments), columns, rows);
        screen.expect("* ola joined");
        // The script of the server waits for a line, so that nothing comes before what the launcher says.
        screen.type_keys("\x1b0/go\r\x1b1");
        let _folder = folder;
        Self { screen, _folder }
    }
}

#[test]
fn four_panes_share_a_small_terminal() {
    let mut session = Scripted::start(&["--names", "ala,ola,jan"], 80, 24);
    let screen = &mut session.screen;
    screen.expect_screen(include_str!("80x24.txt"), str::to_owned);
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
    screen.expect_screen(
        "the room is closed: 5 s, 3 joined, 1 message",
        str::to_owned,
    );
}

#[test]
fn six_panes_share_a_large_terminal() {
    let arguments = ["-c", "5", "--names", "ala,ola,jan,ela"];
    let session = Scripted::start(&arguments, 200, 60);
    session
        .screen
        .expect_screen(include_str!("200x60.txt"), str::to_owned);
}

#[test]
fn a_resize_breaks_long_lines_anew() {
    let mut session = Scripted::start(&["--names", "ala,ola,jan"], 80, 24);
    let screen = &mut session.screen;
    screen.expect_screen(include_str!("80x24.txt"), str::to_owned);
    screen.resize(100, 30);
    screen.expect_screen(include_str!("100x30.txt"), str::to_owned);
    screen.resize(80, 24);
    screen.expect_screen(include_str!("80x24.txt"), str::to_owned);
}

#[test]
fn what_is_typed_in_a_pane_arrives_in_the_others() {
    let mut screen = start(&["--names", "ala,ola"], 100, 40);
    screen.expect("▶ chat 1 · ala");
    screen.type_keys("cześć, olu!\r");
    screen.expect("ala: cześć, olu!");
    screen.type_keys(F6);
    screen.expect("▶ chat 2 · ola");
    screen.type_keys("日本 to you\r");
    screen.expect("ola: 日本 to you");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
}

#[test]
fn keys_move_the_focus() {
    let folder = with_client("exec cat");
    let mut screen = Screen::start(&scripted(&folder, &["-c", "3"]), 120, 40);
    screen.expect("▶ chat 1");
    screen.expect("chat 3");
    for (key, focused) in [
        ("\x1b3", "▶ chat 3"),
        ("\x1b2", "▶ chat 2"),
        (F6, "▶ chat 3"),
        (F6, "▶ server 127.0.0.1:"),
        (SHIFT_F6, "▶ chat 3"),
        (SHIFT_F6, "▶ chat 2"),
        ("\x1b0", "▶ server 127.0.0.1:"),
        ("\x1b1", "▶ chat 1"),
    ] {
        screen.type_keys(key);
        screen.expect(focused);
        // It stands out without colour: by its mark, and by its frame.
        let text = screen.text();
        assert_eq!(text.matches('▶').count(), 1, "{text}");
        assert_eq!(text.matches('┏').count(), 1, "{text}");
    }
}

#[test]
fn a_pane_is_enlarged_and_the_others_tell_what_is_new_in_them() {
    let mut screen = start(&["--names", "ala,ola,jan"], 80, 24);
    screen.type_keys(F2);
    screen.expect_gone("chat 2");
    let width = screen.text().lines().next().unwrap().chars().count();
    assert_eq!(width, 80, "{}", screen.text());
    screen.type_keys("hi\r");
    screen.expect(" ala: hi");
    screen.expect("more: server• 2• 3•");
    screen.type_keys("\x1b2");
    screen.expect("ala: hi");
    screen.expect("more: server• 1 3•");
    screen.type_keys(F2);
    screen.expect("chat 1 · ala");
    screen.expect_gone("more:");
}

#[test]
fn a_clients_bell_is_heard_and_marks_its_pane_until_that_has_the_focus() {
    let mut screen = start(&["--names", "ala,ola,jan"], 80, 24);
    let bells = |screen: &Screen| memchr::memchr_iter(7, &screen.bytes()).count();
    screen.type_keys("hi ola\r");
    screen.expect("! chat 2 · ola");
    wait_until("the bell", || (bells(&screen) == 1).then_some(()));
    screen.type_keys("\x1b2");
    screen.expect("▶ chat 2 · ola");
    screen.type_keys(F2);
    screen.expect_gone("chat 1");
    screen.type_keys("hi jan\r");
    screen.expect(" 3!");
    wait_until("one more", || (bells(&screen) == 2).then_some(()));
    screen.type_keys("\x1b3");
    screen.expect("▶ chat 3 · jan");
    screen.expect_gone("3!");
    assert_eq!(bells(&screen), 2);
}

#[test]
fn a_narrow_panes_title_loses_parts_and_not_letters() {
    let mut screen = start(&["--names", "ala,Konstantynopolitanka"], 80, 20);
    let port = port(&screen);
    screen.expect(&format!("╭ server 127.0.0.1:{port} · 2 online ─"));
    screen.resize(100, 20);
    screen.expect(&format!("╭ server :{port} · 2 online ─"));
    screen.expect("╭ chat 2 · Konstantynopolitanka ─╮");
}

#[test]
fn help_shows_all_keys_until_the_next_one() {
    let mut screen = start(&["--names", "ala"], 80, 24);
    screen.type_keys(F1);
    screen.expect("PageUp, PageDown");
    screen.expect("any key closes this");
    screen.type_keys("x");
    screen.expect_gone("any key closes this");
    screen.type_keys("y\r");
    // What closed the list was not typed.
    screen.wait("the message", |text| text.contains(" ala: y").then_some(()));
}

#[test]
fn a_pane_scrolls_five_thousand_lines_back() {
    let folder = with_client("seq -f 'line %.0f.' 1 6000; exec cat");
    let mut screen = Screen::start(&scripted(&folder, &["-c", "1"]), 80, 24);
    screen.expect("line 6000.");
    screen.type_keys(PAGE_UP);
    screen.expect("↑ 9");
    screen.expect_gone("line 6000.");
    screen.expect("End: last line");
    screen.type_keys(PAGE_DOWN);
    screen.expect("line 6000.");
    screen.type_keys(&PAGE_UP.repeat(600));
    screen.expect("↑ 5000");
    screen.expect("line 992.");
    screen.type_keys(END);
    screen.expect("line 6000.");
    screen.type_keys("typed\r");
    screen.expect("┃typed");
}

#[test]
fn keys_and_pastes_reach_the_program_as_on_a_terminal() {
    // Each byte is shown as it comes, and shows what ended before.
    let folder = with_client("stty raw -echo; printf '\\033[?2004h\\033[6n'; exec cat -vT");
    let mut screen = Screen::start(&scripted(&folder, &["-c", "1"]), 80, 24);
    // The answer to what it has asked.
    screen.expect("^[[1;1R");
    for (typed, shown) in [
        ("\t\x1b[A\x1bb\x12\x7f", "^I^[[A^[b^R^?"),
        ("\x1a\x11\x13\x1c", "^Z^Q^S^\\"),
        ("ż", "M-EM-<"),
        ("\x1b[200~one\ntwo\x1b[201~", "^[[200~one^Mtwo^[[201~"),
    ] {
        screen.type_keys(typed);
        screen.expect(shown);
    }
}

#[test]
fn a_client_that_has_left_is_started_again_by_enter() {
    let mut screen = start(&["--names", "ala,ola"], 80, 40);
    screen.type_keys("/quit\r");
    screen.expect("left; Enter starts it again");
    screen.expect("· 1 online");
    screen.type_keys("nothing\r");
    screen.expect("· 2 online");
    screen.type_keys("back again\r");
    screen.expect("ala: back again");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
}

#[test]
fn a_client_that_was_kicked_leaves_its_pane_at_once() {
    let mut screen = start(&["--names", "ala"], 80, 24);
    screen.type_keys("\x1b0/kick ala too loud\r");
    screen.expect("left; Enter starts it again");
    screen.expect("error: the server closed the connection");
    let text = screen.text();
    assert!(!text.contains("press Enter"), "{text}");
    assert!(!text.contains("start chat-client"), "{text}");
}

#[test]
fn a_client_wraps_the_conversation_anew_for_the_size_of_its_pane() {
    const WHOLE: &str = " ala: a message of more words than a quarter of the screen has room for ";
    let mut screen = start(&["--names", "ala,ola,jan"], 80, 24);
    screen.type_keys("a message of more words than a quarter of the screen has room for\r");
    screen.expect("room for ");
    assert!(!screen.text().contains(WHOLE), "{}", screen.text());
    screen.type_keys(F2);
    screen.expect(WHOLE);
    assert_eq!(screen.text().matches("ala: a message").count(), 1);
    screen.type_keys(F2);
    screen.expect_gone(WHOLE);
    screen.expect("           ");
}

#[test]
fn the_servers_pane_takes_its_consoles_lines() {
    let mut screen = start(&["--names", "ala"], 120, 40);
    screen.type_keys("\x1b0/say hello all\r");
    screen.expect("*** the server: hello all");
    screen.type_keys("/open ola\r");
    screen.expect("▶ chat 2 · ola");
    screen.expect("2 online");
    screen.type_keys("\x1b0/quit\r");
    assert_eq!(screen.end().exit_code(), 0);
    screen.expect("the room is closed: ");
}

#[test]
fn tab_completes_what_is_typed_in_the_servers_pane() {
    let mut screen = start(&["--names", "ala,ola"], 100, 40);
    screen.type_keys("\x1b0/k\t");
    screen.expect("> /kick");
    screen.type_keys("o\t");
    screen.expect("> /kick ola");
    screen.type_keys("\r");
    screen.expect("* ola left (kicked)");
}

#[test]
fn the_consoles_help_is_seen_as_a_whole_on_a_small_terminal() {
    let mut screen = start(&["--names", "ala,ola,jan"], 80, 24);
    screen.type_keys("\x1b0/help\r");
    screen.wait("the whole list", |text| {
        let rows = text
            .lines()
            .map(|line| line.split(['┃', '│']).nth(1).unwrap_or("").trim_end());
        let list: Vec<&str> = rows
            .skip_while(|row| *row != "> /help")
            .skip(1)
            .take(6)
            .collect();
        let is_whole = list.iter().all(|row| row.starts_with("* /"));
        (list.len() == 6 && is_whole).then_some(())
    });
}

#[test]
fn several_lines_pasted_in_the_servers_pane_are_not_taken_and_one_waits_for_enter() {
    let mut screen = start(&["--names", "ala"], 120, 40);
    screen.type_keys("\x1b0\x1b[200~/say one\r/quit\r\x1b[201~");
    screen.expect("! a paste of 2 lines was not taken");
    screen.type_keys("\x1b[200~/say hello\r\x1b[201~");
    screen.expect("> /say hello");
    screen.type_keys(" all\r");
    screen.expect("* the server: hello all");
    assert!(
        !screen.text().contains("the server: one"),
        "{}",
        screen.text()
    );
}

#[test]
fn a_session_without_clients_has_the_servers_pane() {
    let mut screen = Screen::start(&panes(&["-c", "0"]), 80, 24);
    screen.expect("▶ server 127.0.0.1:");
    screen.expect("listening on 127.0.0.1:");
    screen.type_keys("/open\r");
    screen.expect("▶ chat 1");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
}

#[test]
fn terminals_of_every_size_show_what_fits() {
    for (columns, rows, shown) in [(20, 6, 1), (80, 24, 6), (400, 100, 17), (5, 2, 1)] {
        let folder = with_client("exec cat");
        let mut screen = Screen::start(&scripted(&folder, &["-c", "16"]), columns, rows);
        if columns >= 20 {
            screen.wait("the panes", |text| {
                let frames = text.matches(['┏', '╭']).count();
                let hidden = 17 - frames;
                let are_all_there = hidden == 0 || text.contains(&format!("+{hidden}"));
                (frames == shown && are_all_there).then_some(())
            });
            screen.expect(" F1 keys");
            screen.type_keys("\x1b9");
            screen.expect("▶ chat 9");
        }
        wait_until("the terminal is taken", || {
            screen.look(vt100::Screen::alternate_screen).then_some(())
        });
        screen.type_keys(CTRL_C);
        assert_eq!(screen.end().exit_code(), 0, "{columns}x{rows}");
    }
}

#[test]
fn without_utf8_the_frames_are_ascii_and_without_colour_there_is_none() {
    let folder = with_client("printf 'some text\n'; exec cat");
    let mut command = scripted(&folder, &["--names", "ala,ola"]);
    command.env("LANG", "C").env("NO_COLOR", "1");
    let mut screen = Screen::start(&command, 80, 24);
    screen.expect("# > chat 1 - ala ====");
    screen.expect("+ chat 2 - ola ----");
    screen.expect("Alt+1..9 chat");
    screen.type_keys(F1);
    screen.expect("any key closes this");
    let text = screen.text();
    assert!(text.is_ascii(), "{text}");
    for row in 0..24 {
        for column in 0..80 {
            let color = screen.look(|screen| screen.cell(row, column).unwrap().fgcolor());
            assert_eq!(color, vt100::Color::Default, "{text}");
        }
    }
}

#[test]
fn where_panes_cannot_be_drawn_it_says_what_they_need() {
    run(panes(&[]))
        .expect_code(1)
        .expect_stderr("panes need a terminal as stdin and as stdout");
    let mut command = panes(&[]);
    command.env("TERM", "dumb");
    let mut screen = Screen::start(&command, 160, 24);
    assert_eq!(screen.end().exit_code(), 1);
    screen.expect("TERM is `dumb`; set TERM");
    let mut command = chat_run_in(programs(), &[]);
    command.env("TERM", "dumb").env_remove("TMUX");
    let mut screen = Screen::start(&command, 400, 24);
    assert_eq!(screen.end().exit_code(), 1);
    for reason in [
        "neither DISPLAY nor WAYLAND_DISPLAY is set; panes need",
        "and TERM is `dumb`; set TERM to what it is; `-t none` starts",
    ] {
        screen.expect(reason);
    }
}

#[test]
fn panes_say_that_their_letters_are_the_terminals() {
    let screen = start(&["--big", "--names", "ala"], 120, 40);
    screen.expect("--big has no effect with panes: make the letters");
}

#[test]
fn auto_takes_panes_where_there_is_no_display() {
    let command = chat_run_in(programs(), &["--names", "ala,ola,jan"]);
    let mut screen = Screen::start(&command, 80, 24);
    screen.expect("3 online");
    screen.expect("▶ chat 1 · ala");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
    let mut list = chat_run_in(programs(), &[]);
    list.arg("--list-terminals");
    let mut screen = Screen::start(&list, 120, 24);
    assert!(screen.end().success());
    screen.expect("panes               built in  (auto takes this one)");
}

#[test]
fn a_client_that_has_left_its_pane_keeps_no_descriptor_and_no_thread() {
    let folder = with_client("read -r line");
    let mut screen = Screen::start(&scripted(&folder, &["-c", "1"]), 80, 24);
    screen.expect("▶ chat 1");
    let launcher = i32::try_from(screen.pid()).unwrap();
    let held = || {
        let process = procfs::process::Process::new(launcher).unwrap();
        let threads = process.stat().unwrap().num_threads;
        (process.fd_count().unwrap(), threads)
    };
    let running = held();
    screen.type_keys("\r");
    screen.expect("left; Enter starts it again");
    let left = wait_until("fewer than it had running", || {
        let (descriptors, threads) = held();
        (descriptors < running.0 && threads < running.1).then_some(held())
    });
    for number in 2..5 {
        screen.type_keys("\x1b0/open\r");
        screen.expect(&format!("▶ chat {number}"));
        screen.type_keys("\r");
        wait_until("no more than before", || {
            let (descriptors, threads) = held();
            (descriptors <= left.0 && threads <= left.1).then_some(())
        });
    }
}
