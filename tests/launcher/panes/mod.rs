//! Sessions in the built-in panes: layout, keys, focus, scrolling, floods, and how they end.

mod ends;
mod floods;
mod freeze;
mod live;
mod proof;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use chat_run::protocol::commands::{of_console, offered};
use tempfile::TempDir;

use support::screen::Screen;
use support::{program, run, wait_until, with_default_sighup};

const CTRL_C: &str = "\x03";
const F1: &str = "\x1bOP";
const F2: &str = "\x1bOQ";
const F5: &str = "\x1b[15~";
const F6: &str = "\x1b[17~";
const SHIFT_F6: &str = "\x1b[17;2~";
const PAGE_UP: &str = "\x1b[5~";
const PAGE_DOWN: &str = "\x1b[6~";
const END: &str = "\x1b[F";

/// The `chat-run` in `dir`, without a display.
fn chat_run_in(dir: &Path, arguments: &[&str]) -> Command {
    let run = dir.join("chat-run");
    let mut command = program(run.to_str().unwrap());
    command.args(["-p", "0"]).args(arguments);
    for variable in ["DISPLAY", "WAYLAND_DISPLAY", "LC_ALL", "LC_CTYPE"] {
        command.env_remove(variable);
    }
    command.env("LANG", "C.UTF-8");
    with_default_sighup(command)
}

fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_chat-run")).parent().unwrap()
}

fn panes(arguments: &[&str]) -> Command {
    let arguments = [&["-t", "panes"], arguments].concat();
    chat_run_in(programs(), &arguments)
}

/// A directory with the programs, but with `script` as the client.
fn with_client(script: &str) -> TempDir {
    let dir = tempfile::tempdir_in(programs()).unwrap();
    for program in ["chat-run", "chat-server"] {
        fs::hard_link(programs().join(program), dir.path().join(program)).unwrap();
    }
    put_script(&dir.path().join("chat-client"), script);
    dir
}

