//! A place of a test's own: a folder, and a mark by which everything that was started there is told from all else on the machine.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Variable that says in which place a process was started, its value being [`Place::mark`].
pub const MARK: &str = "CHAT_TEST_MARK";

/// See the top. Dropping it ends what is left there.
pub struct Place(TempDir);

/// A process that was started there, directly or not.
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

impl Place {
    pub fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        fs::create_dir(place.temporary()).unwrap();
        place
    }

    /// What it is known by.
    pub fn mark(&self) -> &Path {
        self.0.path()
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The temporary folder of what runs there.
    pub fn temporary(&self) -> PathBuf {
        self.path("tmp")
    }

    /// Everything that was started there and still runs.
    pub fn running(&self) -> Vec<Process> {
        let mark = format!("{MARK}={}", self.mark().display());
        let is_marked = |pid: i32| {
            // Of one that has ended there is nothing to be read.
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

    /// All processes but those in `before`, and all temporary files.
    pub fn left(&self, before: &[i32]) -> Vec<String> {
        let processes = self.running().into_iter();
        let processes = processes.filter(|process| !before.contains(&process.pid));
        let files = fs::read_dir(self.temporary()).unwrap().flatten();
        processes
            .map(|process| format!("{process:?}"))
            .chain(files.map(|file| format!("file {}", file.path().display())))
            .collect()
    }

    /// Kills all that was started there.
    pub fn end_all(&self) {
        for process in self.running() {
            if let Some(pid) = Pid::from_raw(process.pid) {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.end_all();
    }
}
