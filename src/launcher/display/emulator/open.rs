//! Windows, opened by a terminal emulator.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::LazyLock;

use anyhow::{Result, anyhow, bail};

use crate::cli::Terminal;
use crate::launcher::display::emulator::geometry::{self, Place};
use crate::launcher::display::emulator::{
    EMULATORS, Found, Look, Needs, Opens, points, terminator_config, words,
};
use crate::launcher::display::tmux;
use crate::launcher::process::ChildProcess;
use crate::os::Scratch;
use crate::protocol::text;

/// What works everywhere.
pub(crate) const ALONE: &str =
    "`-t none` starts the server alone, to be joined from other terminals";

/// The emulators that may open the windows, best first.
///
/// # Errors
/// There is none: says why.
pub(crate) fn candidates(terminal: Terminal) -> Result<Vec<Found>> {
    if terminal != Terminal::Auto {
        return EMULATORS
            .iter()
            .filter(|emulator| emulator.choice == terminal)
            .map(|emulator| {
                emulator.find().map_err(|error| {
                    if emulator.needs.has_display() {
                        error
                    } else {
                        anyhow!("{error}; {ALONE}")
                    }
                })
            })
            .collect();
    }
    let automatic = || EMULATORS.iter().filter(|emulator| emulator.is_automatic());
    let found: Vec<Found> = automatic()
        .filter_map(|emulator| emulator.find().ok())
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    if !Needs::Display.has_display() {
        bail!("there is no display for the windows: neither DISPLAY nor WAYLAND_DISPLAY is set");
    }
    let reasons: Vec<String> = automatic()
        .filter_map(|emulator| emulator.find().err())
        .map(|error| format!("\n  {error}"))
        .collect();
    Err(anyhow!(
        "there is no terminal emulator for the windows:{}",
        reasons.concat()
    ))
}

/// Opens windows with one emulator.
pub(crate) struct Opener {
    found: Found,
    big: bool,
    /// The name of the private server on the session bus.
    app: String,
    config: Scratch,
    helper: Option<WindowProcess>,
    panes: tmux::Panes,
}

/// A process that shows a window, or has it shown.
pub(crate) struct WindowProcess {
    pub(crate) child: ChildProcess,
    /// What it writes to stderr, where that is not shown anyway.
    complaints: Option<Scratch>,
}

/// How such a process ended.
pub(crate) struct WindowProcessEnd {
    pub(crate) status: ExitStatus,
    /// The last line that it wrote to stderr, as a reason to show; empty where it wrote none.
    last_words: String,
}

impl WindowProcessEnd {
    /// Why there is no window, when the process is called `name`.
    pub(crate) fn reason(&self, name: &str) -> String {
        format!("{name} ended ({}){}", self.status, self.last_words)
    }
}

impl WindowProcess {
    /// One whose stderr is shown.
    pub(crate) fn of(child: ChildProcess) -> Self {
        let complaints = None;
        Self { child, complaints }
    }

    /// How it ended, where it has.
    pub(crate) fn ended(&self) -> Option<WindowProcessEnd> {
        let status = self.child.ended()?;
        let complaints = self.complaints.as_ref();
        let last_words =
            complaints.map_or_else(String::new, |complaints| last_line(complaints.file()));
        Some(WindowProcessEnd { status, last_words })
    }
}

/// The last line of a file, as a reason to show; empty where there is none.
fn last_line(file: &File) -> String {
    let mut bytes = vec![0; 4096];
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let start = length.saturating_sub(bytes.len() as u64);
    let count = file.read_at(&mut bytes, start).unwrap_or(0);
    let said = String::from_utf8_lossy(&bytes[..count]);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(String::new, |line| {
        format!(": {}", text::clean(line.trim()))
    })
}

