//! A program that is started as a user does it: by a shell with job control, on a terminal, in a place of its own.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use rustix::process::Pid;

use super::place::{MARK, Place};
use super::screen::Screen;
use super::wait::{DEADLINE, wait_at_most};

/// Waits for Enter, runs what it is given as a job in the foreground, writes its exit code to the file `$0`, and goes on for as long as it is
/// looked at.
const SCRIPT: &str =
    r#"trap : INT; printf ready; read -r enter; "$@"; echo "$?" >"$0"; exec sleep 600"#;

/// Typed when all is over.
const BEHIND: &str = "behind";

/// See the top.
pub struct Shell {
    pub place: Place,
    pub screen: Screen,
    /// How the terminal was before.
    modes: String,
}

impl Shell {
    /// A shell that is about to run `command`, which has nothing in its environment by which a window could be opened, but what `environment`
    /// has.
    pub fn new(command: &[OsString], environment: &[(&str, OsString)]) -> Self {
        let place = Place::new();
        fs::create_dir(place.path("home")).unwrap();
        let mut shell = Command::new("sh");
        shell
            .args(["-mc", SCRIPT])
            .arg(place.path("code"))
            .args(command);
        shell.current_dir(place.mark());
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
            .env("HOME", place.path("home"))
            .env("TMPDIR", place.temporary())
            .env(MARK, place.mark());
        let screen = Screen::start(&shell, 170, 50);
        screen.expect("ready");
        let modes = screen.modes();
        Self {
            place,
            screen,
            modes,
        }
    }

    /// Has it run its command.
    pub fn go(&mut self) {
        self.screen.type_keys("\r");
    }

    /// Waits for the process that becomes the command, and gets what is typed.
    pub fn job(&self) -> Pid {
        let shell = self.screen.pid().cast_signed();
        self.wait_for("job", || {
            let status = procfs::process::Process::new(shell).ok()?.stat().ok()?;
            let foreground = Pid::from_raw(status.tpgid)?;
            (foreground.as_raw_nonzero().get() != shell).then_some(foreground)
        })
    }

    /// All that was written to the terminal so far.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.screen.bytes()).into_owned()
    }

    /// The exit code of the command, when it has ended; that of one that was ended by a signal is 128 and the signal's number.
    pub fn code(&self) -> Option<i32> {
        let code = fs::read_to_string(self.place.path("code")).ok()?;
        code.strip_suffix('\n')?.parse().ok()
    }

    /// Waits until the command has ended and nothing is left of it, and gives the exit code.
    pub fn end(&self) -> i32 {
        let code = self.wait_for("end", || self.code());
        self.wait_for("clean end", || self.left().is_empty().then_some(()));
        code
    }

    /// Waits until the terminal is as a shell expects it, with what was on it before, and all that was written has been read.
    pub fn expect_given_back(&mut self) {
        self.wait_for("terminal as it was", || {
            let is_plain = self.screen.look(|screen| {
                !screen.alternate_screen() && !screen.bracketed_paste() && !screen.hide_cursor()
            });
            (is_plain && self.screen.modes() == self.modes).then_some(())
        });
        // The terminal shows what is typed behind what was written before.
        self.screen.type_keys(BEHIND);
        self.wait_for("what is typed", || {
            self.written().ends_with(BEHIND).then_some(())
        });
    }

    /// What there is beside the shell.
    pub fn left(&self) -> Vec<String> {
        self.place.left(&[self.screen.pid().cast_signed()])
    }

    /// Waits until there is an answer.
    pub fn wait_for<T>(&self, what: &str, answer: impl FnMut() -> Option<T>) -> T {
        wait_at_most(DEADLINE, what, || self.captured(), answer)
    }

    /// Everything that is known, for a test that fails.
    pub fn captured(&self) -> String {
        format!(
            "the screen:\n{}\nwritten:\n{}\nmodes: {}\nand before: {}\nthere: {:#?}",
            self.screen.text(),
            self.written().escape_debug(),
            self.screen.modes(),
            self.modes,
            self.left()
        )
    }
}
