//! A private desktop for a test: an X server, a session bus and a window manager.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub use super::sandbox::Process;
use super::sandbox::{MARK, Sandbox};
use super::wait::{DEADLINE, wait_at_most};

/// A running desktop. All of its processes end on drop.
pub struct Desktop {
    sandbox: Sandbox,
    display: String,
    bus: String,
    processes: Vec<Child>,
}

/// A window in the window manager's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub id: String,
    pub title: String,
}

impl Desktop {
    pub fn new() -> Self {
        let mut desktop = Self {
            sandbox: Sandbox::new(),
            display: String::new(),
            bus: String::new(),
            processes: Vec::new(),
        };
        for directory in ["home", "run", "bin"] {
            fs::create_dir(desktop.path(directory)).unwrap();
        }
        fs::set_permissions(desktop.path("run"), fs::Permissions::from_mode(0o700)).unwrap();

        let mut xvfb = Command::new("Xvfb");
        // Xvfb takes the first free display, and prints its number when the display is ready.
        xvfb.args([
            "-displayfd",
            "1",
            "-screen",
            "0",
            "1600x1000x24",
            "-noreset",
        ]);
        xvfb.args(["-nolisten", "tcp"]);
        desktop.display = format!(":{}", desktop.start_and_read_line(xvfb));

        let mut bus = desktop.command("dbus-daemon");
        bus.args(["--session", "--nofork", "--nopidfile", "--print-address=1"]);
        bus.env_remove(MARK);
        desktop.bus = desktop.start_and_read_line(bus);

        // The existence of openbox's check window does not mean that openbox is ready: a window
        // that opens shortly after it waits for 5 s. The startup command runs later.
        let ready = desktop.path("openbox-is-ready");
        let mut openbox = desktop.command("openbox");
        openbox.args(["--sm-disable", "--startup"]);
        openbox.arg(format!("touch {}", ready.display()));
        openbox.env_remove(MARK);
        openbox.stdout(Stdio::null()).stderr(Stdio::null());
        desktop.processes.push(openbox.spawn().expect("openbox"));
        wait_at_most(DEADLINE, "window manager", String::new, || {
            ready.exists().then_some(())
        });
        desktop
    }

    fn start_and_read_line(&mut self, mut command: Command) -> String {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let program = command.get_program().to_string_lossy().into_owned();
        let mut process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; `./run.sh test` installs it"));
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        self.processes.push(process);
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{program} printed nothing");
        line.trim().into()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path(name)
    }

    /// `TMPDIR` of the programs on this desktop.
    pub fn temp_dir(&self) -> PathBuf {
        self.sandbox.temp_dir()
    }

    /// The first directory on `PATH` here.
    pub fn programs(&self) -> PathBuf {
        self.path("bin")
    }

    /// Installs a shell script as a program that is found first on `PATH`.
    pub fn put_program(&self, name: &str, script: &str) {
        let path = self.programs().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The complete environment of the programs on this desktop.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let path = std::env::var("PATH").unwrap();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        vec![
            ("DBUS_SESSION_BUS_ADDRESS", self.bus.clone()),
            ("DISPLAY", self.display.clone()),
            ("GSETTINGS_BACKEND", "memory".into()),
            ("HOME", text(self.path("home"))),
            ("LANG", "C.UTF-8".into()),
            (MARK, text(self.sandbox.mark().into())),
            ("NO_AT_BRIDGE", "1".into()),
            ("PATH", format!("{}:{path}", text(self.programs()))),
            ("TERM", "xterm".into()),
            ("TMPDIR", text(self.temp_dir())),
            ("XDG_RUNTIME_DIR", text(self.path("run"))),
        ]
    }

