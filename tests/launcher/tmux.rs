//! Sessions inside tmux, and the error outside. Another tmux serves as the terminal.

use std::net::TcpListener;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use support::sandbox::{MARK, Process, Sandbox};
use support::wait::{DEADLINE, wait_at_most};

const THREE: &str = "-p 0 --names ala,ola,jan";

/// A shell in a terminal, which is a pane of a tmux.
struct Terminal {
    sandbox: Sandbox,
    /// The processes of the terminal itself: tmux and the shell.
    before: Vec<i32>,
}

impl Terminal {
    /// A terminal without TMUX in its environment.
    fn plain() -> Self {
        Self::start("unset TMUX TMUX_PANE; exec sh")
    }

    /// A terminal inside the user's tmux.
    fn in_tmux() -> Self {
        Self::start("exec sh")
    }

    fn start(shell: &str) -> Self {
        let mut terminal = Self {
            sandbox: Sandbox::new(),
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

    /// Runs a command of the tmux that serves as the terminal.
    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.sandbox.path("terminal"));
        command.args(["-f", "/dev/null"]).args(arguments);
        command
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap());
        command
            .env("HOME", self.sandbox.mark())
            .env("LANG", "C.UTF-8");
        command
            .env("PS1", "$ ")
            .env("TMPDIR", self.sandbox.temp_dir());
        command.env(MARK, self.sandbox.mark());
        let output = command.output().expect("tmux; `./run.sh test` installs it");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

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