fn put_script(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A session in panes with the programs in `dir`, which is also first in PATH.
fn scripted(dir: &TempDir, arguments: &[&str]) -> Command {
    let arguments = [&["-t", "panes"], arguments].concat();
    let mut command = chat_run_in(dir.path(), &arguments);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", dir.path().display()));
    command
}

/// Starts a session, and waits until the clients of all the names in the last argument are
/// welcomed. A client that has joined, but is not welcomed yet, sends nothing that is typed.
fn start(arguments: &[&str], columns: u16, rows: u16) -> Screen {
    let names = arguments.last().unwrap().split(',').count();
    let count = names.to_string();
    let arguments = [&["-c", &count], arguments].concat();
    let screen = Screen::start(&panes(&arguments), columns, rows);
    screen.expect(&format!("{names} online"));
    expect_welcomes(&screen, names);
    screen
}

fn expect_welcomes(screen: &Screen, count: usize) {
    screen.wait(&format!("{count} welcomes"), |text| {
        (text.matches("* welcome,").count() == count).then_some(())
    });
}

fn port(screen: &Screen) -> u16 {
    screen.wait("the port", |text| {
        let (_, rest) = text.split_once("server 127.0.0.1:")?;
        rest.split_once(' ')?.0.parse().ok()
    })
}

/// A session whose server and clients are scripts, so that the screen is the same in every run.
struct Scripted {
    screen: Screen,
    _dir: TempDir,
}

impl Scripted {
    const SERVER: &str = r"
        printf 'listening on 127.0.0.1:9999\n'
        read -r line
        printf '\033]2;online 3\007\n10:00:00 \033[32m* ala joined\033[m\n10:00:05 ala: cześć\n'
        while read -r line; do :; done
        printf 'the room is closed: 5 s, 3 joined, 1 message\n'";

    const CLIENT: &str = r#"
        shift 6
        printf 'this is %s\n' "${2:-nobody}"
        printf 'a line that is longer than the pane: one two three four five six seven eight nine ten\n'
        printf 'żółw 日本語のテキストは幅が広い日本語のテキストは幅が広い e\314\201\n'
        printf '\033]2;chat %s - %s (3)\007\033[32m* ola joined\033[m\n> ' "$CHAT_CONTROL_SOCKET" "$2"
        exec cat"#;

    fn start(arguments: &[&str], columns: u16, rows: u16) -> Self {
        let client = Self::CLIENT.replace("$CHAT_CONTROL_SOCKET", "${CHAT_CONTROL_SOCKET##*,}");
        let dir = with_client(&client);
        fs::remove_file(dir.path().join("chat-server")).unwrap();
        put_script(&dir.path().join("chat-server"), Self::SERVER);
        let mut screen = Screen::start(&scripted(&dir, arguments), columns, rows);
        screen.expect("* ola joined");
        // The server's script waits for a line, so its output follows the launcher's.
        screen.type_keys("\x1b0/go\r\x1b1");
        Self { screen, _dir: dir }
    }
}

/// Waits until `text` is in the server's pane and in those of two clients.
fn expect_in_all_panes(screen: &Screen, text: &str) {
    screen.wait(text, |shown| {
        (shown.matches(text).count() == 3).then_some(())
    });
}

#[test]
fn four_panes_share_a_small_terminal() {
    let mut session = Scripted::start(&["--names", "ala,ola,jan"], 80, 24);
    let screen = &mut session.screen;
    screen.expect_screen(include_str!("80x24.txt"), str::to_owned);
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
    // The server's log is left on the terminal, with the summary below it.
    screen.wait("the log and the summary", |text| {
        let mut rows = text.trim_end().lines().rev();
        let has_proof = rows.next()? == "proof: none, because the server sent no checksums";
        let is_summary = rows.next()? == "the room is closed: 5 s, 3 joined, 1 message";
        let has_log = rows.any(|row| row == "10:00:05 ala: cześć");
        (has_proof && is_summary && has_log).then_some(())
    });
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
fn a_resize_rewraps_long_lines() {
    let mut session = Scripted::start(&["--names", "ala,ola,jan"], 80, 24);
    let screen = &mut session.screen;
    screen.expect_screen(include_str!("80x24.txt"), str::to_owned);
    screen.resize(100, 30);
    screen.expect_screen(include_str!("100x30.txt"), str::to_owned);
    screen.resize(80, 24);
    screen.expect_screen(include_str!("80x24.txt"), str::to_owned);
}

#[test]
fn a_message_typed_in_one_pane_appears_in_the_others() {
    let mut screen = start(&["--names", "ala,ola"], 100, 40);
    screen.expect("▶ chat 1 · ala");
    screen.type_keys("cześć, olu!\r");
    expect_in_all_panes(&screen, "ala: cześć, olu!");
    screen.type_keys(F6);
    screen.expect("▶ chat 2 · ola");
    screen.type_keys("日本 to you\r");
    expect_in_all_panes(&screen, "ola: 日本 to you");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
}

#[test]
fn keys_move_the_focus_between_panes() {
    let dir = with_client("exec cat");
    let mut screen = Screen::start(&scripted(&dir, &["-c", "3"]), 120, 40);
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
        // The focused pane is visible without color: by its mark and its heavy frame.
        let text = screen.text();
        assert_eq!(text.matches('▶').count(), 1, "{text}");
        assert_eq!(text.matches('┏').count(), 1, "{text}");
    }
}

#[test]
fn f5_and_a_number_move_the_focus_to_the_pane_with_that_number() {
    let dir = with_client("exec cat");
    let mut screen = Screen::start(&scripted(&dir, &["-c", "12"]), 80, 24);
    screen.expect("7 more");
    screen.expect(" F5 chat number ");
    for (keys, focused) in [
        ("12", "▶ chat 12"),
        // With twelve chats, no other number begins with a 4, but three others begin with a 1.
        ("4", "▶ chat 4"),
        ("1\r", "▶ chat 1 "),
        ("0", "▶ server"),
        ("1\x7f9", "▶ chat 9"),
    ] {
        screen.type_keys(F5);
        screen.expect("go to chat number (0 is the server):");
        screen.type_keys(keys);
        screen.expect(focused);
        screen.expect_gone("go to chat");
    }
    screen.type_keys(&format!("{F5}13"));
    screen.expect("there is no chat 13");
    // A key that is not part of a number goes to the focused pane.
    screen.type_keys(&format!("{F5}text"));
    screen.expect("text");
    screen.expect(" F1 keys ");
}

#[test]
fn hidden_panes_and_those_with_new_messages_are_counted() {
    let dir = with_client("printf 'hello\n'; exec cat");
    let mut screen = Screen::start(&scripted(&dir, &["-c", "12"]), 80, 24);
    screen.expect("7 more, 7 with news");
    screen.type_keys("\x1b9");
    screen.expect("7 more, 1 with news");
    screen.resize(20, 6);
    screen.expect(" F1 keys    12 more");
}

#[test]
fn a_zoomed_pane_lists_the_others_and_marks_panes_with_new_messages() {
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
fn a_clients_bell_rings_and_marks_its_pane_until_focused() {
    let mut screen = start(&["--names", "ala,ola,jan"], 80, 24);
    let bells = |screen: &Screen| memchr::memchr_iter(7, &screen.bytes()).count();
    screen.type_keys("hi ola\r");
    screen.expect("! chat 2 · ola");
    wait_until("the bell rings", || (bells(&screen) == 1).then_some(()));
    screen.type_keys("\x1b2");
    screen.expect("▶ chat 2 · ola");
    screen.type_keys(F2);
    screen.expect_gone("chat 1");
    screen.type_keys("hi jan\r");
    screen.expect(" 3!");
    wait_until("the bell rings again", || {
        (bells(&screen) == 2).then_some(())
    });
    screen.type_keys("\x1b3");
    screen.expect("▶ chat 3 · jan");
    screen.expect_gone("3!");
    assert_eq!(bells(&screen), 2);
}

#[test]
fn in_a_narrow_pane_the_servers_title_leaves_out_the_ip_address() {
    let mut screen = start(&["--names", "ala,Konstantynopolitanka"], 80, 20);
    let port = port(&screen);
    screen.expect(&format!("╭ server 127.0.0.1:{port} · 2 online ─"));
    screen.resize(100, 20);
    screen.expect(&format!("╭ server :{port} · 2 online ─"));
    screen.expect("╭ chat 2 · Konstantynopolitanka ─╮");
}

#[test]
fn f1_lists_the_keys_until_the_next_key_press() {
    let mut screen = start(&["--names", "ala"], 80, 24);
    screen.type_keys(F1);
    screen.expect("PageUp, PageDown");
    screen.expect("any key closes this");
    screen.type_keys("x");
    screen.expect_gone("any key closes this");
    // The whole list fits on a small terminal.
    screen.resize(40, 12);
    screen.type_keys(F1);
    screen.expect("Alt+1 … Alt+9     chat 1 … chat 9");
    screen.expect("F6, Shift+F6      next, previous pane");
    screen.expect("Ctrl+C            end the session");
    screen.type_keys("x");
    screen.expect_gone("any key closes this");
    screen.type_keys("y\r");
    // The key that closed the list is not part of the message.
    screen.wait("the message", |text| text.contains(" ala: y").then_some(()));
}

#[test]
fn a_pane_scrolls_back_5000_lines() {
    let dir = with_client("seq -f 'line %.0f.' 1 6000; exec cat");
    let mut screen = Screen::start(&scripted(&dir, &["-c", "1"]), 80, 24);
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
    // `cat -v` shows each byte.
    let dir = with_client("stty raw -echo; printf '\\033[?2004h\\033[6n'; exec cat -vT");
    let mut screen = Screen::start(&scripted(&dir, &["-c", "1"]), 80, 24);
    // The reply to the cursor position request.
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
fn a_turn_of_the_mouse_wheel_keeps_the_drafts() {
    let mut screen = start(&["--names", "ala"], 80, 24);
    let requests = screen.requests();
    assert!(requests.contains("CSI ?1007l"), "{requests:?}");
    screen.type_keys("earlier\r");
    screen.expect("ala: earlier");
    screen.type_keys("my draft");
    screen.expect("> my draft");
    // Some terminals cannot be asked not to send arrow keys for the wheel.
    screen.type_keys("\x1b[A\x1b[A\x1b[A");
    screen.type_keys("!\r");
    screen.expect("ala: my draft!");
    // The same in the server's pane.
    screen.type_keys("\x1b0/say one\r");
    screen.expect("* the server: one");
    screen.type_keys("/say two");
    screen.expect("> /say two");
    screen.type_keys("\x1b[A\x1b[A\x1b[A");
    screen.type_keys("\r");
    screen.expect("* the server: two");
}

#[test]
fn clients_in_panes_are_told_the_background_color_of_the_outer_terminal() {
    for (host, told) in [
        (
            "\x1b]11;rgb:0000/2b2b/3636\x1b\\",
            "^[]11;rgb:0000/0000/0000^[\\^[[?62;22c",
        ),
        (
            "\x1b]11;rgb:ffff/ffff/ffff\x07",
            "^[]11;rgb:ffff/ffff/ffff^[\\^[[?62;22c",
        ),
        ("", "┃^[[?62;22c"),
    ] {
        let dir = with_client("stty raw -echo; printf '\\033]11;?\\007\\033[c'; exec cat -vT");
        // On a busy machine, the host's answer may be late.
        wait_until(told, || {
            let mut screen = Screen::start(&scripted(&dir, &["-c", "1"]), 80, 24);
            screen.type_keys(&format!("{host}\x1b[?62;22c"));
            screen.expect("▶ chat 1");
            screen.expect("^[[?62;22c");
            screen.text().contains(told).then_some(())
        });
    }
}

#[test]
fn enter_restarts_a_client_that_has_left() {
    let mut screen = start(&["--names", "ala,ola"], 80, 40);
    screen.type_keys("/quit\r");
    screen.expect("press Enter to restart it");
    screen.expect("· 1 online");
    screen.type_keys("nothing\r");
    expect_welcomes(&screen, 3);
    screen.expect("· 2 online");
    screen.type_keys("back again\r");
    screen.expect("ala: back again");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
}

#[test]
fn a_kicked_client_reports_the_kick_once_and_its_pane_offers_a_restart() {
    let mut screen = start(&["--names", "ala"], 80, 24);
    screen.type_keys("\x1b0/kick ala too loud\r");
    screen.expect("! you were kicked: too loud");
    screen.expect("ended; press Enter to restart it");
    let text = screen.text();
    // The kick is reported once.
    assert!(!text.contains("error:"), "{text}");
    assert!(!text.contains("start chat-client"), "{text}");
}

#[test]
fn a_client_rewraps_the_conversation_to_fit_its_pane() {
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
    screen.wait("the wrapped message in each client's pane", |text| {
        let rows = text.matches("│           than a quarter of the").count()
            + text.matches("┃           than a quarter of the").count();
        (rows == 3).then_some(())
    });
}

#[test]
fn a_narrower_pane_shows_a_prompt_once() {
    let mut screen = Screen::start(&panes(&["-c", "3"]), 120, 30);
    let rows = |text: &str, row: &str| {
        text.matches(&format!("│{row}")).count() + text.matches(&format!("┃{row}")).count()
    };
    screen.wait("a prompt in each pane", |text| {
        (rows(text, "name, and group if you like:") == 3).then_some(())
    });
    // The prompt takes 29 columns. A pane of a screen with 60 columns has 28.
    screen.resize(60, 30);
    screen.wait("a wrapped prompt in each pane", |text| {
        (rows(text, "like: ") == 3 && rows(text, "name, and group") == 3).then_some(())
    });
}

#[test]
fn the_servers_pane_accepts_console_commands() {
    let mut screen = start(&["--names", "ala"], 120, 40);
    screen.type_keys("\x1b0/say hello all\r");
    screen.expect("*** the server: hello all");
    screen.type_keys("/open ola\r");
    screen.expect("chat 2 · ola");
    screen.expect("2 online");
    // The focus stays in the server's pane, where commands are typed.
    screen.expect("▶ server 127.0.0.1:");
    screen.type_keys("/quit\r");
    assert_eq!(screen.end().exit_code(), 0);
    screen.expect("the room is closed: ");
}

#[test]
fn tab_completes_commands_and_names_in_the_servers_pane() {
    let mut screen = start(&["--names", "ala,ola"], 100, 40);
    screen.type_keys("\x1b0/k\t");
    screen.expect("> /kick");
    screen.type_keys("o\t");
    screen.expect("> /kick ola");
    screen.type_keys("\r");
    screen.expect("* ola left (kicked)");
    screen.type_keys("/\t");
    screen.expect("> /  /freeze /help /kick /live /online /open /quit /say");
    screen.type_keys("\t");
    screen.expect("> /freeze   [/freeze] /help /kick");
}

#[test]
fn the_consoles_help_fits_on_a_small_terminal() {
    let mut screen = start(&["--names", "ala,ola,jan"], 80, 24);
    screen.type_keys("\x1b0/help\r");
    screen.wait("the whole list", |text| {
        let rows = text
            .lines()
            .map(|line| line.split(['┃', '│']).nth(1).unwrap_or("").trim_end());
        let shown = rows.filter(|row| row.starts_with("* /")).count();
        (shown == offered(of_console()).len()).then_some(())
    });
}

#[test]
fn the_servers_pane_refuses_multiline_pastes_and_keeps_single_lines() {
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
fn a_session_without_clients_shows_the_servers_pane() {
    let mut screen = Screen::start(&panes(&["-c", "0"]), 80, 24);
    screen.expect("▶ server 127.0.0.1:");
    screen.expect("listening on 127.0.0.1:");
    screen.type_keys("/open\r");
    screen.expect("╭ chat 1");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
}

#[test]
fn on_a_terminal_of_any_size_hidden_panes_are_counted_and_can_be_focused() {
    for (columns, rows, shown) in [(20, 6, 1), (80, 24, 6), (400, 100, 17), (5, 2, 1)] {
        let dir = with_client("exec cat");
        let mut screen = Screen::start(&scripted(&dir, &["-c", "16"]), columns, rows);
        if columns >= 20 {
            screen.wait("the panes", |text| {
                let frames = text.matches(['┏', '╭']).count();
                let hidden = 17 - frames;
                let are_all_there = hidden == 0 || text.contains(&format!("{hidden} more"));
                (frames == shown && are_all_there).then_some(())
            });
            screen.expect(" F1 keys");
            screen.type_keys("\x1b9");
            screen.expect("▶ chat 9");
        }
        wait_until("the panes are shown", || {
            screen
                .inspect(vt100::Screen::alternate_screen)
                .then_some(())
        });
        screen.type_keys(CTRL_C);
        assert_eq!(screen.end().exit_code(), 0, "{columns}x{rows}");
    }
}

#[test]
fn without_utf8_and_color_the_panes_are_plain_ascii() {
    let dir = with_client("printf 'some text\n'; exec cat");
    let mut command = scripted(&dir, &["--names", "ala,ola"]);
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
            let color = screen.inspect(|screen| screen.cell(row, column).unwrap().fgcolor());
            assert_eq!(color, vt100::Color::Default, "{text}");
        }
    }
}

#[test]
fn the_error_for_a_terminal_that_cannot_show_panes_says_what_panes_need() {
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
        "and TERM is `dumb`; set TERM to the type of this terminal; `-t none` starts",
    ] {
        screen.expect(reason);
    }
}

#[test]
fn the_big_option_warns_that_it_has_no_effect_on_panes() {
    let screen = start(&["--big", "--names", "ala"], 120, 40);
    screen.expect("--big has no effect with panes; increase the font size");
}

#[test]
fn panes_are_the_default_if_there_is_no_display() {
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
fn a_pane_whose_client_exited_leaks_no_descriptor_or_thread() {
    let dir = with_client("read -r line");
    let mut screen = Screen::start(&scripted(&dir, &["-c", "1"]), 80, 24);
    screen.expect("▶ chat 1");
    let launcher = i32::try_from(screen.pid()).unwrap();
    let held = || {
        let process = procfs::process::Process::new(launcher).unwrap();
        let threads = process.stat().unwrap().num_threads;
        (process.fd_count().unwrap(), threads)
    };
    let running = held();
    screen.type_keys("\r");
    screen.expect("press Enter to restart it");
    let left = wait_until("the launcher holds fewer than before", || {
        let (descriptors, threads) = held();
        (descriptors < running.0 && threads < running.1).then_some(held())
    });
    for number in 2..5 {
        screen.type_keys("\x1b0/open\r");
        screen.expect(&format!(" chat {number} "));
        screen.type_keys(&format!("\x1b{number}"));
        screen.type_keys("\r");
        wait_until("the launcher holds no more than before", || {
            let (descriptors, threads) = held();
            (descriptors <= left.0 && threads <= left.1).then_some(())
        });
    }
}
