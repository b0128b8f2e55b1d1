//! Hostile messages, floods, and oversized input in panes.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use super::{CTRL_C, F2, port, scripted, start, with_client};
use support::hostile::typed_messages;
use support::screen::Screen;
use support::wait_until;

/// The positions of the frames' sides and corners.
fn frames(screen: &Screen) -> Vec<(usize, usize)> {
    screen.inspect(|screen| {
        let (rows, columns) = screen.size();
        let all = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let is_frame = |&(row, column): &(u16, u16)| {
            let cell = screen.cell(row, column).unwrap();
            cell.has_contents() && "│┃╭╮╰╯┏┓┗┛".contains(cell.contents())
        };
        all.filter(is_frame)
            .map(|(row, column)| (row.into(), column.into()))
            .collect()
    })
}

#[test]
fn hostile_messages_stay_inside_the_panes_as_text() {
    let screen = start(&["--rate", "0", "--names", "ala,ola"], 170, 60);
    let mut socket = TcpStream::connect(("127.0.0.1", port(&screen))).unwrap();
    writeln!(socket, "eve").unwrap();
    screen.expect("· 3 online");
    // Some messages mention a client's name and so ring the bell.
    let all_but_the_bell = || {
        let mut asked = screen.requests();
        asked.remove("bell");
        asked
    };
    let (before, asked) = (frames(&screen), all_but_the_bell());
    for (number, messages) in typed_messages().chunks(10).enumerate() {
        for (sent, _) in messages {
            writeln!(socket, "{sent}").unwrap();
        }
        // In the panes of both clients and in the server's pane.
        let end = format!("eve: end {number}.");
        writeln!(socket, "end {number}.").unwrap();
        screen.wait(&end, |text| (text.matches(&end).count() == 3).then_some(()));
        // The panes draw each part of a joined emoji on its own.
        let apart = |text: &str| text.replace(['\u{200d}', '\u{fe0f}'], "");
        let text = apart(&screen.text());
        for (_, arrives) in messages {
            let arrives = apart(&arrives.replace('\u{fffd}', ""));
            let shown = format!("eve: {}", arrives.trim_end());
            assert!(text.matches(&shown).count() >= 3, "{shown:?} in:\n{text}");
        }
        assert_eq!(frames(&screen), before, "{text}");
        assert_eq!(all_but_the_bell(), asked, "{text}");
    }
}

#[test]
fn a_pane_title_set_by_a_program_is_shown_as_text() {
    let script = r"
        printf '\033]2;chat 9 - \302\233[2J\342\200\256x\342\200\213\361y\033\\'
        printf 'ready\n'
        exec cat";
    let dir = with_client(script);
    let screen = Screen::start(&scripted(&dir, &["-c", "1"]), 80, 24);
    screen.expect("ready");
    screen.expect("▶ chat 9 · [2Jxy");
    assert!(!String::from_utf8_lossy(&screen.bytes()).contains(['\u{9b}', '\u{202e}', '\u{200b}']));
}

#[test]
fn keys_zoom_a_pane_and_end_the_session_while_a_flood_is_drawn() {
    let mut screen = start(&["--rate", "0", "--names", "ala,ola"], 100, 30);
    let mut socket = TcpStream::connect(("127.0.0.1", port(&screen))).unwrap();
    writeln!(socket, "flood").unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("welcome, flood")));
    let sender = std::thread::spawn(move || {
        let mut number = 0;
        // Fails once the room is closed.
        while writeln!(socket, "message {number} of a flood").is_ok() {
            number += 1;
        }
    });
    screen.expect("flood: message 1");
    screen.type_keys(F2);
    screen.expect_gone("chat 2");
    screen.type_keys(CTRL_C);
    screen.expect("Ctrl+C again ends the session for 1 member");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
    sender.join().unwrap();
}

#[test]
fn every_key_of_a_burst_arrives_in_order() {
    // The client starts to read only after everything has been typed.
    let dir = with_client(
        "stty raw -echo; echo ready; until [ -e \"$0.go\" ]; do sleep 0.02; done; exec cat > \"$0.got\"",
    );
    let mut screen = Screen::start(&scripted(&dir, &["-c", "1"]), 80, 24);
    screen.expect("ready");
    let typed: String = (0..4000).map(|line| format!("line {line}\r")).collect();
    screen.type_keys(&typed);
    // The focus moves once the launcher has handled all the keys before Alt+0.
    screen.type_keys("\x1b0");
    screen.expect("▶ server");
    fs::write(dir.path().join("chat-client.go"), "").unwrap();
    let got = dir.path().join("chat-client.got");
    wait_until("all input has arrived", || {
        (fs::read(&got).unwrap_or_default().len() >= typed.len()).then_some(())
    });
    assert!(fs::read_to_string(&got).unwrap() == typed);
}

#[test]
fn input_for_a_stopped_client_is_refused_and_ctrl_c_ends_the_session() {
    let dir = with_client("stty raw -echo; echo ready; kill -STOP $$; exec cat > /dev/null");
    let mut screen = Screen::start(&scripted(&dir, &["-c", "1"]), 80, 24);
    screen.expect("ready");
    screen.type_keys(&format!("\x1b[200~{}\x1b[201~", "x".repeat(700_000)));
    screen.type_keys(&format!("\x1b[200~{}\x1b[201~", "y".repeat(700_000)));
    screen.type_keys(&format!("\x1b[200~{}\x1b[201~", "z".repeat(700_000)));
    screen.expect("not reading: keys are ignored");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
}

#[test]
fn an_oversized_line_for_the_server_is_refused_and_blocks_nothing() {
    let mut screen = start(&["--names", "ala"], 120, 40);
    screen.type_keys(&format!(
        "\x1b0\x1b[200~/say {}\x1b[201~",
        "x".repeat(300_000)
    ));
    screen.expect("! the last input was not taken");
    screen.type_keys("/say short\r");
    screen.expect("* the server: short");
    screen.type_keys(&format!("/say {}\r", "y".repeat(5000)));
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
    assert!(
        !screen.text().contains("the server: y"),
        "{}",
        screen.text()
    );
}
