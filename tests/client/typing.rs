//! Typing in the client: incoming messages never disturb the input line, and it is sent as typed.

use std::time::{Duration, Instant};

use support::client::{FakeServer, ala_on_screen, chat_client, chat_client_for, mask_times};
use support::screen::Screen;
use support::{Client, Server, wait_until};

/// The text to the left of the cursor, in the cursor's row.
fn before_cursor(screen: &Screen) -> String {
    screen.inspect(|screen| {
        let (row, column) = screen.cursor_position();
        screen.rows(0, column).nth(row.into()).unwrap()
    })
}

#[track_caller]
fn expect_cursor_after(screen: &Screen, text: &str) {
    wait_until(&format!("the cursor is after {text:?}"), || {
        (before_cursor(screen).trim_end() == text).then_some(())
    });
}

/// Sends `count` numbered lines at 1,000 lines a second.
fn send_lines(ola: &mut Client, count: usize) {
    let begin = Instant::now();
    for n in 0..count {
        let due = Duration::from_millis(n as u64);
        if let Some(early) = due.checked_sub(begin.elapsed()) {
            std::thread::sleep(early);
        }
        ola.send(&format!("line {n} of the conversation"));
    }
}

// The input line.

#[test]
fn a_line_typed_during_1000_incoming_lines_a_second_is_sent_intact() {
    const LINES: usize = 3000;
    const TYPED: &str = "this is typed, slowly, while lines come in: żółć 日本語 e\u{301} done";
    let server = Server::start(&["--rate", "0"]);
    let mut jan = server.join("jan");
    let mut ola = server.join("ola");
    let mut ala = ala_on_screen(&server, 40, 12);
    let sending = std::thread::spawn(move || {
        send_lines(&mut ola, LINES);
        ola
    });
    let mut typed = String::new();
    for c in TYPED.chars() {
        ala.type_keys(&c.to_string());
        typed.push(c);
        // The beginning of the line stays visible.
        let start: String = typed.chars().take(20).collect();
        ala.expect(&format!("> {}", start.trim_end()));
    }
    let _ola = sending.join().unwrap();
    ala.expect(&format!("line {} of the conversation", LINES - 1));
    ala.type_keys("\r");
    ala.expect("ala: this is typed");
    jan.skip_to(&format!("ala: {TYPED}"));

    // All messages are there, in order, and no remains of the typed line are between them.
    let rows = ala.all_rows();
    let mut seen = 0;
    for row in &rows {
        if let Some((_, text)) = row.split_once(" ola: ") {
            assert!(text.starts_with(&format!("line {seen} of the")), "{row}");
            seen += 1;
        } else {
            let is_known = row.contains("conversation")
                || row.contains("joined")
                || row.contains("welcome")
                || row.contains("commands");
            let is_last = rows[rows.len() - 4..].contains(row);
            assert!(is_known || is_last, "{row:?}");
        }
    }
    assert_eq!(seen, LINES);
}

#[test]
fn a_typed_line_of_several_rows_stays_below_incoming_messages() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = ala_on_screen(&server, 24, 10);
    ala.type_keys("日本語のテキスト żółć e\u{301}a\u{328}, and then more");
    ola.expect("* ala joined");
    ola.send("hi");
    ala.expect_screen(
        "
* welcome, ala: 2
  online; /help lists
  the commands
10:00 ola: hi
> 日本語のテキスト żółć
 e\u{301}a\u{328}, and then more",
        mask_times,
    );
    expect_cursor_after(&ala, " e\u{301}a\u{328}, and then more");
    // Move to the beginning, right over three wide characters, and left over one of them.
    ala.type_keys("\x01\x1b[C\x1b[C\x1b[C\x1b[D");
    expect_cursor_after(&ala, "> 日本");
    ala.type_keys("!");
    ola.send("hi again");
    ala.expect_screen(
        "
* welcome, ala: 2
  online; /help lists
  the commands
10:00 ola: hi
10:00 ola: hi again
> 日本!語のテキスト żół
ć e\u{301}a\u{328}, and then more",
        mask_times,
    );
    ala.type_keys("\r");
    ola.expect("ala: 日本!語のテキスト żółć e\u{301}a\u{328}, and then more");
}

