//! A temporary directory and an environment variable that identifies the processes started in it.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Environment variable with the sandbox of a process; the value is [`Sandbox::mark`].
pub const MARK: &str = "CHAT_TEST_MARK";

/// A directory and the processes marked with it, which are killed on drop.
pub struct Sandbox(TempDir);

/// A process started in a sandbox, or a descendant of one.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub arguments: Vec<String>,
}

impl Process {
    /// Whether it runs `program`.
    pub fn is(&self, program: &str) -> bool {
        Path::new(&self.arguments[0]).ends_with(program)
    }
}

impl Sandbox {
    pub fn new() -> Self {
        let sandbox = Self(TempDir::new().unwrap());
        fs::create_dir(sandbox.temp_dir()).unwrap();
        sandbox
    }

    /// The sandbox's directory, which is also the value of [`MARK`].
    pub fn mark(&self) -> &Path {
        self.0.path()
    }

    /// Path of a file or directory in the sandbox.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `TMPDIR` of the processes in the sandbox.
    pub fn temp_dir(&self) -> PathBuf {
        self.path("tmp")
    }

    /// The running processes with this sandbox's mark.
    pub fn running(&self) -> Vec<Process> {
        let mark = format!("{MARK}={}", self.mark().display());
        let is_marked = |pid: i32| {
            // A process that has exited has no environment.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|&byte| byte == 0)
                .any(|variable| variable == mark.as_bytes())
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|&pid| is_marked(pid))
            .filter_map(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
                let line = String::from_utf8_lossy(&line);
                let arguments = line.split_terminator('\0').map(Into::into).collect();
                Some(Process { pid, arguments })
            })
            .filter(|process| !process.arguments.is_empty())
            .collect()
    }

    /// Descriptions of all processes except those in `before`, and of all temporary files except
    /// xterm's and Alacritty's log: both leave theirs if they get SIGTERM, as after a second
    /// Ctrl+C, or if they take longer to start or exit than chat-run waits.
    pub fn leftovers(&self, before: &[i32]) -> Vec<String> {
        let processes = self.running().into_iter();
        let processes = processes.filter(|process| !before.contains(&process.pid));
        let files = fs::read_dir(self.temp_dir()).unwrap().flatten();
        let files = files.map(|file| format!("file {}", file.path().display()));
        let is_emulators = |file: &str| file.contains("/xtermXX") || file.contains("/Alacritty-");
        processes
            .map(|process| format!("{process:?}"))
            .chain(files.filter(|file| !is_emulators(file)))
            .collect()
    }

    /// Kills all processes of the sandbox.
    pub fn kill_all(&self) {
        for process in self.running() {
            if let Some(pid) = Pid::from_raw(process.pid) {
                // It may have exited already.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.kill_all();
    }
}