    /// Runs `chat-run` in the shell, and waits until `members` have joined.
    fn run(&self, arguments: &str, members: &[&str]) {
        self.type_line(r"printf '\033[2J\033[H'");
        // The output of an earlier session must not be mistaken for this one's.
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

    /// Waits until `chat-run` exits with `code` and nothing is left of it; returns the screen.
    fn end(&self, code: i32) -> String {
        self.wait_for_text(&format!("code={code}"));
        self.wait_for("cleanup", || self.left().is_empty().then_some(()));
        self.screen()
    }

    /// Processes and temporary files that are left of a session.
    fn left(&self) -> Vec<String> {
        self.sandbox.leftovers(&self.before)
    }

    fn running(&self) -> Vec<Process> {
        self.sandbox.running()
    }

    /// Waits for a process that runs `program`; returns its process ID.
    fn process(&self, program: &str) -> i32 {
        self.wait_for(program, || {
            let all = self.running();
            let found = all.iter().find(|process| process.is(program));
            found.map(|process| process.pid)
        })
    }

    /// The names of tmux's windows.
    fn windows(&self) -> Vec<String> {
        let list = self.tmux(&["list-windows", "-F", "#{window_name}"]);
        list.lines().map(Into::into).collect()
    }
}

/// Sends a signal to a process, which may have ended already.
fn send(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

#[test]
fn killing_tmux_ends_the_whole_session() {
    let terminal = Terminal::in_tmux();
    terminal.run(&format!("{THREE} -t tmux"), &["ala", "ola", "jan"]);
    terminal.tmux(&["kill-server"]);
    wait_at_most(
        DEADLINE,
        "cleanup",
        || format!("{:#?}", terminal.left()),
        || terminal.left().is_empty().then_some(()),
    );
}

#[test]
fn panes_that_would_be_too_small_open_in_another_window() {
    let terminal = Terminal::in_tmux();
    terminal.run("-p 0 -c 31 -t tmux", &[]);
    // 170 by 50 cells have space for 5 by 6 panes.
    terminal.wait_for_text("the clients are in tmux window 2, \"chat\": press Ctrl+B 2");
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
fn inside_tmux_the_clients_get_a_new_window() {
    let terminal = Terminal::in_tmux();
    terminal.tmux(&["set-option", "-g", "prefix", "C-a"]);
    // The user's own settings must not matter.
    terminal.tmux(&["set-option", "-g", "remain-on-exit", "on"]);
    for (end, code) in [
        (None, 0),
        (Some(Signal::TERM), 0),
        (Some(Signal::KILL), 137),
    ] {
        terminal.run(&format!("{THREE} -t tmux"), &["ala", "ola", "jan"]);
        assert_eq!(terminal.windows()[1..], ["chat"]);
        terminal.wait_for_text("the clients are in tmux window 1, \"chat\": press Ctrl+A 1");
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
fn a_frozen_client_in_tmux_stays_stopped_until_its_launcher_is_killed() {
    let terminal = Terminal::in_tmux();
    terminal.run("-p 0 -c 2 --names ala,ola -t tmux", &["ala", "ola"]);
    let all = terminal.running();
    let is_ola = |process: &&Process| {
        process.is("chat-client") && process.arguments.iter().any(|word| word == "ola")
    };
    let ola = all.iter().find(is_ola).unwrap().pid;
    let state = || {
        procfs::process::Process::new(ola)
            .unwrap()
            .stat()
            .unwrap()
            .state
    };
    terminal.type_line("/freeze ola");
    terminal.wait_for_text("* ola is frozen");
    terminal.wait_for("the stop", || (state() == 'T').then_some(()));
    // tmux continues a stopped process that it has started itself. When it runs the next command,
    // it has already handled the stop.
    terminal.tmux(&["display-message", "-p", ""]);
    assert_eq!(state(), 'T');
    send(terminal.process("chat-run"), Signal::KILL);
    terminal.end(137);
}

#[test]
fn the_password_reaches_the_clients_but_not_the_command_lines() {
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
fn a_session_in_tmux_that_fails_to_start_reports_why_and_leaves_nothing() {
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
fn outside_tmux_the_error_suggests_a_command_that_starts_tmux_and_a_session() {
    let terminal = Terminal::plain();
    terminal.run("-t tmux -p 0 -c 0", &[]);
    let shown = terminal.end(1);
    assert!(
        shown.contains("error: tmux works only if this terminal is inside tmux; "),
        "{shown}"
    );
    // A tmux server of its own, apart from the user's and from the terminal's.
    let dir = terminal.sandbox.mark().display();
    terminal.type_line(&format!("export TMUX_TMPDIR={dir}"));
    let program = env!("CARGO_BIN_EXE_chat-run");
    terminal.type_line(&format!(
        "tmux new-session {program} -t tmux -p 0 -c 2 --names 'ala 3ID12,ola'; echo code=$?"
    ));
    // Ola's joining is shown in a client's pane.
    terminal.wait_for_text("ola joined");
    terminal.press(&["C-b", "0"]);
    terminal.wait_for_text("the clients are in tmux window 1");
    terminal.press(&["C-c"]);
    terminal.end(0);
}

#[test]
fn the_log_wraps_between_words_in_a_narrow_tmux() {
    let terminal = Terminal::in_tmux();
    terminal.tmux(&["resize-window", "-t", "0:0", "-x", "46", "-y", "30"]);
    terminal.run("-p 0 -t tmux -c 1 --names ala", &["ala"]);
    let shown = terminal.screen();
    for rows in [
        "only this machine can join; --lan lets this\n  network in\n",
        "the clients are in tmux window 1, \"chat\":\n  press Ctrl+B 1\n",
    ] {
        assert!(shown.contains(rows), "{shown}");
    }
    terminal.press(&["C-c"]);
    terminal.end(0);
}

#[test]
fn a_tmux_or_pane_that_is_gone_is_noticed_before_anything_starts() {
    let terminal = Terminal::in_tmux();
    let program = env!("CARGO_BIN_EXE_chat-run");
    for (variable, reason) in [
        ("TMUX=/nowhere/default,1,0", "the tmux in TMUX is gone: "),
        ("TMUX_PANE=%99", "the tmux pane in TMUX_PANE is gone: "),
    ] {
        terminal.type_line(r"printf '\033[2J\033[H'");
        terminal.type_line(&format!("{variable} {program} -t tmux -p 0; echo code=$?"));
        let shown = terminal.end(1);
        assert!(shown.contains(reason), "{shown}");
        assert!(shown.contains("unset TMUX TMUX_PANE"), "{shown}");
        assert!(!shown.contains("listening on"), "{shown}");
        terminal.type_line("clear");
        terminal.wait_for("clear screen", || {
            (!terminal.screen().contains("code=")).then_some(())
        });
    }
}

#[test]
fn a_password_that_does_not_reach_a_running_tmux_is_reported() {
    let terminal = Terminal::plain();
    let dir = terminal.sandbox.mark().display();
    terminal.type_line(&format!("export TMUX_TMPDIR={dir}"));
    terminal.type_line("tmux -f /dev/null new-session -d");
    let program = env!("CARGO_BIN_EXE_chat-run");
    terminal.type_line(&format!(
        "CHAT_PASSWORD=se-cret tmux new-session sh -c \
         '{program} -t tmux -p 0; echo code=$?; exec cat'"
    ));
    terminal.wait_for_text("code=1");
    let shown = terminal.screen();
    assert!(shown.contains("CHAT_PASSWORD is set outside"), "{shown}");
    // An empty CHAT_PASSWORD means that no password is wanted.
    terminal.press(&["C-c"]);
    terminal.wait_for_text("[exited]");
    terminal.type_line(&format!(
        "CHAT_PASSWORD=se-cret tmux new-session sh -c \
         'CHAT_PASSWORD= {program} -t tmux -p 0 --names ala -c 1'; echo code=$?"
    ));
    terminal.wait_for_text("ala joined");
    terminal.press(&["C-c"]);
    terminal.wait_for_text("code=0");
    terminal.type_line("tmux kill-server");
    terminal.wait_for("cleanup", || terminal.left().is_empty().then_some(()));
}

#[test]
fn typing_and_resizing_leave_no_copy_of_the_name_prompt_in_the_scrollback() {
    let terminal = Terminal::plain();
    // The client asks for a name before it connects, so it needs no server.
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
        // The client handles the key after the resize, so `x` is drawn for the new size.
        let before = terminal.screen().trim_end().to_owned();
        terminal.press(&["x"]);
        terminal.wait_for_text(&format!("{before}x"));
    }
    let all = terminal.tmux(&["capture-pane", "-p", "-S", "-", "-t", "0:0"]);
    assert_eq!(all.matches("name, and group").count(), 1, "{all}");
    terminal.press(&["C-c"]);
    terminal.wait_for("the shell", || {
        terminal.screen().contains('$').then_some(())
    });
}