#[test]
fn completion_choices_stay_below_the_line_as_messages_arrive() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut olek = server.join("Olek");
    let mut jan = server.join("jan");
    let mut ala = ala_on_screen(&server, 40, 10);
    for client in [&mut ola, &mut olek, &mut jan] {
        client.skip_to("* ala joined");
    }
    ola.send("one");
    olek.skip_to("ola: one");
    olek.send("two");
    ala.expect("Olek: two");
    // The last member who spoke is offered first.
    ala.type_keys("ol\t");
    ala.expect_screen(
        "
* welcome, ala: 4 online; /help lists
  the commands
10:00 ola: one
10:00 Olek: two
> Olek:
[Olek] ola",
        mask_times,
    );
    expect_cursor_after(&ala, "> Olek:");
    jan.send("three");
    ala.type_keys("\t");
    ala.expect_screen(
        "
* welcome, ala: 4 online; /help lists
  the commands
10:00 ola: one
10:00 Olek: two
10:00 jan: three
> ola:
[ola] Olek",
        mask_times,
    );
    ala.type_keys("hi");
    ala.expect_gone("[ola]");
    ala.type_keys(" j\t\r");
    jan.skip_to("ala: ola: hi jan ");
    // Commands and their recipients.
    ala.type_keys("/ms\tja\tpsst\r");
    jan.expect("[ala] psst");
    ala.expect("[to jan] psst (delivered)");
    // A slash alone lists the commands.
    ala.type_keys("/\t");
    ala.expect("> /\n/bell /changename /clear /help");
    ala.type_keys("\t");
    ala.expect("> /bell\n[/bell] /changename /clear");
}

#[test]
fn a_multiline_paste_is_shown_and_sent_as_text_on_enter() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = ala_on_screen(&server, 40, 10);
    ola.expect("* ala joined");
    ala.expect_screen(
        "
* welcome, ala: 2 online; /help lists
  the commands
>",
        mask_times,
    );
    assert!(ala.inspect(vt100::Screen::bracketed_paste));
    ala.type_keys("\x1b[200~first\r\n/quit\n\tthird\x1b[31m\x1b[201~");
    ala.expect_screen(
        "
* welcome, ala: 2 online; /help lists
  the commands
> first
/quit
 third␛[31m",
        mask_times,
    );
    ala.type_keys("\r");
    ola.expect_all(&["ala: first", "ala: /quit", "ala:  third␛[31m"]);
    // A one-line paste is like typed text; its line ending does not send it.
    ala.type_keys("\x1b[200~/msg ola psst\n\x1b[201~");
    ala.expect("> /msg ola psst");
    ala.type_keys("\r");
    ola.expect("[ala] psst");
    // A line that begins as a command is not sent to the room as text.
    ala.type_keys("/msg ola \x1b[200~one\ntwo\x1b[201~\r");
    ala.expect("! a command is one line");
    // The line is not sent after a visit to the history either, nor after an undo.
    ala.type_keys("\x1b[A\x1b[B\rx\x1f\r");
    ala.type_keys("\x15\x7f\x15");
    // A slash that becomes the first character by deletion makes the line a command, unless the
    // slash is from a paste of several lines.
    ala.type_keys(" /msg ola aside\x01\x04\r");
    ola.expect("[ala] aside");
    ala.type_keys("\x1b[200~x\n/nick ela\x1b[201~\x01\x1b[D\x1b[D\x1b[3~\x1b[3~\r");
    ola.expect("ala: /nick ela");
    ala.type_keys("the end\r");
    ola.expect("ala: the end");
}

