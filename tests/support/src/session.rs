//! A `chat-run` session in a terminal, and checks that it cleans up.

use std::fs;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::thread;

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, getsid};

use super::bin;
use super::desktop::{Desktop, Process, Window};
use super::wait::{DEADLINE, wait_at_most};

/// A session of `chat-run` on a desktop.
pub struct Session<'a> {
    pub desktop: &'a Desktop,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    /// Held open; otherwise the session would get SIGHUP.
    _terminal: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    shown: Arc<Mutex<Vec<u8>>>,
    port: Option<u16>,
}

impl<'a> Session<'a> {
    /// Starts `chat-run` with `arguments` in a new terminal.
    pub fn start(desktop: &'a Desktop, arguments: &[&str]) -> Self {
        Self::start_with(desktop, arguments, |_| {})
    }

    /// As [`Session::start`], after `change` has changed the command.
    pub fn start_with(
        desktop: &'a Desktop,
        arguments: &[&str],
        change: impl FnOnce(&mut CommandBuilder),
    ) -> Self {
        Self::start_program(desktop, &bin("chat-run"), arguments, change)
    }

    /// As [`Session::start_with`], for a program that runs `chat-run`.
    pub fn start_program(
        desktop: &'a Desktop,
        program: &str,
        arguments: &[&str],
        change: impl FnOnce(&mut CommandBuilder),
    ) -> Self {
        let size = PtySize {
            rows: 50,
            cols: 200,
            ..PtySize::default()
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(arguments);
        command.env_clear();
        for (name, value) in desktop.environment() {
            command.env(name, value);
        }
        command.cwd(desktop.temp_dir());
        change(&mut command);
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let writer = pair.master.take_writer().unwrap();
        let into = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                into.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self {
            desktop,
            child,
            _terminal: pair.master,
            keyboard: writer,
            shown,
            port: None,
        }
    }

    /// All output to the terminal so far.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Output, processes and windows, for a failing test.
    pub fn captured(&self) -> String {
        format!(
            "{}\nprocesses: {:#?}\nwindows: {:#?}",
            self.shown(),
            self.desktop.running(),
            self.desktop.windows("")
        )
    }

    /// Waits until `answer` returns a value.
    pub fn wait_for<T>(&self, what: &str, answer: impl FnMut() -> Option<T>) -> T {
        wait_at_most(DEADLINE, what, || self.captured(), answer)
    }

    /// Waits until the terminal shows `text`.
    pub fn wait_for_text(&self, text: &str) {
        self.wait_for(&format!("`{text}`"), || {
            self.shown().contains(text).then_some(())
        });
    }

    /// Waits for the server's port.
    pub fn port(&mut self) -> u16 {
        let port = self.wait_for("port", || {
            let shown = self.shown();
            // The console may have drawn its line before this message.
            let (_, address) = shown.split_once("listening on ")?;
            let (address, _) = address.split_once('\n')?;
            address.trim_end().rsplit_once(':')?.1.parse().ok()
        });
        self.port = Some(port);
        port
    }

    /// Waits until `names` have joined and their windows are open. Returns the windows by title.
    pub fn wait_for_members(&mut self, names: &[&str]) -> Vec<Window> {
        self.port();
        for name in names {
            self.wait_for_text(&format!("{name} joined"));
        }
        self.wait_for_windows(names.len())
    }

    /// Waits until `count` client windows are open and returns them by title.
    pub fn wait_for_windows(&self, count: usize) -> Vec<Window> {
        self.wait_for(&format!("list of {count} windows"), || {
            let windows = self.desktop.windows("chat ");
            (windows.len() == count).then_some(windows)
        })
    }

    /// Waits for a process of `program` with this argument.
    pub fn process(&self, program: &str, argument: &str) -> Process {
        self.wait_for(&format!("{program} with {argument}"), || {
            self.desktop.running().into_iter().find(|process| {
                process.is(program) && process.arguments.iter().any(|a| a == argument)
            })
        })
    }

    /// Types in the terminal.
    pub fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    pub fn ctrl_c(&mut self) {
        self.type_in("\x03");
    }

    pub fn signal(&mut self, signal: Signal) {
        let pid = i32::try_from(self.child.process_id().unwrap()).unwrap();
        send(pid, signal);
    }

    /// Waits until `chat-run` exits and returns its exit code.
    pub fn wait(&mut self) -> u32 {
        let child = &mut self.child;
        let shown = || String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned();
        wait_at_most(DEADLINE, "end of chat-run", shown, || {
            let status = child.try_wait().unwrap()?;
            Some(status.exit_code())
        })
    }

    /// Waits until no process, window, socket or file of the session remains.
    pub fn wait_for_cleanup(&self) {
        wait_at_most(
            DEADLINE,
            "cleanup",
            || format!("{}\nleft: {:#?}", self.captured(), self.leftovers()),
            || self.leftovers().is_empty().then_some(()),
        );
    }

    /// Checks right after `chat-run` has exited that nothing remains, because it waits for
    /// everything that it can. Anything else may take until [`DEADLINE`].
    pub fn assert_cleaned_up(&self) {
        let running = self.desktop.running().into_iter();
        let left: Vec<String> = running
            .filter(|process| !is_kitty_helper(process))
            .map(|process| format!("process {process:?}"))
            .chain(self.leftover_files_and_sockets())
            .collect();
        assert!(left.is_empty(), "left: {left:#?}\n{}", self.captured());
        self.wait_for_cleanup();
    }

    fn leftovers(&self) -> Vec<String> {
        let processes = self.desktop.running().into_iter();
        // The window manager may notice a closed window late.
        let windows = self.desktop.windows("chat ").into_iter();
        processes
            .map(|process| format!("process {process:?}"))
            .chain(windows.map(|window| format!("window {window:?}")))
            .chain(self.leftover_files_and_sockets())
            .collect()
    }

    fn leftover_files_and_sockets(&self) -> Vec<String> {
        let files = fs::read_dir(self.desktop.temp_dir()).unwrap().flatten();
        let mut left: Vec<String> = files
            .map(|file| format!("file {}", file.path().display()))
            .collect();
        if let Some(port) = self.port {
            let hexadecimal = format!(":{port:04X} ");
            for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
                let sockets = fs::read_to_string(table).unwrap_or_default();
                // State 0A is LISTEN (proc_pid_net(5)).
                let listening = |line: &&str| line.contains(&hexadecimal) && line.contains(" 0A ");
                left.extend(
                    sockets
                        .lines()
                        .filter(listening)
                        .map(|line| format!("socket {line}")),
                );
            }
        }
        let pid = self.child.process_id().unwrap_or_default();
        let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        let ours = |line: &&str| line.contains(&format!("chat-run-{pid}-"));
        left.extend(
            sockets
                .lines()
                .filter(ours)
                .map(|line| format!("socket {line}")),
        );
        left
    }
}

/// Whether this is the process that kitty forks to open windows faster (kitty/prewarm.py in 0.26).
/// It leads a session of its own, so a signal to kitty's group does not reach it, and exits once it
/// notices that kitty has. A process that has exited by now counts as well.
fn is_kitty_helper(process: &Process) -> bool {
    let pid = Pid::from_raw(process.pid);
    process.is("kitty") && getsid(pid).map_or(true, |session| Some(session) == pid)
}

/// Sends a signal to one process.
pub fn send(pid: i32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}
