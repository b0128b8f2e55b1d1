//! Resizing a client's window: every message stays readable, on the screen or in the scrollback.

use std::ops::Range;
use std::process::Command;

use support::client::{ala_on_screen, chat_client_for, mask_times};
use support::{Client, Server, wait_until};
use tempfile::TempDir;

/// Number of messages in the conversation.
const LINES: usize = 100;

/// A message that fits in one row of 80 columns, but not of 40.
fn long(number: usize) -> String {
    format!("number {number} has more words than half of the rows, and ends with {number}.")
}

/// A message that fits in one row of 40 columns.
fn short(number: usize) -> String {
    format!("number {number} is {number}.")
}

/// Sends the messages with these numbers.
fn send_messages(ola: &mut Client, numbers: Range<usize>, line: fn(usize) -> String) {
    for number in numbers {
        ola.send(&line(number));
    }
}

/// Fails unless `rows` contain the messages 0 to `lines`, whole, in order, and each at most `most`
/// times.
#[track_caller]
fn expect_messages(rows: &str, lines: usize, line: fn(usize) -> String, most: usize) {
    let words: Vec<&str> = rows.split_whitespace().collect();
    let text = words.join(" ");
    let mut before = 0;
    for number in 0..lines {
        let line = line(number);
        let found = text.find(&line);
        let at = found.unwrap_or_else(|| panic!("{line:?} is missing in:\n{rows}"));
        assert!(at >= before, "{line:?} comes too early in:\n{rows}");
        before = at;
        let count = text.matches(&line).count();
        assert!(count <= most, "{count} times {line:?} in:\n{rows}");
    }
}

// A terminal that cuts off rows when it gets narrower, as xterm does.

#[test]
fn a_resize_keeps_the_typed_line_whole_below_the_conversation() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = ala_on_screen(&server, 40, 8);
    ola.expect("* ala joined");
    for n in 0..12 {
        ola.send(&format!("message number {n} of them"));
    }
    ala.type_keys("typed before the window got narrow, and more");
    ala.expect("d more");
    ala.resize(24, 8);
    ala.expect_screen(
        "
10:00 ola: message
        number 10 of
        them
10:00 ola: message
        number 11 of
        them
> typed before the wind
ow got narrow, and more",
        mask_times,
    );
    ala.type_keys("!");
    ola.send("still there?");
    ala.expect_screen(
        "
        them
10:00 ola: message
        number 11 of
        them
10:00 ola: still there?
> typed before the wind
ow got narrow, and more
!",
        mask_times,
    );
    ala.resize(60, 5);
    ola.send("and now?");
    ala.expect_screen(
        "
10:00 ola: message number 10 of them
10:00 ola: message number 11 of them
10:00 ola: still there?
10:00 ola: and now?
> typed before the window got narrow, and more!",
        mask_times,
    );
    ala.type_keys("\r");
    ola.expect("ala: typed before the window got narrow, and more!");
}

#[test]
fn a_resize_rewraps_the_conversation_without_loss_or_duplicates() {
    const WIDE: &str = "
* welcome, ala: 2 online; /help lists the commands
10:00 ola: message 1 has more words than a narrow window has room for in a row
10:00 ola: message 2 has more words than a narrow window has room for in a row
10:00 ola: message 3 has more words than a narrow window has room for in a row
> half a line";
    const NARROW: &str = "
* welcome, ala: 2 online; /help lists the
  commands
10:00 ola: message 1 has more words than
           a narrow window has room for
           in a row
10:00 ola: message 2 has more words than
           a narrow window has room for
           in a row
10:00 ola: message 3 has more words than
           a narrow window has room for
           in a row
> half a line";
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = ala_on_screen(&server, 80, 24);
    ola.expect("* ala joined");
    for n in 1..=3 {
        ola.send(&format!(
            "message {n} has more words than a narrow window has room for in a row"
        ));
    }
    ala.type_keys("half a line");
    for (columns, rows, screen) in [
        (80, 24, WIDE),
        (41, 12, NARROW),
        (100, 20, WIDE),
        (120, 30, WIDE),
        (80, 24, WIDE),
        (120, 30, WIDE),
    ] {
        ala.resize(columns, rows);
        ala.expect_screen(screen, mask_times);
    }
    // As many steps as dragging with a mouse makes.
    for columns in (41..=80).rev().chain(41..=100).chain((41..=100).rev()) {
        ala.resize(columns, 12);
    }
    ala.expect_screen(NARROW, mask_times);
    assert_eq!(ala.all_rows().len(), 12);
    ala.type_keys("\r");
    ola.expect("ala: half a line");
}

#[test]
fn shrinking_the_window_loses_no_line_and_duplicates_few() {
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let mut ala = ala_on_screen(&server, 80, 24);
    ola.expect("* ala joined");
    send_messages(&mut ola, 0..LINES, long);
    ala.expect(&format!("with {}.", LINES - 1));
    let mut typed = String::from("typed");
    ala.type_keys(&typed);
    for (columns, rows, most) in [
        (40, 24, 1),
        (40, 9, 1),
        // From here on, rows that are in the scrollback are on the screen again.
        (80, 9, 2),
        (100, 30, 2),
        (41, 12, 2),
        (41, 40, 2),
        (80, 24, 3),
    ] {
        ala.resize(columns, rows);
        // The client handles the key after the resize, so `x` is drawn for the new size.
        ala.type_keys("x");
        typed.push('x');
        ala.expect(&format!("> {typed}"));
        expect_messages(&ala.all_rows().join("\n"), LINES, long, most);
    }
}