#[test]
fn keys_edit_the_line_as_in_a_shell() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = ala_on_screen(&server, 60, 10);
    ola.expect("* ala joined");
    for (keys, line) in [
        ("abc\x1b[D\x1b[DX", "aXbc"),
        ("abc\x01X\x05Y", "XabcY"),
        ("abc\x1b[HX\x1b[FY", "XabcY"),
        ("one two\x1bbX", "one Xtwo"),
        ("one two\x01\x1bfX", "oneX two"),
        ("one two\x1b[1;5DX", "one Xtwo"),
        ("one two\x17three", "one three"),
        ("one two \x17three", "one three"),
        ("one two\x1b\x7fX", "one X"),
        ("one two\x15three \x19", "three one two"),
        ("one two\x01\x0bX\x19", "Xone two"),
        ("abc\x01\x04\x1b[3~", "c"),
        ("ab\x14", "ba"),
        ("e\u{301}x\x7f\x7f\x7fok", "ok"),
        ("日本\x08!", "日!"),
        ("one two\x17\x1f, three", "one two, three"),
        ("one\x15two three\x17\x1f\x1f\x1f!", "one!"),
        ("one two\x1bOdX\x1bOc!", "one Xtwo!"),
        ("one two\x1b\x1b[DX", "one Xtwo"),
        ("bc\x1b[7~a\x1b[8~\x1bOk\x1bOq", "abc+1"),
        ("ab\x1b[M !!c\x1b[57358u\x1bOz\x1b[99~d", "abcd"),
        ("ab\x1b]0;a title\x1b\\c\u{9d}0;another\u{9c}d", "abcd"),
        ("x\x1b[27;5;117~a\x1b[98u", "ab"),
    ] {
        ala.type_keys(keys);
        ala.type_keys("\r");
        let got = ola.line();
        assert_eq!(got, format!("ala: {line}"), "{keys:?}");
    }
}

#[test]
fn a_turn_of_the_mouse_wheel_keeps_the_draft() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = ala_on_screen(&server, 60, 10);
    ola.expect("* ala joined");
    ala.type_keys("earlier\rearliest\r");
    ola.expect_all(&["ala: earlier", "ala: earliest"]);
    ala.type_keys("my draft");
    ala.expect("> my draft");
    // Terminals and tmux send such arrow keys for the wheel, in one piece.
    for turn in [
        "\x1b[A\x1b[A\x1b[A",
        "\x1bOB\x1bOB",
        "\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A",
    ] {
        ala.type_keys(turn);
    }
    ala.type_keys("!\r");
    ola.expect("ala: my draft!");
    // A single arrow key shows another line, and the draft comes back.
    ala.type_keys("second draft");
    ala.expect("> second draft");
    ala.type_keys("\x1b[A");
    ala.expect("> my draft!");
    ala.type_keys("\x1b[B");
    ala.expect("> second draft");
    ala.type_keys("\r");
    ola.expect("ala: second draft");
}

// State that is kept between sessions.

/// A client that keeps its history and last used name in `state`.
#[track_caller]
fn ala_with_state(server: &Server, state: &tempfile::TempDir, args: &[&str]) -> Screen {
    let mut command = chat_client_for(server, args);
    command.env("XDG_STATE_HOME", state.path());
    Screen::start(&command, 60, 10)
}

