//! What is hostile or too much, for panes, for who sits before them, and for who is in them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use super::{CTRL_C, F2, port, scripted, start, with_client};
use support::hostile::messages;
use support::screen::Screen;
use support::wait_until;

/// Where the sides and corners of the frames stand.
fn frames(screen: &Screen) -> Vec<(usize, usize)> {
    screen.look(|screen| {
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
fn what_members_send_stays_in_the_panes_as_text() {
    let screen = start(&["--rate", "0", "--names", "ala,ola"], 170, 60);
    let mut socket = TcpStream::connect(("127.0.0.1", port(&screen))).unwrap();
    writeln!(socket, "eve").unwrap();
    screen.expect("· 3 online");
    // A client's own name in a line rings.
    let all_but_the_bell = || {
        let mut asked = screen.asked();
        asked.remove("bell");
        asked
    };
    let (before, asked) = (frames(&screen), all_but_the_bell());
    for (number, messages) in messages().chunks(10).enumerate() {
        for (sent, _) in messages {
            writeln!(socket, "{sent}").unwrap();
        }
        // In the panes of both clients, and in the server's.
        let end = format!("eve: end {number}.");
        writeln!(socket, "end {number}.").unwrap();
        screen.wait(&end, |text| (text.matches(&end).count() == 3).then_some(()));
        // The parts of an emoji are drawn each by itself.
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
fn a_title_that_a_program_gives_its_pane_is_text() {
    let script = r"
        printf '\033]2;chat 9 - \302\233[2J\342\200\256x\342\200\213\361y\033\\'
        printf 'ready\n'
        exec cat";
    let folder = with_client(script);
    let screen = Screen::start(&scripted(&folder, &["-c", "1"]), 80, 24);
    screen.expect("ready");
    screen.expect("▶ chat 9 · [2Jxy");
    assert!(!String::from_utf8_lossy(&screen.bytes()).contains(['\u{9b}', '\u{202e}', '\u{200b}']));
}

#[test]
fn a_flood_is_drawn_and_keys_are_felt_meanwhile() {
    let mut screen = start(&["--rate", "0", "--names", "ala,ola"], 100, 30);
    let mut socket = TcpStream::connect(("127.0.0.1", port(&screen))).unwrap();
    writeln!(socket, "flood").unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("welcome, flood")));
    let sender = std::thread::spawn(move || {
        let mut number = 0;
        // Until the room is closed.
        while writeln!(socket, "message {number} of a flood").is_ok() {
            number += 1;
        }
    });
    screen.expect("flood: message 1");
    screen.type_keys(F2);
    screen.expect_gone("chat 2");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
    sender.join().unwrap();
}

#[test]
fn every_key_of_a_burst_arrives_in_order() {
    // The client reads only when all of it was typed.
    let folder = with_client(
        "stty raw -echo; echo ready; until [ -e \"$0.go\" ]; do sleep 0.02; done; exec cat > \"$0.got\"",
    );
    let mut screen = Screen::start(&scripted(&folder, &["-c", "1"]), 80, 24);
    screen.expect("ready");
    let typed: String = (0..4000).map(|line| format!("line {line}\r")).collect();
    screen.type_keys(&typed);
    // What is done with a key after them shows that they have all come.
    screen.type_keys("\x1b0");
    screen.expect("▶ server");
    fs::write(folder.path().join("chat-client.go"), "").unwrap();
    let got = folder.path().join("chat-client.got");
    wait_until("all of it", || {
        (fs::read(&got).unwrap_or_default().len() >= typed.len()).then_some(())
    });
    assert!(fs::read_to_string(&got).unwrap() == typed);
}

#[test]
fn what_a_client_that_is_stopped_cannot_take_is_refused_with_a_sign_and_ctrl_c_ends_all() {
    let folder = with_client("stty raw -echo; echo ready; kill -STOP $$; exec cat > /dev/null");
    let mut screen = Screen::start(&scripted(&folder, &["-c", "1"]), 80, 24);
    screen.expect("ready");
    screen.type_keys(&format!("\x1b[200~{}\x1b[201~", "x".repeat(700_000)));
    screen.type_keys(&format!("\x1b[200~{}\x1b[201~", "y".repeat(700_000)));
    screen.type_keys(&format!("\x1b[200~{}\x1b[201~", "z".repeat(700_000)));
    screen.expect("does not read: keys are not taken");
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end().exit_code(), 0);
}

#[test]
fn a_line_that_is_too_long_for_the_server_is_not_taken_and_holds_nothing_up() {
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