#[test]
fn a_series_of_resizes_duplicates_no_more_lines_than_a_single_resize() {
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let mut ala = ala_on_screen(&server, 80, 24);
    ola.expect("* ala joined");
    send_messages(&mut ola, 0..LINES, long);
    ala.expect(&format!("with {}.", LINES - 1));
    for columns in (40..80).rev().chain(41..80) {
        ala.resize(columns, columns / 3);
    }
    ala.resize(80, 24);
    ala.type_keys("x");
    // The window has its old size again, so the client may miss the resizes and draw the key before
    // it handles the signal. Only after handling the signal does it draw the last message whole.
    ala.expect("with 99.\n> x");
    expect_messages(&ala.all_rows().join("\n"), LINES, long, 2);
    for columns in (40..80).rev() {
        ala.resize(columns, columns / 3);
    }
    ala.type_keys("y");
    ala.expect("with 99.\n> xy");
    expect_messages(&ala.all_rows().join("\n"), LINES, long, 2);
}

#[test]
fn rows_that_a_wider_window_brings_back_are_not_duplicated_in_the_scrollback() {
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let mut ala = ala_on_screen(&server, 80, 24);
    ola.expect("* ala joined");
    send_messages(&mut ola, 0..LINES, long);
    ala.expect(&format!("with {}.", LINES - 1));
    let end =
        |rows: usize| (LINES - rows..LINES).map(|number| format!("10:00 ola: {}\n", long(number)));
    ala.resize(40, 24);
    ala.expect("\n           with 99.");
    ala.resize(80, 24);
    ala.expect_screen(&(end(23).collect::<String>() + ">"), mask_times);
    send_messages(&mut ola, LINES..LINES + 30, long);
    ala.expect(&format!("with {}.", LINES + 29));
    expect_messages(&ala.all_rows().join("\n"), LINES + 30, long, 1);
}

// A terminal that rewraps rows by itself, as tmux and VTE do.

/// A tmux as the terminal of a client.
struct Tmux {
    dir: TempDir,
    /// The text in the client's editor.
    typed: String,
}

impl Tmux {
    fn start(command: &Command, columns: usize, rows: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let typed = String::new();
        let tmux = Self { dir, typed };
        let program = command.get_program();
        let arguments = [program].into_iter().chain(command.get_args());
        let arguments: Vec<_> = arguments.map(|part| part.to_str().unwrap()).collect();
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let size = ["new-session", "-d", "-x", &columns, "-y", &rows, "--"];
        tmux.run(&[&size, &arguments[..]].concat());
        tmux
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.dir.path().join("socket"));
        command.args(["-f", "/dev/null"]).args(arguments);
        command.env_remove("TMUX").env("LANG", "C.UTF-8");
        command.env("XDG_STATE_HOME", self.dir.path());
        let output = command.output().expect("tmux; `./run.sh test` installs it");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Resizes the window, and waits until the client has drawn for the new size.
    fn resize(&mut self, columns: usize, rows: usize) {
        let size = format!("{rows} {columns}\n");
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.run(&["resize-window", "-t", "0:0", "-x", &columns, "-y", &rows]);
        // tmux resizes a pane's terminal only some time after the pane, and not while it goes on
        // changing.
        let terminal = self.run(&["display-message", "-p", "-t", "0:0", "#{pane_tty}"]);
        wait_until("tmux resizes the terminal", || {
            let mut stty = Command::new("stty");
            let output = stty.args(["-F", terminal.trim_end(), "size"]).output();
            (output.unwrap().stdout == size.as_bytes()).then_some(())
        });
        // The client handles the key after the resize.
        self.run(&["send-keys", "-t", "0:0", "x"]);
        self.typed.push('x');
        self.expect(&format!("\n> {}\n", self.typed));
    }

    /// The scrollback and the screen.
    fn all_rows(&self) -> String {
        self.run(&["capture-pane", "-p", "-J", "-S", "-", "-t", "0:0"])
    }

    fn expect(&self, part: &str) {
        let screen = || self.run(&["capture-pane", "-p", "-t", "0:0"]);
        wait_until(part, || screen().contains(part).then_some(()));
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

#[test]
fn no_line_is_lost_in_a_terminal_that_rewraps_by_itself() {
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let mut tmux = Tmux::start(&chat_client_for(&server, &["-n", "ala"]), 80, 24);
    ola.expect("* ala joined");
    send_messages(&mut ola, 0..LINES, long);
    tmux.expect("and ends with 99.\n>");
    for (columns, rows, most) in [
        (40, 24, 2),
        (40, 9, 2),
        (80, 9, 2),
        // From here on, rows that tmux has put into the scrollback are on the screen again.
        (100, 30, 3),
        (41, 12, 3),
        (41, 40, 3),
        (80, 24, 4),
    ] {
        tmux.resize(columns, rows);
        expect_messages(&tmux.all_rows(), LINES, long, most);
    }
}

#[test]
fn lines_that_fit_are_not_duplicated_by_a_terminal_that_rewraps() {
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let mut tmux = Tmux::start(&chat_client_for(&server, &["-n", "ala"]), 80, 24);
    ola.expect("* ala joined");
    send_messages(&mut ola, 0..LINES, short);
    tmux.expect("is 99.\n>");
    for (columns, rows) in [(40, 24), (40, 9), (80, 9), (100, 30), (41, 12), (80, 24)] {
        tmux.resize(columns, rows);
    }
    ola.send("the end");
    tmux.expect("ola: the end\n>");
    expect_messages(&tmux.all_rows(), LINES, short, 1);
}
