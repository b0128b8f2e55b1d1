//! A desktop of a test's own: an X server, a session bus and a window manager, and a look at what runs on it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub use super::place::Process;
use super::place::{MARK, Place};
use super::wait::{DEADLINE, wait_at_most};

/// See the top. Dropping it ends all of it.
pub struct Desktop {
    place: Place,
    display: String,
    bus: String,
    processes: Vec<Child>,
}

/// A window, as the window manager lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub id: String,
    pub title: String,
}

impl Desktop {
    pub fn new() -> Self {
        let mut desktop = Self {
            place: Place::new(),
            display: String::new(),
            bus: String::new(),
            processes: Vec::new(),
        };
        for folder in ["home", "run", "bin"] {
            fs::create_dir(desktop.path(folder)).unwrap();
        }
        fs::set_permissions(desktop.path("run"), fs::Permissions::from_mode(0o700)).unwrap();

        let mut xvfb = Command::new("Xvfb");
        // It takes the first display that is free, and says which one when it is ready.
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

        // What is known to be ready before that: its check window. A window that opens between the two waits for 5 s.
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
        assert!(!line.is_empty(), "{program} said nothing");
        line.trim().into()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }

    /// The temporary folder of what runs here.
    pub fn temporary(&self) -> PathBuf {
        self.place.temporary()
    }

    /// A folder that is first on PATH here.
    pub fn programs(&self) -> PathBuf {
        self.path("bin")
    }

    /// Puts a shell script first on PATH.
    pub fn put_program(&self, name: &str, script: &str) {
        let path = self.programs().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The whole environment of what runs here.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let path = std::env::var("PATH").unwrap();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        vec![
            ("DBUS_SESSION_BUS_ADDRESS", self.bus.clone()),
            ("DISPLAY", self.display.clone()),
            ("GSETTINGS_BACKEND", "memory".into()),
            ("HOME", text(self.path("home"))),
            ("LANG", "C.UTF-8".into()),
            (MARK, text(self.place.mark().into())),
            ("NO_AT_BRIDGE", "1".into()),
            ("PATH", format!("{}:{path}", text(self.programs()))),
            ("TERM", "xterm".into()),
            ("TMPDIR", text(self.temporary())),
            ("XDG_RUNTIME_DIR", text(self.path("run"))),
        ]
    }

    /// A command that runs here.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::null());
        command
    }

    /// What a tool of the desktop prints. It may fail, as when a window has just gone.
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
                // ID, desktop, machine, title.
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

    /// Brings a window to the front and gives it the keyboard.
    pub fn activate(&self, window: &Window) {
        let id = u64::from_str_radix(window.id.trim_start_matches("0x"), 16).unwrap();
        wait_at_most(DEADLINE, "active window", String::new, || {
            self.ask("wmctrl", &["-ia", &window.id]);
            let active = self.ask("xdotool", &["getwindowfocus"]);
            let active = active.trim().parse::<u64>().ok()?;
            // Some have the keyboard in a window inside of their own.
            let owner = self.ask("xdotool", &["getactivewindow"]);
            (active == id || owner.trim().parse::<u64>().ok()? == id).then_some(())
        });
    }

    /// Types a line in a window, and Enter.
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

    /// The text that a window shows, taken as a user would: by marking it with the mouse.
    pub fn text_in(&self, window: &Window) -> String {
        self.activate(window);
        // Else what was marked before would still be there where nothing can be marked now.
        self.unmark();
        let [x, y, width, height] = self.geometry(window);
        // From the end to the beginning, above which some have a menu.
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

    /// The width of a window in pixels, without its frame.
    pub fn width_of(&self, window: &Window) -> i32 {
        self.geometry(window)[2]
    }

    /// Left edge, upper edge, width and height of a window in pixels, without its frame.
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

    /// Takes the mark from what is marked: an empty one, of nobody's, stands in its place.
    pub fn unmark(&self) {
        // It runs until something else is marked.
        let mut nobody = self.command("xclip");
        nobody.args(["-i", "-selection", "primary"]);
        nobody.env_remove(MARK);
        nobody.stdout(Stdio::null()).stderr(Stdio::null());
        nobody.status().unwrap();
    }

    /// Closes a window as its close button does.
    pub fn close(&self, window: &Window) {
        self.ask("wmctrl", &["-ic", &window.id]);
    }

    /// Takes a picture of the whole screen.
    pub fn screenshot(&self, path: &Path) {
        self.ask("import", &["-window", "root", path.to_str().unwrap()]);
    }

    /// Everything that was started here and still runs.
    pub fn running(&self) -> Vec<Process> {
        self.place.running()
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        // What a failed test has left.
        self.place.end_all();
        // Clients before what they use. X servers and openbox take their files with them on SIGTERM.
        for mut process in self.processes.drain(..).rev() {
            let pid = rustix::process::Pid::from_child(&process);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = process.wait();
        }
    }
}