#[test]
fn arrows_and_search_recall_lines_also_in_the_next_session() {
    let server = Server::start(&[]);
    let state = tempfile::tempdir().unwrap();
    let mut ola = server.join("ola");
    let mut ala = ala_with_state(&server, &state, &["-n", "ala"]);
    ala.expect("* welcome, ala");
    ola.expect("* ala joined");
    for line in ["first", "/msg ola secret", "/mgs ola secret", "second"] {
        ala.type_keys(&format!("{line}\r"));
    }
    ola.expect_all(&["ala: first", "[ala] secret", "ala: second"]);
    // Within the session, private messages can be recalled too, and the draft is kept.
    ala.type_keys("begun\x1b[A\x1b[A\x1b[A");
    ala.expect("> /msg ola secret");
    ala.type_keys("\x1b[B\x1b[B\x1b[B");
    ala.expect("> begun");
    ala.type_keys("\x03");
    assert_eq!(ala.end().exit_code(), 0);
    ola.expect("* ala left");

    let kept = std::fs::read_to_string(state.path().join("chat-run/history")).unwrap();
    assert_eq!(kept, "first\nsecond\n");
    let mut ala = ala_with_state(&server, &state, &["-n", "ala"]);
    ala.expect("* welcome, ala");
    ola.expect("* ala joined");
    ala.type_keys("\x1b[A\x1b[A");
    ala.expect("> first");
    ala.type_keys("\x1b[B\x1b[B\x12irs");
    ala.expect("(search: `irs') first");
    ala.type_keys("x");
    ala.expect("(not found: `irsx') first");
    ala.type_keys("\x7f\r");
    ola.expect("ala: first");
    // Ctrl+G and Ctrl+C cancel the search and restore the draft.
    ala.type_keys("draft\x12sec\x07!\r");
    ola.expect("ala: draft!");
    ala.type_keys("other\x12sec\x03!\r");
    ola.expect("ala: other!");
    // Escape accepts the match for editing.
    ala.type_keys("\x12seco\x1b");
    ala.expect("> second");
    ala.type_keys("!\r");
    ola.expect("ala: second!");
}

#[test]
fn the_last_used_name_is_offered_and_enter_accepts_it() {
    let server = Server::start(&[]);
    let state = tempfile::tempdir().unwrap();
    let mut ola = server.join("ola");
    let mut ala = ala_with_state(&server, &state, &[]);
    ala.expect("name, and group if you like:");
    ala.type_keys("ala 3ID12\r");
    ola.expect("* ala (3ID12) joined");
    // Only after the welcome does the client know, and store, its name.
    ala.expect("* welcome, ala");
    ala.type_keys("\x04");
    ala.end();
    ola.expect("* ala left");
    let mut ala = ala_with_state(&server, &state, &[]);
    ala.expect("name, and group if you like [ala 3ID12]:");
    // A refusal that suggests no name keeps the offered one.
    ala.type_keys("server\r");
    ala.expect("! \"server\" is reserved");
    ala.type_keys("\r");
    ola.expect("* ala (3ID12) joined");
}

#[test]
fn a_name_suggested_by_a_refusal_is_offered_and_enter_accepts_it() {
    let server = Server::start(&[]);
    let state = tempfile::tempdir().unwrap();
    let mut jan = server.join("jan");
    let mut other = ala_with_state(&server, &state, &[]);
    other.expect("name, and group if you like:");
    // This refusal suggests no name.
    other.type_keys("/help\r");
    other.expect("! that command is for members: type your name first");
    other.type_keys("jan 3ID12\r");
    other.expect("! the name jan is taken: try jan2");
    other.expect("name, and group if you like [jan2 3ID12]:");
    other.type_keys("\r");
    jan.expect("* jan2 (3ID12) joined");
}

#[test]
fn each_window_of_a_session_offers_the_name_last_used_in_that_window() {
    let server = Server::start(&[]);
    let state = tempfile::tempdir().unwrap();
    let windows = [
        (&[][..], "iza"),
        (&["--window", "1"], "ala"),
        (&["--window", "2"], "ola 3ID12"),
    ];
    for (args, name) in windows {
        let mut client = ala_with_state(&server, &state, args);
        client.expect("name, and group if you like:");
        client.type_keys(&format!("{name}\r"));
        client.expect("* welcome");
        client.type_keys("\x04");
        client.end();
    }
    for (args, name) in windows {
        let client = ala_with_state(&server, &state, args);
        client.expect(&format!("name, and group if you like [{name}]:"));
    }
    // The first window takes the name that the second one had.
    let mut first = ala_with_state(&server, &state, &["--window", "1"]);
    first.expect("[ala]:");
    first.type_keys("Ola\r");
    first.expect("* welcome, Ola");
    let first = ala_with_state(&server, &state, &["--window", "1"]);
    first.expect("name, and group if you like [Ola]:");
    let second = ala_with_state(&server, &state, &["--window", "2"]);
    second.expect("name, and group if you like:");
    // A name from `--names` counts as well.
    let second = ala_with_state(&server, &state, &["--window", "2", "-n", "jan"]);
    second.expect("* welcome, jan");
    let second = ala_with_state(&server, &state, &["--window", "2"]);
    second.expect("name, and group if you like [jan]:");
}