impl Opener {
    /// # Errors
    /// No temporary file is to be had.
    pub(crate) fn new(found: Found, big: bool) -> io::Result<Self> {
        let app = format!("org.chatrun.S{}", std::process::id());
        Ok(Self {
            config: Scratch::new(terminator_config(big).as_bytes())?,
            found,
            big,
            app,
            helper: None,
            panes: tmux::Panes::default(),
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.found.emulator.program
    }

    /// Places for `count` windows with these letters, where the size of the screen can be known.
    pub(crate) fn places(&self, count: usize) -> Vec<Place> {
        geometry::screen().map_or_else(Vec::new, |screen| {
            geometry::tile(screen, geometry::cell(points(self.big)), count)
        })
    }

    /// Starts what opens a window with `client` in it, or opens a pane of tmux. `on_end` is called when what was started, or the helper, has ended.
    ///
    /// # Errors
    /// The program cannot be started, there is no memory or thread for it, or tmux has none for a pane.
    pub(crate) fn open(
        &mut self,
        title: &str,
        place: Option<Place>,
        client: &[OsString],
        environment: &[(&str, OsString)],
        on_end: impl Fn() + Clone + Send + 'static,
    ) -> io::Result<Option<WindowProcess>> {
        self.start_helper(environment, on_end.clone())?;
        let look = Look {
            title,
            place,
            big: self.big,
            app: &self.app,
            config: self.config.path(),
        };
        let program = self.found.program.as_path();
        let (program, mut arguments) = match &self.found.emulator.opens {
            Opens::Itself(arguments) | Opens::Elsewhere(arguments) => (program, arguments(&look)),
            Opens::Through(helper, arguments) => {
                let mut script = words(&["-c", helper.when_ready, &self.app]);
                script.push(program.into());
                script.extend(arguments(&look));
                (Path::new("/bin/sh"), script)
            }
            Opens::Pane => {
                self.panes.open(program, title, client, environment)?;
                return Ok(None);
            }
        };
        arguments.extend_from_slice(client);
        start(program, &arguments, environment, title, on_end).map(Some)
    }

    /// Starts the helper where there is to be one that runs: it may end when its last window closes.
    fn start_helper(
        &mut self,
        environment: &[(&str, OsString)],
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let (Some(path), Opens::Through(helper, _)) =
            (&self.found.helper, &self.found.emulator.opens)
        else {
            return Ok(());
        };
        if self.helper().is_some_and(|helper| helper.ended().is_none()) {
            return Ok(());
        }
        let arguments = (helper.arguments)(&self.app);
        self.helper = Some(start(path, &arguments, environment, "windows", on_end)?);
        Ok(())
    }

    /// Whether a program that ended without a window is worth another try: its helper was not ready yet, or just ending, which it says
    /// by nothing but an error on stderr.
    pub(crate) fn may_try_again(&self, status: ExitStatus) -> bool {
        self.helper.is_some() && status.success()
    }

    /// Whether a program that ended without a window may have left it to another process, from which it may still come.
    pub(crate) fn has_handed_over(&self, status: ExitStatus) -> bool {
        match &self.found.emulator.opens {
            Opens::Itself(_) | Opens::Through(..) | Opens::Pane => false,
            Opens::Elsewhere(_) => status.success(),
        }
    }

    /// Why no window can come any more, where the helper has failed.
    pub(crate) fn failure(&self) -> Option<String> {
        let end = self.helper.as_ref().and_then(WindowProcess::ended)?;
        let name = format!("the server of {}", self.name());
        (!end.status.success()).then(|| end.reason(&name))
    }

    /// As [`tmux::Panes::take_note`].
    pub(crate) fn take_note(&mut self) -> Option<String> {
        self.panes.take_note()
    }

    /// The helper, where there is one.
    pub(crate) fn helper(&self) -> Option<&ChildProcess> {
        self.helper.as_ref().map(|helper| &helper.child)
    }

    /// What is left of it.
    pub(crate) fn into_helper(self) -> Option<ChildProcess> {
        self.helper.map(|helper| helper.child)
    }
}

fn start(
    program: &Path,
    arguments: &[OsString],
    environment: &[(&str, OsString)],
    thread: &str,
    on_end: impl FnOnce() + Send + 'static,
) -> io::Result<WindowProcess> {
    // Emulators grumble about much that is of no interest, unless no window comes of it.
    let complaints = Scratch::new(b"")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(complaints.file().try_clone()?)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .envs(utf8_locale());
    let (child, ()) = ChildProcess::start(command, thread, |_| (), on_end)?;
    let complaints = Some(complaints);
    Ok(WindowProcess { child, complaints })
}

/// What mends a locale that is not UTF-8, or not there, in which gnome-terminal does not start and xterm shows no `ł`.
fn utf8_locale() -> Option<(&'static str, &'static str)> {
    static IS_THERE: LazyLock<bool> = LazyLock::new(locale_is_there);
    let (variable, value) = locale();
    if is_utf8(&value) && *IS_THERE {
        return None;
    }
    // LC_ALL goes before LC_CTYPE, and that before LANG (locale(7)).
    let mend = if variable == "LC_ALL" {
        "LC_ALL"
    } else {
        "LC_CTYPE"
    };
    Some((mend, "C.UTF-8"))
}

/// Whether the locale that is asked for is UTF-8.
pub(crate) fn wants_utf8() -> bool {
    is_utf8(&locale().1)
}

/// The locale of letters that is asked for, and by which variable.
fn locale() -> (&'static str, OsString) {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| Some((name, env::var_os(name).filter(|value| !value.is_empty())?)))
        .unwrap_or(("LANG", OsString::new()))
}

/// Whether programs get the UTF-8 that is asked for. One gets a locale by ssh, for instance, that is not installed.
fn locale_is_there() -> bool {
    let mut locale = Command::new("locale");
    locale.arg("charmap").process_group(0).stdin(Stdio::null());
    let output = locale
        .output()
        .ok()
        .filter(|output| output.status.success());
    // Where nobody can tell, it is believed.
    output.is_none_or(|output| output.stdout.trim_ascii() == b"UTF-8")
}

fn is_utf8(locale: &OsStr) -> bool {
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_is_utf8_however_it_is_spelt() {
        for locale in ["C.UTF-8", "pl_PL.utf8", "en_GB.UTF-8@euro"] {
            assert!(is_utf8(OsStr::new(locale)), "{locale}");
        }
        for locale in ["", "C", "POSIX", "pl_PL", "pl_PL.ISO-8859-2"] {
            assert!(!is_utf8(OsStr::new(locale)), "{locale}");
        }
    }
}