    /// A command with this desktop's environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::null());
        command
    }

    /// Output of a desktop tool. The tool may fail, for example if a window has just closed.
    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = self.command(program);
        let output = command
            .args(arguments)
            .env_remove(MARK)
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}; `./run.sh test` installs it"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// All windows whose titles begin with `title`.
    pub fn windows(&self, title: &str) -> Vec<Window> {
        let list = self.ask("wmctrl", &["-l"]);
        let mut windows: Vec<Window> = list
            .lines()
            .filter_map(|line| {
                // Columns: ID, desktop, machine, title.
                let mut words = line.split_whitespace();
                let id = words.next()?.into();
                let title = words.skip(2).collect::<Vec<_>>().join(" ");
                Some(Window { id, title })
            })
            .filter(|window| window.title.starts_with(title))
            .collect();
        windows.sort_by(|a, b| a.title.cmp(&b.title));
        windows
    }

    /// The title of the window that has the focus; empty if there is none.
    pub fn active_title(&self) -> String {
        let title = self.ask("xdotool", &["getactivewindow", "getwindowname"]);
        title.trim().into()
    }

    /// Raises a window and focuses it, until it keeps the focus: the launcher may move the focus
    /// away from a new window once.
    pub fn activate(&self, window: &Window) {
        let id = u64::from_str_radix(window.id.trim_start_matches("0x"), 16).unwrap();
        let is_active = || {
            let ask = |what| self.ask("xdotool", &[what]).trim().parse::<u64>().ok();
            // Some programs move the focus to a child window.
            [ask("getwindowfocus"), ask("getactivewindow")].contains(&Some(id))
        };
        wait_at_most(DEADLINE, "active window", String::new, || {
            self.ask("wmctrl", &["-ia", &window.id]);
            (0..5).all(|_| is_active()).then_some(())
        });
    }

    /// Types a line and Enter in a window.
    pub fn type_in(&self, window: &Window, line: &str) {
        self.activate(window);
        self.ask("xdotool", &["type", "--delay", "5", line]);
        self.ask("xdotool", &["key", "Return"]);
    }

    /// Presses a key in a window.
    pub fn press_in(&self, window: &Window, key: &str) {
        self.activate(window);
        self.ask("xdotool", &["key", key]);
    }

    /// Text in a window, read as a user would: by selecting it with the mouse.
    pub fn text_in(&self, window: &Window) -> String {
        self.activate(window);
        // Otherwise an earlier selection would be returned if nothing can be selected now.
        self.clear_selection();
        let [x, y, width, height] = self.geometry(window);
        // From the end to the beginning, since some windows have a menu above the text.
        let (right, bottom) = ((x + width - 40).to_string(), (y + height - 8).to_string());
        let (x, y) = ((x + 3).to_string(), (y + 6).to_string());
        let drag = [
            "mousemove",
            &right,
            &bottom,
            "mousedown",
            "1",
            "mousemove",
            &x,
            &y,
            "mousemove",
            &x,
            &y,
            "mouseup",
            "1",
        ];
        self.ask("xdotool", &drag);
        self.ask("xclip", &["-o", "-selection", "primary"])
    }

    /// Width of a window in pixels, without its frame.
    pub fn width_of(&self, window: &Window) -> i32 {
        self.geometry(window)[2]
    }

    /// Left, top, width and height of a window in pixels, without its frame.
    pub fn geometry(&self, window: &Window) -> [i32; 4] {
        let text = self.ask("xwininfo", &["-id", &window.id]);
        let names = [
            "Absolute upper-left X:",
            "Absolute upper-left Y:",
            "Width:",
            "Height:",
        ];
        names.map(|name| {
            let line = text.lines().find(|line| line.contains(name));
            let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
            number.unwrap_or_default()
        })
    }

    /// Replaces the selection with an empty one.
    pub fn clear_selection(&self) {
        // xclip stays in the background until another program takes the selection.
        let mut xclip = self.command("xclip");
        xclip.args(["-i", "-selection", "primary"]);
        xclip.env_remove(MARK);
        xclip.stdout(Stdio::null()).stderr(Stdio::null());
        xclip.status().unwrap();
    }

    /// Closes a window as its close button would.
    pub fn close(&self, window: &Window) {
        self.ask("wmctrl", &["-ic", &window.id]);
    }

    /// Saves a picture of a window, or of the whole screen.
    pub fn screenshot(&self, window: Option<&Window>, path: &Path) {
        let window = window.map_or("root", |window| &window.id);
        self.ask("import", &["-window", window, path.to_str().unwrap()]);
    }

    /// The running processes that were started here.
    pub fn running(&self) -> Vec<Process> {
        self.sandbox.running()
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        // A failed test may have left processes.
        self.sandbox.kill_all();
        // End clients before the servers that they use. X servers and openbox delete their files on
        // SIGTERM.
        for mut process in self.processes.drain(..).rev() {
            let pid = rustix::process::Pid::from_child(&process);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = process.wait();
        }
    }
}
