//! The client's window, apart from typing: the look of the conversation, local commands, the title,
//! suspending, and restoring the terminal.

use support::client::{FakeServer, ala_on_screen, chat_client, chat_client_for, mask_times};
use support::screen::Screen;
use support::{Client, Server, program, wait_until};

// The conversation and local commands.

/// A client named `ala` on a terminal of this size, and the server that has welcomed it.
#[track_caller]
fn ala_on_fake_server(columns: u16, rows: u16) -> (Screen, Client) {
    let fake = FakeServer::new();
    let command = chat_client(&[&fake.address(), "-n", "ala"]);
    let ala = Screen::start(&command, columns, rows);
    let server = fake.accept_login();
    ala.expect("* welcome, ala");
    (ala, server)
}

/// An event at ten o'clock with these fields.
fn event(fields: &str) -> String {
    format!(r#"{{"seq":1,"time":"2026-01-31T10:00:00Z","id":3,{fields}}}"#)
}

fn joined(name: &str) -> String {
    event(&format!(r#""type":"joined","name":"{name}""#))
}

#[test]
fn replay_is_gray_above_a_divider_and_joins_share_a_line() {
    let left = |name: &str| event(&format!(r#""type":"left","name":"{name}""#));
    let said = |text: &str, more: &str| {
        event(&format!(
            r#""type":"message","from":"ola","text":"{text}"{more}"#
        ))
    };
    let (ala, mut server) = ala_on_fake_server(60, 10);
    server.send(&said("before", r#","replay":true"#));
    for name in ["jan", "ela"] {
        server.send(&joined(name));
        server.send(&left(name));
    }
    ala.expect_screen(
        "
* welcome, ala: 1 online; /help lists the commands
--- Saturday, 31 January 2026 ---
10:00 ola: before
--- end of the past messages ---
10:00 * jan joined; jan left; ela joined; ela left
>",
        str::to_owned,
    );
    ala.inspect(|screen| {
        let grey = vt100::Color::Idx(243);
        assert_eq!(screen.cell(2, 12).unwrap().fgcolor(), grey);
        let green = vt100::Color::Idx(2);
        let red = vt100::Color::Idx(1);
        assert_eq!(screen.cell(4, 8).unwrap().fgcolor(), green);
        assert_eq!(screen.cell(4, 20).unwrap().fgcolor(), red);
    });
    server.send(&said("after", ""));
    server.send(&joined("jan"));
    ala.expect_screen(
        "
* welcome, ala: 1 online; /help lists the commands
--- Saturday, 31 January 2026 ---
10:00 ola: before
--- end of the past messages ---
10:00 * jan joined; jan left; ela joined; ela left
10:00 ola: after
10:00 * jan joined
>",
        str::to_owned,
    );
}

#[test]
fn long_lines_wrap_at_words_and_every_row_of_a_link_opens_the_whole_link() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let ala = ala_on_screen(&server, 30, 10);
    ola.expect("* ala joined");
    ola.send("this is more than one row has room for");
    ola.send("see https://example.org/a/link/of/more/than/thirty and so on");
    ala.expect_screen(
        "
* welcome, ala: 2 online;
  /help lists the commands
10:00 ola: this is more than
          one row has room for
10:00 ola: see https://example
          .org/a/link/of/more/
          than/thirty and so
          on
>",
        mask_times,
    );
    let shown = String::from_utf8(ala.bytes()).unwrap();
    let link = |part| {
        format!("\x1b]8;;https://example.org/a/link/of/more/than/thirty\x1b\\{part}\x1b]8;;\x1b\\")
    };
    for part in ["https://example", ".org/a/link/of/more/", "than/thirty"] {
        assert!(shown.contains(&link(part)), "{part} in {shown:?}");
    }
}

#[test]
fn a_mention_is_bold_and_rings_the_bell_unless_the_bell_is_off() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = ala_on_screen(&server, 60, 10);
    ola.expect("* ala joined");
    let bells = |ala: &Screen| ala.bytes().iter().filter(|byte| **byte == 7).count();
    // A title sequence also ends with BEL.
    let before = bells(&ala);
    ola.send("hi koala");
    ola.send("hi Ala");
    ala.expect("ola: hi Ala");
    wait_until("the bell rings", || {
        (bells(&ala) == before + 1).then_some(())
    });
    ala.inspect(|screen| {
        assert!(!screen.cell(1, 12).unwrap().bold());
        assert!(screen.cell(2, 12).unwrap().bold());
    });
    ala.type_keys("/bell off");
    ala.expect("> /bell off");
    ala.type_keys("\r");
    ala.expect("* bell off");
    ola.send("hi ala again");
    ala.expect("ola: hi ala again");
    assert_eq!(bells(&ala), before + 1);
}

#[test]
fn without_color_replay_is_dim_and_mentions_are_bold() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    ola.send("before");
    ola.send("/online");
    ola.expect_start("* 1 online");
    for (variable, value) in [("NO_COLOR", "1"), ("TERM", "vt100")] {
        let mut command = chat_client_for(&server, &["-n", "ala"]);
        command.env(variable, value);
        let mut ala = Screen::start(&command, 60, 10);
        ola.expect("* ala joined");
        ola.send("hi ala");
        ala.expect("ola: hi ala\n>");
        ala.inspect(|screen| {
            let cell = |row| screen.cell(row, 12).unwrap();
            assert!(cell(1).dim() && !cell(1).bold(), "{variable}");
            let last = screen.cursor_position().0 - 1;
            assert!(cell(last).bold() && !cell(last).dim(), "{variable}");
            let is_plain = |row, column| {
                let cell = screen.cell(row, column).unwrap();
                cell.fgcolor() == vt100::Color::Default
            };
            assert!((0..10).all(|row| (0..60).all(|column| is_plain(row, column))));
        });
        ala.type_keys("\x03");
        ala.end();
        ola.expect("* ala left");
    }
}

#[test]
fn the_clients_own_commands_change_what_its_window_shows() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola 3ID12");
    let mut jan = server.join("jan");
    let mut ala = ala_on_screen(&server, 60, 14);
    ala.type_keys("/time off\r/ignore Ola\r");
    ala.expect("* Ola's messages are hidden");
    ola.skip_to("* ala joined");
    ola.send("not to be seen");
    ola.send("/msg ala nor this");
    ola.send("/nick ula");
    jan.skip_to("* ola is now ula");
    ola.send("not under another name either");
    jan.skip_to("ula: not under another name either");
    jan.send("to be seen");
    ala.expect("jan: to be seen");
    ala.type_keys("/ignore\r/online\r/onlin\r");
    ala.expect_screen(
        "
* welcome, ala: 3 online; /help lists the commands
* lines begin without the time; /time on shows it again
* Ola's messages are hidden; /ignore Ola shows them again
* ola is now ula
jan: to be seen
* ignored: ola, ula
* 3 online
  ula (3ID12)  jan          ala
! unknown command /onlin: /help lists the commands; to say
  it as text, type //onlin
* did you mean /online?
>",
        mask_times,
    );
    // Ola can be shown again by the name she was ignored under, although she renamed herself.
    ala.type_keys("/ignore ola\r/clear\r");
    ala.expect_screen(">", mask_times);
    ola.send("heard again");
    ala.expect_screen("ula: heard again\n>", mask_times);
    ala.type_keys("/help\r");
    ala.expect("* in this window:");
    ala.expect("/time on|off: ");
}

#[test]
fn a_member_can_be_ignored_by_a_name_in_another_unicode_form_or_width() {
    let server = Server::start(&[]);
    let (mut jose, mut ola) = (server.join("José"), server.join("ola"));
    let mut ala = ala_on_screen(&server, 70, 12);
    ala.type_keys("/ignore Jose\u{301}\r/ignore ＯＬＡ\r/ignore Ａｌａ\r");
    ala.expect("is you: your own lines are always shown");
    for member in [&mut jose, &mut ola] {
        member.send("not to be seen");
    }
    ola.skip_to("José: not to be seen");
    jose.skip_to("ola: not to be seen");
    ola.send("/nick jan");
    ala.expect("* ola is now jan");
    assert!(!ala.text().contains("not to be seen"), "{}", ala.text());
    // `/ignore` of a name that is already ignored shows its messages again.
    ala.type_keys("/ignore JOSÉ\r");
    ala.expect("* JOSÉ's messages are shown again");
    jose.send("hi Ａｌａ");
    ala.expect("José: hi Ａｌａ");
}

#[test]
fn the_recipient_of_a_reply_is_shown_and_stays_the_same_while_the_reply_is_typed() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut jan = server.join("jan");
    let mut ala = ala_on_screen(&server, 70, 16);
    ola.send("/msg ala how are you?");
    ala.expect("[ola] how are you?");
    ala.type_keys("/Reply my gra");
    ala.expect("> /msg ola my gra");
    jan.send("/msg ala x");
    ala.expect("[jan] x");
    ala.type_keys("de\r");
    ola.skip_to("[ala] my grade");
    ala.type_keys("/reply yes");
    ala.expect("> /msg jan yes");
    ala.type_keys("\r");
    jan.skip_to("[ala] yes");
}

#[test]
fn a_reply_begun_before_the_first_private_message_shows_its_recipient_before_it_is_sent() {
    let server = Server::start(&[]);
    let mut jan = server.join("jan");
    let mut ala = ala_on_screen(&server, 70, 16);
    jan.expect("* ala joined");
    ala.type_keys("/reply my gra");
    ala.expect("> /reply my gra");
    jan.send("/msg ala x");
    ala.expect("[jan] x");
    // Neither the next key nor Enter may choose the recipient silently.
    ala.type_keys("de");
    ala.expect("> /reply my grade");
    ala.type_keys("\r");
    ala.expect("! jan wrote to you after you began this reply: Enter sends it to jan");
    ala.expect("> /msg jan my grade");
    jan.send("/msg ala y");
    assert_eq!(jan.line(), "[to ala] x");
    assert_eq!(jan.line(), "[to ala] y");
    ala.type_keys("\r");
    jan.expect("[ala] my grade");
}

#[test]
fn reply_goes_only_to_the_sender_of_the_last_private_message_shown() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut jan = server.join("jan");
    let mut ala = ala_on_screen(&server, 70, 16);
    ala.type_keys("/reply to whom?\r");
    ala.expect("! no one has sent you a private message yet: use /msg NAME TEXT");
    ala.type_keys("\x15/ignore jan\r");
    ala.expect("* jan's messages are hidden");
    ola.send("/msg ala seen");
    ala.expect("[ola] seen");
    jan.send("/msg ala not seen");
    jan.skip_to("[to ala] not seen");
    ola.send("/nick ula");
    ala.expect("* ola is now ula");
    ala.type_keys("/reply secret\r");
    ola.skip_to("[ala] secret");
    ola.send("/quit");
    ala.expect("ula left");
    let _another = server.join("ula");
    ala.expect("ula joined");
    ala.type_keys("/reply once more\r");
    ala.expect("! the person who last wrote to you privately has left: use");
    ala.expect("> /reply once more");
    jan.send("/online");
    let received = jan.skip_to("* 3 online: jan, ala, ula");
    assert!(
        !received.iter().any(|line| line.contains("[ala]")),
        "{received:?}"
    );
}

#[test]
fn client_commands_report_their_effect_and_leave_the_input_line_empty() {
    let server = Server::start(&[]);
    let mut ala = ala_on_screen(&server, 70, 12);
    ala.type_keys("/time\r/bell off\r/ignore Ala\r/ignore bob\r/ignore bob\r");
    ala.expect_screen(
        "
* welcome, ala: 1 online; /help lists the commands
! usage: /time on|off
* bell off; /bell on turns it on again
! Ala is you: your own lines are always shown
* there is no member called \"bob\" now; messages of that name will be
  hidden; /ignore bob undoes that
* bob's messages are shown again
>",
        mask_times,
    );
}

#[test]
fn no_member_is_reported_as_absent_if_the_member_list_is_incomplete() {
    let server = Server::start(&["-m", "600"]);
    // The welcome event lists at most 500 members.
    let mut members: Vec<_> = (0..502).map(|n| server.join(&format!("m{n}"))).collect();
    let mut ala = ala_on_screen(&server, 70, 8);
    ala.type_keys("/clear\r/ignore m501\r/ignore m0\r");
    ala.expect_screen(
        "
* m501's messages will be hidden, whether m501 is here now or not;
  /ignore m501 undoes that
* m0's messages are hidden; /ignore m0 shows them again
>",
        mask_times,
    );
    members[501].send("not to be seen");
    members[500].send("to be seen");
    ala.expect("m500: to be seen");
    assert!(!ala.text().contains("not to be seen"), "{}", ala.text());
}

#[test]
fn joins_that_do_not_fit_into_a_small_window_are_counted() {
    let (mut ala, mut server) = ala_on_fake_server(38, 5);
    for name in [
        "first", "second", "third", "fourth", "fifth", "sixth", "seventh",
    ] {
        server.send(&joined(name));
    }
    ala.expect("\n10:00 * first and 6 more joined\n>");
    // In a narrower window, the line of joins stays as it was, and the next join begins a new line.
    ala.resize(18, 5);
    ala.expect("10:00 * first and\n      6 more\n      joined\n>");
    for name in ["jan", "iza"] {
        server.send(&joined(name));
    }
    ala.expect("      joined\n10:00 * 2 joined\n>");
}

// The terminal.

#[test]
fn the_terminal_is_restored_however_the_client_exits() {
    type End = fn(&mut Screen);

    let server = Server::start(&[]);
    let signal = |screen: &Screen, signal| {
        let pid = rustix::process::Pid::from_raw(screen.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    };
    let ends: [(&str, End); 5] = [
        ("Ctrl+C", |ala| ala.type_keys("\x03")),
        ("Ctrl+D", |ala| ala.type_keys("\x15\x04")),
        ("/quit", |ala| ala.type_keys("\x15/quit\r")),
        ("exit", |ala| ala.type_keys("\x15exit\r")),
        ("a signal", |_| {}),
    ];
    for (how, end) in ends {
        let command = chat_client_for(&server, &["-n", "ala"]);
        let mut ala = Screen::start(&command, 60, 10);
        ala.expect("* welcome, ala");
        ala.expect(">");
        assert!(ala.inspect(vt100::Screen::bracketed_paste));
        ala.type_keys("some text");
        ala.expect("> some text");
        end(&mut ala);
        if how == "a signal" {
            signal(&ala, support::Signal::TERM);
        }
        assert_eq!(ala.end().exit_code(), 0, "{how}");
        if ["Ctrl+C", "a signal"].contains(&how) {
            // The typed text stays on the screen.
            ala.expect("> some text");
        }
        wait_until("the terminal is restored", || {
            let bytes = String::from_utf8_lossy(&ala.bytes()).into_owned();
            let is_off = |mode: &str| {
                bytes.rfind(&format!("\x1b[?{mode}l")) > bytes.rfind(&format!("\x1b[?{mode}h"))
            };
            let is_restored = bytes.rfind("\x1b[?1036;1039r") > bytes.rfind("\x1b[?1036;1039h");
            (is_off("2004") && is_off("1004") && is_restored && bytes.ends_with("\x1b[?25h"))
                .then_some(())
        });
        ala.inspect(|screen| {
            assert!(!screen.bracketed_paste() && !screen.hide_cursor(), "{how}");
            assert_eq!(screen.cursor_position().1, 0, "{how}");
        });
        assert!(ala.modes().contains("ECHO"), "{how}: {}", ala.modes());
        server.expect_log("* ala left");
    }
}

#[test]
fn the_window_title_shows_the_window_number_the_name_and_the_unread_count() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let command = chat_client_for(&server, &["-n", "ala", "--window", "2"]);
    let mut ala = Screen::start(&command, 60, 10);
    ola.expect("* ala joined");
    let title = |ala: &Screen| {
        let bytes = String::from_utf8_lossy(&ala.bytes()).into_owned();
        let title = bytes.rsplit("\x1b]2;").next().unwrap().to_owned();
        title.split('\x07').next().unwrap().to_owned()
    };
    let expect_title = |ala: &Screen, expected: &str| {
        wait_until(&format!("the title is {expected}"), || {
            (title(ala) == expected).then_some(())
        });
    };
    expect_title(&ala, "chat 2 - ala");
    ola.send("somebody looks");
    ala.expect("somebody looks");
    ala.type_keys("\x1b[O");
    // Different threads read keys and events: wait until the focus report has been handled.
    ala.type_keys("x");
    ala.expect("> x");
    ola.send("one");
    ola.send("two");
    expect_title(&ala, "chat 2 - ala (2)");
    ala.type_keys("\x1b[I");
    expect_title(&ala, "chat 2 - ala");
    ala.type_keys("\x15/nick Łucja\r");
    expect_title(&ala, "chat 2 - ?ucja");
}

/// An interactive shell that runs a client named `ala` as its foreground job.
#[track_caller]
fn shell_with_client(server: &Server) -> Screen {
    shell_with_job(server, |client| client.into())
}

/// An interactive shell that runs a job. The function `job` gets the command line of a client named
/// `ala`, and returns the command line of the job.
#[track_caller]
fn shell_with_job(server: &Server, job: impl Fn(&str) -> String) -> Screen {
    let client = chat_client_for(server, &["-n", "ala"]);
    let mut shell = program("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "$ ");
    shell.env("HISTFILE", "/dev/null");
    let mut screen = Screen::start(&shell, 100, 16);
    screen.expect("$");
    let mut line = format!("{:?}", client.get_program());
    for arg in client.get_args() {
        line += &format!(" {arg:?}");
    }
    screen.type_keys(&format!("{}\r", job(&line)));
    screen
}

#[test]
#[cfg(target_os = "linux")]
fn a_background_client_that_its_terminal_does_not_control_waits_for_fg() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut screen = shell_with_job(&server, |client| format!("setsid -w {client} &"));
    screen.expect("[1]");
    for number in 0..5 {
        screen.type_keys(&format!("echo answer $(({number}))\r"));
        screen.expect(&format!("\nanswer {number}"));
    }
    screen.type_keys("fg\r");
    ola.expect("* ala joined");
    screen.expect("* welcome, ala");
    screen.type_keys("hi\r");
    ola.expect("ala: hi");
}

#[test]
fn ctrl_z_suspends_the_client_and_fg_resumes_it() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut screen = shell_with_client(&server);
    ola.expect("* ala joined");
    screen.expect("* welcome, ala");
    screen.type_keys("begun");
    screen.expect("> begun");
    let titles = |screen: &Screen| {
        let bytes = String::from_utf8_lossy(&screen.bytes()).into_owned();
        bytes.matches("\x1b]2;chat - ala\x07").count()
    };
    assert_eq!(titles(&screen), 1);
    screen.type_keys("\x1a");
    screen.expect("Stopped");
    let bytes = String::from_utf8_lossy(&screen.bytes()).into_owned();
    let (before, _) = bytes.rsplit_once("Stopped").unwrap();
    assert!(before.rfind("\x1b[?2004l") > before.rfind("\x1b[?2004h"));
    screen.type_keys("echo the shell has it\r");
    screen.expect("\nthe shell has it");
    ola.send("while it was stopped");
    screen.type_keys("fg\r");
    screen.expect("ola: while it was stopped");
    screen.expect("> begun");
    wait_until("the title is set again", || {
        (titles(&screen) == 2).then_some(())
    });
    wait_until("the client has the terminal again", || {
        let is_taken = screen.inspect(vt100::Screen::bracketed_paste);
        (is_taken && !screen.modes().contains("ICANON")).then_some(())
    });
    screen.type_keys(" and ended\r");
    ola.expect("ala: begun and ended");
    screen.type_keys("/quit\r");
    ola.expect("* ala left");
    // The client could still read anything typed before the prompt appears.
    screen.wait("the shell's prompt", |text| {
        text.trim_end().ends_with('$').then_some(())
    });
    screen.type_keys("stty -a; exit\r");
    screen.expect(" echo ");
    screen.end();
}

