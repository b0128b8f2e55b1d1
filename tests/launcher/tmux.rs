//! Sessions inside a tmux, and the error outside of one. A tmux of the test's plays the terminal.

use std::net::TcpListener;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use support::place::{MARK, Place, Process};
use support::wait::{DEADLINE, wait_at_most};

const THREE: &str = "-p 0 --names ala,ola,jan";

/// A shell in a terminal.
struct Terminal {
    place: Place,
    /// What runs before any session: the terminal itself and the shell.
    before: Vec<i32>,
}

impl Terminal {
    /// One in which nothing tells of a tmux.
    fn plain() -> Self {
        Self::start("unset TMUX TMUX_PANE; exec sh")
    }

    /// One that is a pane of the user's tmux.
    fn in_tmux() -> Self {
        Self::start("exec sh")
    }

    fn start(shell: &str) -> Self {
        let mut terminal = Self {
            place: Place::new(),
            before: Vec::new(),
        };
        terminal.tmux(&[
            "new-session",
            "-d",
            "-x",
            "170",
            "-y",
            "50",
            "--",
            "sh",
            "-c",
            shell,
        ]);
        terminal.wait_for("prompt", || terminal.screen().contains('$').then_some(()));
        terminal.before = terminal
            .running()
            .iter()
            .map(|process| process.pid)
            .collect();
        terminal
    }

    /// Has the tmux that plays the terminal do something.
    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.place.path("terminal"));
        command.args(["-f", "/dev/null"]).args(arguments);
        command
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap());
        command
            .env("HOME", self.place.mark())
            .env("LANG", "C.UTF-8");
        command
            .env("PS1", "$ ")
            .env("TMPDIR", self.place.temporary());
        command.env(MARK, self.place.mark());
        let output = command.output().expect("tmux; `./run.sh test` installs it");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What the terminal shows.
    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", "0:0"])
    }

    fn type_line(&self, line: &str) {
        self.tmux(&["send-keys", "-t", "0:0", "-l", line]);
        self.press(&["Enter"]);
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", "0:0"], keys].concat());
    }

    /// Starts `chat-run`, and waits for the session.
    fn run(&self, arguments: &str, members: &[&str]) {
        self.type_line(r"printf '\033[2J\033[H'");
        // What an earlier one has left on the screen is not to be taken for this one's.
        self.wait_for("clear screen", || {
            (!self.screen().contains("code=")).then_some(())
        });
        let program = env!("CARGO_BIN_EXE_chat-run");
        self.type_line(&format!("{program} {arguments}; echo code=$?"));
        for name in members {
            self.wait_for_text(&format!("{name} joined"));
        }
    }

    fn wait_for<T>(&self, what: &str, answer: impl FnMut() -> Option<T>) -> T {
        let captured = || format!("{}\n{:#?}", self.screen(), self.left());
        wait_at_most(DEADLINE, what, captured, answer)
    }

    fn wait_for_text(&self, text: &str) {
        self.wait_for(text, || self.screen().contains(text).then_some(()));
    }

    /// Waits for the end of `chat-run`, of which nothing must be left, and gives what the shell shows then.
    fn end(&self, code: i32) -> String {
        self.wait_for_text(&format!("code={code}"));
        self.wait_for("clean end", || self.left().is_empty().then_some(()));
        self.screen()
    }

    /// Everything that a session has started or made and that is there still.
    fn left(&self) -> Vec<String> {
        self.place.left(&self.before)
    }

    fn running(&self) -> Vec<Process> {
        self.place.running()
    }

    /// The process that runs `program`.
    fn process(&self, program: &str) -> i32 {
        self.wait_for(program, || {
            let all = self.running();
            let found = all.iter().find(|process| process.is(program));
            found.map(|process| process.pid)
        })
    }

    /// The names of the user's windows.
    fn windows(&self) -> Vec<String> {
        let list = self.tmux(&["list-windows", "-F", "#{window_name}"]);
        list.lines().map(Into::into).collect()
    }
}

