//! The live view in the server's pane.

use std::io::Read;
use std::thread;

use super::{expect_welcomes, panes, port};
use support::screen::Screen;
use support::{Client, program, wait_until};

const F3: &str = "\x1bOR";
const F8: &str = "\x1b[19~";

/// Number of lines that a member sends at a time.
const LINES: usize = 20;

/// The rows of the live view about locks, queues and sockets, as text in which only the figures are
/// replaced: `N` is a number, `T` a time and `B` a number of bytes.
fn summary(screen: &str) -> Vec<String> {
    let rows = screen
        .lines()
        .map(|row| row.trim_matches(['│', '┃', '|', '#', ' ']));
    let wanted = ["LOCK", "PENDING", "BEHIND", "KERNEL"];
    let rows = rows.filter(|row| wanted.iter().any(|label| row.starts_with(label)));
    rows.map(without_figures).collect()
}

fn without_figures(row: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in row.split_whitespace() {
        let bare = word.trim_matches(['(', ')', ',', '[', ']']);
        let is_number = bare.parse::<f64>().is_ok();
        let is_bar = word.starts_with('[');
        let kind = match bare {
            "s" | "ms" => Some("T"),
            "B" | "KiB" | "MiB" => Some("B"),
            "%" => Some("N %"),
            _ => None,
        };
        match (kind, words.last_mut()) {
            (Some(kind), Some(last)) if last.ends_with('N') => {
                let number = last.clone();
                *last = format!(
                    "{}{}",
                    number.trim_end_matches('N'),
                    word.replace(bare, kind)
                );
            }
            _ if is_number => words.push(word.replace(bare, "N")),
            _ if is_bar => words.push("[…]".into()),
            _ => words.push(word.to_owned()),
        }
    }
    words.join(" ")
}

/// Waits until the live view has exactly these rows about locks, queues and sockets.
#[track_caller]
fn expect_summary(screen: &Screen, expected: &[&str]) {
    screen.wait(&format!("{expected:#?}"), |text| {
        // Drop the number of waits for the lock, because it depends on chance.
        let rows = summary(text)
            .into_iter()
            .map(|row| match row.split_once(", N wait") {
                Some((start, _)) => start.to_owned(),
                None => row,
            });
        rows.eq(expected.iter().copied()).then_some(())
    });
}

/// A member who sends many lines, and whose own thread reads everything that the server sends.
struct Talker {
    member: Client,
    talks: usize,
}

impl Talker {
    fn join(port: u16) -> Self {
        let member = Client::connect(([127, 0, 0, 1], port).into()).join("jan");
        let mut socket = member.socket().try_clone().unwrap();
        thread::spawn(move || while let Ok(1..) = socket.read(&mut [0; 8192]) {});
        Self { member, talks: 0 }
    }

    fn talk(&mut self) {
        let line = "a line of a long talk, which is sixty bytes long, or about so\n";
        self.member.send_bytes(line.repeat(LINES).as_bytes());
    }

    /// Sends lines, and waits until the server has delivered all of them.
    #[track_caller]
    fn talk_and_wait(&mut self, screen: &Screen) {
        self.talk();
        self.talks += 1;
        let end = format!("end of talk {}.", self.talks);
        self.member.send(&end);
        screen.expect(&end);
    }
}

const LOCK: &str = "LOCK room free, held N %, longest T";
const PENDING: &str = "PENDING N, last batch N to N, N deliveries/s, small buffers (B)";

