//! A program started as a user would start it: as a job of a shell, on a terminal, in a sandbox.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use rustix::process::Pid;

use super::sandbox::{MARK, Sandbox};
use super::screen::Screen;
use super::wait::{DEADLINE, wait_at_most};

/// Waits for Enter, runs its arguments as a foreground job, writes the exit code to the file `$0`,
/// and keeps the terminal open for the test.
const SCRIPT: &str =
    r#"trap : INT; printf ready; read -r enter; "$@"; echo "$?" >"$0"; exec sleep 600"#;

/// Typed after the command has exited; its echo is the end of the output.
const END_MARK: &str = "behind";

/// A shell on a terminal and its command.
pub struct Shell {
    pub sandbox: Sandbox,
    pub screen: Screen,
    /// Terminal modes before the command started.
    modes: String,
}

impl Shell {
    /// Starts a shell that will run `command`. Its environment has no display or tmux except what
    /// `environment` sets.
    pub fn new(command: &[OsString], environment: &[(&str, OsString)]) -> Self {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.path("home")).unwrap();
        let mut shell = Command::new("sh");
        shell
            .args(["-mc", SCRIPT])
            .arg(sandbox.path("code"))
            .args(command);
        shell.current_dir(sandbox.mark());
        for variable in [
            "CHAT_CONTROL_SOCKET",
            "CHAT_PASSWORD",
            "CHAT_TERMINAL",
            "DISPLAY",
            "LC_ALL",
            "LC_CTYPE",
            "COLORFGBG",
            "COLORTERM",
            "NO_COLOR",
            "TMUX",
            "TMUX_PANE",
            "WAYLAND_DISPLAY",
        ] {
            shell.env_remove(variable);
        }
        shell
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .env("XDG_STATE_HOME", "/dev/null/state")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("HOME", sandbox.path("home"))
            .env("TMPDIR", sandbox.temp_dir())
            .env(MARK, sandbox.mark());
        let screen = Screen::start(&shell, 170, 50);
        screen.expect("ready");
        let modes = screen.modes();
        Self {
            sandbox,
            screen,
            modes,
        }
    }

    /// Runs the command.
    pub fn run_command(&mut self) {
        self.screen.type_keys("\r");
    }

    /// Waits until the command is in the foreground and returns its process ID.
    pub fn foreground_pid(&self) -> Pid {
        let shell = self.screen.pid().cast_signed();
        self.wait_for("foreground job", || {
            let status = procfs::process::Process::new(shell).ok()?.stat().ok()?;
            let foreground = Pid::from_raw(status.tpgid)?;
            (foreground.as_raw_nonzero().get() != shell).then_some(foreground)
        })
    }

    /// All output to the terminal so far.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.screen.bytes()).into_owned()
    }

    /// Exit code of the command, if it has exited; 128 plus the signal's number if a signal killed
    /// it.
    pub fn exit_code(&self) -> Option<i32> {
        let code = fs::read_to_string(self.sandbox.path("code")).ok()?;
        code.strip_suffix('\n')?.parse().ok()
    }

    /// Waits until the command has exited and cleaned up, and returns the exit code.
    pub fn end(&self) -> i32 {
        let code = self.wait_for("exit of the command", || self.exit_code());
        self.wait_for("cleanup", || self.leftovers().is_empty().then_some(()));
        code
    }

    /// Waits until the terminal has its earlier modes and screen, and all output has been read.
    pub fn expect_terminal_restored(&mut self) {
        self.wait_for("restored terminal", || {
            let is_plain = self.screen.inspect(|screen| {
                !screen.alternate_screen() && !screen.bracketed_paste() && !screen.hide_cursor()
            });
            (is_plain && self.screen.modes() == self.modes).then_some(())
        });
        // The terminal echoes this after all earlier output.
        self.screen.type_keys(END_MARK);
        self.wait_for("echo of the end mark", || {
            self.written().ends_with(END_MARK).then_some(())
        });
    }

    /// Processes except the shell, and temporary files.
    pub fn leftovers(&self) -> Vec<String> {
        self.sandbox.leftovers(&[self.screen.pid().cast_signed()])
    }

    /// Waits until `answer` returns a value.
    pub fn wait_for<T>(&self, what: &str, answer: impl FnMut() -> Option<T>) -> T {
        wait_at_most(DEADLINE, what, || self.captured(), answer)
    }

    /// Screen, output, modes and processes, for a failing test.
    pub fn captured(&self) -> String {
        format!(
            "the screen:\n{}\nwritten:\n{}\nmodes: {}\nand before: {}\nthere: {:#?}",
            self.screen.text(),
            self.written().escape_debug(),
            self.screen.modes(),
            self.modes,
            self.leftovers()
        )
    }
}