/// Sends a signal to one process, which may have ended.
fn send(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

#[test]
fn a_tmux_that_is_killed_ends_all_of_it() {
    let terminal = Terminal::in_tmux();
    terminal.run(&format!("{THREE} -t tmux"), &["ala", "ola", "jan"]);
    terminal.tmux(&["kill-server"]);
    wait_at_most(
        DEADLINE,
        "clean end",
        || format!("{:#?}", terminal.left()),
        || terminal.left().is_empty().then_some(()),
    );
}

#[test]
fn panes_that_would_be_too_small_go_to_another_window() {
    let terminal = Terminal::in_tmux();
    terminal.run("-p 0 -c 31 -t tmux", &[]);
    // 170 by 50 cells take 5 by 6 panes.
    terminal.wait_for_text("the clients are in tmux's window 2, \"chat\": Ctrl+B 2");
    terminal.wait_for("31 clients", || {
        let all = terminal.running();
        let clients = all
            .iter()
            .filter(|process| process.arguments[0].ends_with("chat-client"));
        (clients.count() == 31).then_some(())
    });
    terminal.press(&["C-c"]);
    let shown = terminal.end(0);
    assert!(!shown.contains("did not open"), "{shown}");
}

#[test]
fn inside_a_tmux_the_clients_get_a_new_window_of_it() {
    let terminal = Terminal::in_tmux();
    terminal.tmux(&["set-option", "-g", "prefix", "C-a"]);
    // It is not to matter here.
    terminal.tmux(&["set-option", "-g", "remain-on-exit", "on"]);
    for (end, code) in [
        (None, 0),
        (Some(Signal::TERM), 0),
        (Some(Signal::KILL), 137),
    ] {
        terminal.run(&format!("{THREE} -t tmux"), &["ala", "ola", "jan"]);
        assert_eq!(terminal.windows()[1..], ["chat"]);
        terminal.wait_for_text("the clients are in tmux's window 1, \"chat\": Ctrl+A 1");
        terminal.wait_for("titles", || {
            let panes = terminal.tmux(&["list-panes", "-t", "0:1", "-F", "#{pane_title}"]);
            let titles = ["chat 1 - ala", "chat 2 - ola", "chat 3 - jan"];
            panes.lines().eq(titles).then_some(())
        });
        terminal.tmux(&["send-keys", "-t", "0:1.0", "hello", "Enter"]);
        terminal.wait_for_text("ala: hello");
        match end {
            None => terminal.press(&["C-c"]),
            Some(signal) => send(terminal.process("chat-run"), signal),
        }
        terminal.end(code);
        terminal.wait_for("end of the window", || {
            (terminal.windows().len() == 1).then_some(())
        });
    }
}

#[test]
fn a_password_reaches_the_clients_and_shows_nowhere() {
    let terminal = Terminal::in_tmux();
    terminal.type_line("export CHAT_PASSWORD=\"it's se-cret;\"");
    terminal.run(&format!("{THREE} -t tmux"), &["ala", "ola", "jan"]);
    for process in terminal.running() {
        let shown = process
            .arguments
            .iter()
            .any(|argument| argument.contains("se-cret"));
        assert!(!shown, "{process:?}");
    }
    terminal.press(&["C-c"]);
    terminal.end(0);
}

#[test]
fn what_fails_is_said_and_leaves_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let terminal = Terminal::in_tmux();
    for (arguments, reason) in [
        (format!("-t tmux -p {port}"), format!("port {port} ")),
        (
            "-t tmux -p 0 --history /nowhere/room".into(),
            "error: the server did not start".into(),
        ),
    ] {
        terminal.run(&arguments, &[]);
        let shown = terminal.end(1);
        assert!(shown.contains(&reason), "{shown}");
    }
}

#[test]
fn outside_a_tmux_the_error_says_what_to_type_and_that_works() {
    let terminal = Terminal::plain();
    terminal.run("-t tmux -p 0 -c 0", &[]);
    let shown = terminal.end(1);
    assert!(
        shown.contains("error: tmux needs a tmux around this terminal, and there is none; "),
        "{shown}"
    );
    // Not the user's own tmux, nor the one that plays the terminal.
    let folder = terminal.place.mark().display();
    terminal.type_line(&format!("export TMUX_TMPDIR={folder}"));
    let program = env!("CARGO_BIN_EXE_chat-run");
    terminal.type_line(&format!(
        "tmux new-session {program} -t tmux -p 0 -c 2 --names 'ala 3ID12,ola'; echo code=$?"
    ));
    // The pane of a client shows that another member joined.
    terminal.wait_for_text("ola joined");
    terminal.press(&["C-b", "0"]);
    terminal.wait_for_text("the clients are in tmux's window 1");
    terminal.press(&["C-c"]);
    terminal.end(0);
}

#[test]
fn a_client_leaves_nothing_of_its_line_in_the_scrollback() {
    let terminal = Terminal::plain();
    // It asks for the name before it connects.
    terminal.type_line(&format!(
        "{} 127.0.0.1 1",
        env!("CARGO_BIN_EXE_chat-client")
    ));
    terminal.wait_for_text("name, and group");
    terminal.press(&["C-l"]);
    terminal.wait_for("an empty screen", || {
        terminal.screen().starts_with("name").then_some(())
    });
    for (typed, shown) in [("a", ": a"), ("b", ": ab"), ("c", ": abc")] {
        terminal.press(&[typed]);
        terminal.wait_for_text(shown);
    }
    for (columns, rows) in [("41", "12"), ("100", "20")] {
        terminal.tmux(&["resize-window", "-t", "0:0", "-x", columns, "-y", rows]);
        // The key comes after the change, and so what it does is drawn for the new size.
        let before = terminal.screen().trim_end().to_owned();
        terminal.press(&["x"]);
        terminal.wait_for_text(&format!("{before}x"));
    }
    let all = terminal.tmux(&["capture-pane", "-p", "-S", "-", "-t", "0:0"]);
    assert_eq!(all.matches("name, and group").count(), 1, "{all}");
    terminal.press(&["C-c"]);
    terminal.wait_for("the shell", || {
        terminal.screen().contains("$").then_some(())
    });
}