#[test]
fn a_fifo_in_place_of_a_state_file_does_not_block_the_client() {
    for (file, args) in [("history", &["-n", "ala"][..]), ("name", &[])] {
        let server = Server::start(&[]);
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join("chat-run");
        std::fs::create_dir(&dir).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(dir.join(file))
            .status();
        assert!(made.unwrap().success());
        let mut ala = ala_with_state(&server, &state, args);
        if args.is_empty() {
            ala.expect("name, and group if you like:");
            ala.type_keys("ala\r");
        }
        ala.expect("welcome, ala");
        ala.type_keys("\x03");
        assert_eq!(ala.end().exit_code(), 0, "{file}");
    }
}

#[test]
fn oversized_input_gets_a_single_error_and_a_64_kib_paste_is_sent() {
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let mut ala = ala_on_screen(&server, 60, 10);
    ola.expect("* ala joined");
    ala.type_keys(&format!("\x1b[200~{}\x1b[201~", "🇵🇱".repeat(60_000)));
    ala.expect("! the last input was not taken");
    let lines: Vec<String> = (0..600)
        .map(|line| format!("{line:03} {}", "x".repeat(100)))
        .collect();
    ala.type_keys(&format!("\x1b[200~{}\x1b[201~\r", lines.join("\n")));
    for line in &lines {
        ola.expect(&format!("ala: {line}"));
    }
    ala.expect("ala: 599");
    let refusals = |ala: &Screen| {
        ala.all_rows()
            .join("\n")
            .matches("! the last input")
            .count()
    };
    let before = refusals(&ala);
    ala.type_keys(&format!("\x1b[200~{}\x1b[201~", "y".repeat(65_500)));
    ala.type_keys(&"y".repeat(100));
    wait_until("one more notice appears", || {
        (refusals(&ala) == before + 1).then_some(())
    });
    ala.type_keys("\x15the end\r");
    ola.expect("ala: the end");
    assert_eq!(refusals(&ala), before + 1);
}

#[test]
fn a_user_can_send_a_line_and_leave_after_stray_terminal_replies() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    for before in ["\x1b[?2026;0$y", "\x1b[?1;1R", "\x1b[?", "\x1b[200~abc"] {
        let mut ala = ala_on_screen(&server, 60, 10);
        ola.expect("* ala joined");
        ala.type_keys(before);
        if !before.ends_with("abc") {
            ala.type_keys("\rhello\r");
            ola.expect("ala: hello");
        }
        ala.type_keys("\x03");
        assert_eq!(ala.end().exit_code(), 0, "{before:?}");
        ola.expect("* ala left");
    }
}

#[test]
fn an_offered_name_and_its_group_stay_in_one_row_of_a_narrow_window() {
    let fake = FakeServer::new();
    let command = chat_client(&[&fake.address(), "-n", "ala 3ID12"]);
    let mut ala = Screen::start(&command, 18, 12);
    let mut server = fake.accept();
    server.expect("/json ala 3ID12");
    server.send(r#"{"type":"error","text":"the name ala is taken: try ala2"}"#);
    server.expect("/help");
    server.send(r#"{"type":"help","lines":[]}"#);
    ala.expect("try ala2\nname, and group\nif you like\n[ala2 3ID12]:\n");
    ala.type_keys("\r");
    let mut server = fake.accept();
    server.expect("/json ala2 3ID12");
    ala.expect("try ala2\nname, and group if\n  you like\n  [ala2 3ID12]:\n");
}
