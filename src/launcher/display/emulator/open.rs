//! Windows, opened by a terminal emulator.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Result, anyhow, bail};

use crate::cli::Terminal;
use crate::launcher::display::emulator::geometry::{self, Place};
use crate::launcher::display::emulator::{
    EMULATORS, Found, Look, Needs, Opens, points, terminator_config, words,
};
use crate::launcher::display::tmux;
use crate::launcher::locale;
use crate::launcher::process::ChildProcess;
use crate::os::Scratch;

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
    helper: Option<ChildProcess>,
    panes: tmux::Panes,
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
    ) -> io::Result<Option<ChildProcess>> {
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
        if self
            .helper()
            .is_some_and(|helper| helper.status().is_none())
        {
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
        let end = self.helper.as_ref().and_then(ChildProcess::end)?;
        let name = format!("the server of {}", self.name());
        (!end.status.success()).then(|| end.reason(&name))
    }

    /// As [`tmux::Panes::take_note`].
    pub(crate) fn take_note(&mut self) -> Option<String> {
        self.panes.take_note()
    }

    /// The helper, where there is one.
    pub(crate) fn helper(&self) -> Option<&ChildProcess> {
        self.helper.as_ref()
    }

    /// What is left of it.
    pub(crate) fn into_helper(self) -> Option<ChildProcess> {
        self.helper
    }
}

fn start(
    program: &Path,
    arguments: &[OsString],
    environment: &[(&str, OsString)],
    thread: &str,
    on_end: impl FnOnce() + Send + 'static,
) -> io::Result<ChildProcess> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .envs(locale::utf8_override());
    ChildProcess::start_quiet(command, thread, on_end)
}
