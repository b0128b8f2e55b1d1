//! Opens the windows of a terminal emulator.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::launcher::display::emulator::find::FoundEmulator;
use crate::launcher::display::emulator::focus::FocusKeeper;
use crate::launcher::display::emulator::geometry::{self, Place, Tiling};
use crate::launcher::display::emulator::screen::Screen;
use crate::launcher::display::emulator::{Isolation, Opens, font_points, words};
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::locale;
use crate::launcher::process::ChildProcess;

/// The windows of one emulator.
pub(crate) struct EmulatorWindows {
    found: FoundEmulator,
    isolation: Isolation,
    /// Places for the windows. `None` if the size of the screen is not known.
    tiling: Option<Tiling>,
    /// Keeps the focus where it was while windows open. `None` without an X server.
    _focus: Option<FocusKeeper>,
    helper: Option<ChildProcess>,
}

impl EmulatorWindows {
    /// Prepares to open `count` windows. If `big`, they have large text.
    ///
    /// # Errors
    /// No temporary file can be made.
    pub(crate) fn new(found: FoundEmulator, big: bool, count: usize) -> io::Result<Self> {
        let cell = geometry::cell(font_points(big));
        let (screen, server) = Screen::find().unzip();
        Ok(Self {
            isolation: Isolation::new(big)?,
            tiling: screen.map(|screen| Tiling::new(&screen, cell, count)),
            // Ignore an error: without the thread `focus`, new windows get the focus, which is
            // harmless.
            _focus: server.and_then(|server| FocusKeeper::start(server).ok()),
            found,
            helper: None,
        })
    }

    /// The emulator's name.
    pub(crate) fn name(&self) -> &'static str {
        self.found.emulator.program
    }

    /// The place for one more window beside the open windows, whose places are `taken`. `None` if
    /// the size of the screen is not known.
    pub(crate) fn next_place(&mut self, taken: &[Place]) -> Option<Place> {
        Some(self.tiling.as_mut()?.next(taken))
    }

    /// Starts a process that opens a window with the client in it. Calls `on_end` when this process
    /// ends. If this call also starts the emulator's helper process, calls `on_end` when the helper
    /// ends, too.
    ///
    /// # Errors
    /// The program or a thread cannot be started, or no temporary file can be made.
    pub(crate) fn open(
        &mut self,
        window: &WindowSpec,
        on_end: impl Fn() + Clone + Send + 'static,
    ) -> io::Result<ChildProcess> {
        self.start_helper(window, on_end.clone())?;
        let emulator = self.found.program.as_path();
        let (program, mut arguments) = match &self.found.emulator.opens {
            Opens::Itself(arguments) | Opens::MaybeElsewhere(arguments) => {
                (emulator, arguments(window, &self.isolation))
            }
            Opens::ThroughHelper(helper, arguments) => {
                let mut script = words(&["-c", helper.when_ready, &self.isolation.app_id]);
                script.push(emulator.into());
                script.extend(arguments(window, &self.isolation));
                (Path::new("/bin/sh"), script)
            }
        };
        arguments.extend_from_slice(&window.client_command);
        start(program, &arguments, window, &window.title(), on_end)
    }

    /// Starts the emulator's helper. Does nothing if the emulator has no helper or the helper is
    /// running. A helper may end when its last window closes, so a later window may need a new
    /// helper.
    fn start_helper(
        &mut self,
        window: &WindowSpec,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let (Some(path), Opens::ThroughHelper(helper, _)) =
            (&self.found.helper, &self.found.emulator.opens)
        else {
            return Ok(());
        };
        if self
            .helper
            .as_ref()
            .is_some_and(|helper| helper.status().is_none())
        {
            return Ok(());
        }
        let arguments = (helper.arguments)(&self.isolation.app_id);
        self.helper = Some(start(path, &arguments, window, "windows", on_end)?);
        Ok(())
    }

    /// Whether to try again after a process has ended with this status and opened no window. True
    /// for status 0 if the emulator has a helper: a process that finds the helper not ready, or
    /// about to end, exits with 0 and reports the error only on stderr.
    pub(crate) fn is_worth_retrying(&self, status: ExitStatus) -> bool {
        self.helper.is_some() && status.success()
    }

    /// Whether another process may still open the window after the emulator's process ended with
    /// this status.
    pub(crate) fn may_open_elsewhere(&self, status: ExitStatus) -> bool {
        match &self.found.emulator.opens {
            Opens::Itself(_) | Opens::ThroughHelper(..) => false,
            Opens::MaybeElsewhere(_) => status.success(),
        }
    }

    /// The reason why no more windows can open, if the helper has failed.
    pub(crate) fn helper_failure(&self) -> Option<String> {
        let end = self.helper.as_ref()?.end()?;
        let name = format!("the server of {}", self.name());
        (!end.status.success()).then(|| end.reason(&name))
    }

    /// The emulator's helper process, or `None` if none was started.
    pub(crate) fn helper(&self) -> Option<&ChildProcess> {
        self.helper.as_ref()
    }

    /// The emulator's helper process, or `None` if none was started.
    pub(crate) fn into_helper(self) -> Option<ChildProcess> {
        self.helper
    }
}

/// Starts a program with the environment that the client of `window` needs. Captures stderr,
/// because emulators print warnings that matter only if no window opens.
fn start(
    program: &Path,
    arguments: &[OsString],
    window: &WindowSpec,
    thread: &str,
    on_end: impl FnOnce() + Send + 'static,
) -> io::Result<ChildProcess> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(window.environment.iter().map(|(name, value)| (name, value)))
        .envs(locale::utf8_override());
    ChildProcess::start_quiet(command, thread, on_end)
}
