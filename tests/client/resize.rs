//! A client's window that changes its size: what was shown stays to be read, on the screen or in the terminal's scrollback.

use std::ops::Range;
use std::process::Command;

use support::window::{ala, at_ten, chat_client};
use support::{Client, Server, wait_until};
use tempfile::TempDir;

/// Lines of the conversation.
const LINES: usize = 100;

/// One that takes a row of 80 columns, and more of 40.
fn long(number: usize) -> String {
    format!("number {number} has more words than half of the rows, and ends with {number}.")
}

/// One that has room in 40 columns.
fn short(number: usize) -> String {
    format!("number {number} is {number}.")
}

/// Says those of the lines.
fn talk(ola: &mut Client, numbers: Range<usize>, line: fn(usize) -> String) {
    for number in numbers {
        ola.send(&line(number));
    }
}

/// Fails unless each of so many lines stands in these rows, whole and in order, and none of them more than `most` times.
#[track_caller]
fn expect_all(rows: &str, lines: usize, line: fn(usize) -> String, most: usize) {
    let words: Vec<&str> = rows.split_whitespace().collect();
    let text = words.join(" ");
    let mut before = 0;
    for number in 0..lines {
        let line = line(number);
        let found = text.find(&line);
        let at = found.unwrap_or_else(|| panic!("no {line:?} in:\n{rows}"));
        assert!(at >= before, "{line:?} comes too early in:\n{rows}");
        before = at;
        let count = text.matches(&line).count();
        assert!(count <= most, "{count} times {line:?} in:\n{rows}");
    }
}

// A terminal that cuts what is too wide for it.

#[test]
fn a_resize_leaves_the_line_whole_and_the_conversation_above_it() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = ala(&server, 40, 8);
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
        at_ten,
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
        at_ten,
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
        at_ten,
    );
    ala.type_keys("\r");
    ola.expect("ala: typed before the window got narrow, and more!");
}

#[test]
fn after_a_resize_the_conversation_stands_whole_and_once_and_is_wrapped_for_the_new_width() {
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
    let mut ala = ala(&server, 80, 24);
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
        ala.expect_screen(screen, at_ten);
    }
    // As many as a mouse makes.
    for columns in (41..=80).rev().chain(41..=100).chain((41..=100).rev()) {
        ala.resize(columns, 12);
    }
    ala.expect_screen(NARROW, at_ten);
    assert_eq!(ala.all_rows().len(), 12);
    ala.type_keys("\r");
    ola.expect("ala: half a line");
}

#[test]
fn no_line_is_lost_in_a_window_that_gets_narrower_and_lower_and_few_are_doubled() {
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let mut ala = ala(&server, 80, 24);
    ola.expect("* ala joined");
    talk(&mut ola, 0..LINES, long);
    ala.expect(&format!("with {}.", LINES - 1));
    let mut typed = String::from("typed");
    ala.type_keys(&typed);
    for (columns, rows, most) in [
        (40, 24, 1),
        (40, 9, 1),
        // From here on, the scrollback has what the screen shows again.
        (80, 9, 2),
        (100, 30, 2),
        (41, 12, 2),
        (41, 40, 2),
        (80, 24, 3),
    ] {
        ala.resize(columns, rows);
        // The key comes after the change, and so what it does is drawn for the new size.
        ala.type_keys("x");
        typed.push('x');
        ala.expect(&format!("> {typed}"));
        expect_all(&ala.all_rows().join("\n"), LINES, long, most);
    }
}

#[test]
fn a_corner_that_is_dragged_doubles_no_more_than_one_change() {
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let mut ala = ala(&server, 80, 24);
    ola.expect("* ala joined");
    talk(&mut ola, 0..LINES, long);
    ala.expect(&format!("with {}.", LINES - 1));
    for columns in (40..80).rev().chain(41..80) {
        ala.resize(columns, columns / 3);
    }
    ala.resize(80, 24);
    ala.type_keys("x");
    ala.expect("> x");
    expect_all(&ala.all_rows().join("\n"), LINES, long, 2);
    for columns in (40..80).rev() {
        ala.resize(columns, columns / 3);
    }
    ala.type_keys("y");
    ala.expect("> xy");
    expect_all(&ala.all_rows().join("\n"), LINES, long, 2);
}

#[test]
fn what_a_wider_window_shows_again_does_not_come_into_the_scrollback_again() {
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let mut ala = ala(&server, 80, 24);
    ola.expect("* ala joined");
    talk(&mut ola, 0..LINES, long);
    ala.expect(&format!("with {}.", LINES - 1));
    let end =
        |rows: usize| (LINES - rows..LINES).map(|number| format!("10:00 ola: {}\n", long(number)));
    ala.resize(40, 24);
    ala.expect("\n           with 99.");
    ala.resize(80, 24);
    ala.expect_screen(&(end(23).collect::<String>() + ">"), at_ten);
    talk(&mut ola, LINES..LINES + 30, long);
    ala.expect(&format!("with {}.", LINES + 29));
    expect_all(&ala.all_rows().join("\n"), LINES + 30, long, 1);
}

// A terminal that breaks it.

/// A terminal with a client on it, played by tmux.
struct Tmux {
    folder: TempDir,
}

impl Tmux {
    fn start(command: &Command, columns: usize, rows: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tmux = Self { folder };
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
        command.arg("-S").arg(self.folder.path().join("socket"));
        command.args(["-f", "/dev/null"]).args(arguments);
        command.env_remove("TMUX").env("LANG", "C.UTF-8");
        command.env("XDG_STATE_HOME", self.folder.path());
        let output = command.output().expect("tmux; `./run.sh test` installs it");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn resize(&self, columns: usize, rows: usize) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.run(&["resize-window", "-t", "0:0", "-x", &columns, "-y", &rows]);
    }

    /// What has scrolled out of the screen and what stands on it.
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
fn no_line_is_lost_in_a_terminal_that_breaks_what_is_too_wide() {
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let tmux = Tmux::start(&chat_client(&server, &["-n", "ala"]), 80, 24);
    ola.expect("* ala joined");
    talk(&mut ola, 0..LINES, long);
    tmux.expect("and ends with 99.\n>");
    for (columns, rows, end, most) in [
        (40, 24, "\n           with 99.\n>", 2),
        (40, 9, "\n           with 99.\n>", 2),
        (80, 9, "and ends with 99.\n>", 2),
        (100, 30, "and ends with 99.\n>", 2),
        (41, 12, "\n           with 99.\n>", 2),
        (41, 40, "\n           with 99.\n>", 2),
        (80, 24, "and ends with 99.\n>", 3),
    ] {
        tmux.resize(columns, rows);
        tmux.expect(end);
        expect_all(&tmux.all_rows(), LINES, long, most);
    }
}

#[test]
fn lines_that_fit_stay_as_they_are_in_a_terminal_that_brings_them_back_itself() {
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let tmux = Tmux::start(&chat_client(&server, &["-n", "ala"]), 80, 24);
    ola.expect("* ala joined");
    talk(&mut ola, 0..LINES, short);
    for (columns, rows) in [(40, 24), (40, 9), (80, 9), (100, 30), (41, 12), (80, 24)] {
        tmux.expect("is 99.\n>");
        tmux.resize(columns, rows);
    }
    ola.send("the end");
    tmux.expect("ola: the end\n>");
    expect_all(&tmux.all_rows(), LINES, short, 1);
}