#[test]
fn a_frozen_client_falls_behind_is_disconnected_and_returns_when_it_is_thawed() {
    let options = ["-c", "2", "--live", "--small-buffers", "--rate", "0"];
    let command = panes(&[&options[..], &["--names", "ala,ola"]].concat());
    let mut screen = Screen::start(&command, 80, 24);
    expect_welcomes(&screen, 2);
    screen.expect("· live (F3: log)");
    expect_summary(&screen, &[LOCK, PENDING]);
    let mut jan = Talker::join(port(&screen));

    screen.type_keys("\x1b2");
    screen.type_keys(F8);
    screen.expect("FROZEN chat 2 · ola");
    jan.talk_and_wait(&screen);
    expect_summary(
        &screen,
        &[LOCK, PENDING, "KERNEL ola FROZEN T, B unread, B unsent"],
    );
    screen.expect("c:ola");

    wait_until("a backlog", || {
        jan.talk_and_wait(&screen);
        screen.text().contains("BEHIND").then_some(())
    });
    expect_summary(
        &screen,
        &[
            LOCK,
            PENDING,
            "BEHIND ola […] B of B, cut in T",
            "KERNEL ola FROZEN T, B unread, B unsent",
        ],
    );
    screen.expect("w:ola   WAITS ");

    // After 10 s without progress, the server disconnects ola.
    screen.expect("* ola left (too slow)");
    // The backlog is gone, although the last bytes of the connection are still in the kernel.
    screen.expect_gone("BEHIND");
    screen.expect_gone("w:ola");

    screen.type_keys(F8);
    screen.expect_gone("FROZEN");
    // Not the log's last row: the order of the rows about a return depends on chance.
    screen.expect("--- end of the past messages ---");
    expect_summary(&screen, &[LOCK, PENDING]);
    screen.type_keys(F3);
    screen.expect_gone("LOCK room");
    // The cut has cost ola nothing.
    screen.type_keys("\x1b0/quit\r");
    screen.expect("\nproof: 2 of 3 clients were checked, ");
}

#[test]
fn the_live_view_can_do_without_colors_and_with_only_ascii_characters() {
    let mut command = panes(&["-c", "3", "--names", "ala,ola,jan"]);
    command.env("LANG", "C").env("NO_COLOR", "1");
    let mut screen = Screen::start(&command, 80, 24);
    expect_welcomes(&screen, 3);
    screen.type_keys(F3);
    // With four panes, the rows of the view are as narrow as they get.
    screen.wait("the rows", |text| {
        let has_all = ["LOCK room free", "PENDING 0", "|c:"];
        has_all.iter().all(|part| text.contains(part)).then_some(())
    });
    screen.type_keys("\x1b0\x1bOQ");
    screen.expect("chat-server");
    screen.expect("deliver");
    let text = screen.text();
    assert!(text.is_ascii(), "{text}");
    let is_plain = screen.inspect(|screen| {
        let (rows, columns) = screen.size();
        let mut cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        cells.all(|(row, column)| {
            let cell = screen.cell(row, column).unwrap();
            (cell.fgcolor(), cell.bgcolor()) == (vt100::Color::Default, vt100::Color::Default)
        })
    });
    assert!(is_plain);
}

#[test]
fn a_command_typed_in_the_live_view_is_answered_below_it() {
    let mut screen = super::start(&["--live", "--names", "ala"], 80, 24);
    screen.expect("LOCK room free");
    screen.type_keys("\x1b0/freeze ola\r");
    screen.expect("! ola is not a client of this session");
    screen.expect("LOCK room free");
}

#[test]
fn the_live_view_of_a_stopped_server_shows_the_age_of_its_values() {
    let screen = super::start(&["--live", "--names", "ala"], 80, 24);
    screen.expect("LOCK room free");
    let parent = screen.pid() as i32;
    let server = procfs::process::all_processes()
        .unwrap()
        .flatten()
        .find(|process| {
            let stat = process.stat();
            stat.is_ok_and(|stat| stat.ppid == parent && stat.comm == "chat-server")
        });
    let server = rustix::process::Pid::from_raw(server.unwrap().pid()).unwrap();
    rustix::process::kill_process(server, support::Signal::STOP).unwrap();
    screen.expect("SERVER    no answer for ");
    screen.expect("LOCK room free");
    rustix::process::kill_process(server, support::Signal::CONT).unwrap();
    screen.expect_gone("no answer for");
}

#[test]
fn a_session_without_panes_prints_the_live_view_once() {
    let mut command = program(env!("CARGO_BIN_EXE_chat-run"));
    command.args(["-t", "none", "-c", "0", "-p", "0", "--small-buffers"]);
    let mut screen = Screen::start(&command, 80, 24);
    let address = screen.expect_address();
    let _ala = Client::connect(address).join("ala");
    screen.type_keys("/live\r");
    for part in ["LOCK room free, held ", "small buffers (9.0 KiB)", "c:ala "] {
        screen.expect(part);
    }
}