#[test]
#[cfg(target_os = "linux")]
fn a_client_continued_in_the_background_waits_for_fg() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut screen = shell_with_client(&server);
    ola.expect("* ala joined");
    screen.type_keys("begun");
    screen.expect("> begun");
    let shell = procfs::process::Process::new(screen.pid().cast_signed()).unwrap();
    let job = procfs::process::Process::new(shell.stat().unwrap().tpgid).unwrap();
    let pid = rustix::process::Pid::from_raw(job.pid()).unwrap();
    let expect_stopped = || {
        wait_until("the client has stopped", || {
            (job.stat().unwrap().state == 'T').then_some(())
        });
    };
    rustix::process::kill_process(pid, support::Signal::STOP).unwrap();
    screen.expect("Stopped");
    expect_stopped();
    ola.send("while it was away");
    rustix::process::kill_process(pid, support::Signal::CONT).unwrap();
    // A background job that needs the terminal is stopped again.
    expect_stopped();
    screen.type_keys("echo the shell has it\r");
    screen.expect("\nthe shell has it");
    assert!(!screen.text().contains("away"), "{}", screen.text());
    screen.type_keys("fg\r");
    screen.expect("ola: while it was away");
    screen.expect("\nthe shell has it");
    wait_until("the client has the terminal again", || {
        let is_taken = screen.inspect(vt100::Screen::bracketed_paste);
        (is_taken && !screen.modes().contains("ICANON")).then_some(())
    });
    screen.type_keys(" and ended\r");
    ola.expect("ala: begun and ended");
}
