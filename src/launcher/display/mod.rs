//! Displays, which show the clients: windows of a terminal emulator, panes of the tmux in which
//! chat-run runs, or built-in panes in chat-run's own terminal.

pub(crate) mod emulator;
mod package;
pub(crate) mod panes;
pub(crate) mod tmux;
pub(crate) mod window_spec;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use anyhow::{Result, bail};

use crate::cli::Terminal;
use crate::launcher::display::emulator::EMULATORS;
use crate::launcher::display::emulator::find::{self, FoundEmulator, NO_WINDOWS_ADVICE};
use crate::launcher::display::emulator::geometry::Place;
use crate::launcher::display::emulator::open::EmulatorWindows;
use crate::launcher::display::panes::Panes;
use crate::launcher::display::tmux::TmuxPanes;
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::process::ChildProcess;

/// A backend: a kind of display that is available here and can be tried.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    Emulator(FoundEmulator),
    /// Panes of tmux. Contains the path of the program `tmux`.
    Tmux(PathBuf),
    Panes,
}

impl Backend {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Emulator(found) => found.emulator.program,
            Self::Tmux(_) => tmux::NAME,
            Self::Panes => panes::NAME,
        }
    }

    /// Whether the launcher can set the font size of this kind of display.
    pub(crate) fn sets_font_size(&self) -> bool {
        match self {
            Self::Emulator(found) => found.emulator.sets_font_size(),
            Self::Tmux(_) | Self::Panes => false,
        }
    }
}

/// The backends to try for `terminal`, the best first. Empty for [`Terminal::None`].
///
/// # Errors
/// No backend is available here. The error says why, and what to try.
pub(crate) fn backends(terminal: Terminal) -> Result<Vec<Backend>> {
    match terminal {
        Terminal::Auto => automatic_backends(),
        Terminal::Tmux => Ok(vec![Backend::Tmux(tmux::find()?)]),
        Terminal::Panes => panes::check().map(|()| vec![Backend::Panes]),
        Terminal::None => Ok(Vec::new()),
        Terminal::GnomeTerminal
        | Terminal::Terminator
        | Terminal::Xterm
        | Terminal::Konsole
        | Terminal::Xfce4Terminal
        | Terminal::Kitty
        | Terminal::Alacritty
        | Terminal::Ptyxis
        | Terminal::Wezterm
        | Terminal::Foot
        | Terminal::XTerminalEmulator => EMULATORS
            .iter()
            .filter(|emulator| emulator.choice == terminal)
            .map(|emulator| emulator.find_by_name().map(Backend::Emulator))
            .collect(),
    }
}

/// Returns all emulators that can open windows here, followed by the built-in panes. tmux is used
/// only if the user asks for it, because it has key bindings of its own.
fn automatic_backends() -> Result<Vec<Backend>> {
    match (find::find_all(), panes::check()) {
        (Err(no_windows), Err(no_panes)) => {
            let tmux = if tmux::find().is_ok() {
                "`-t tmux` shows the clients in this tmux; "
            } else {
                ""
            };
            bail!("{no_windows}; {no_panes}; {tmux}{NO_WINDOWS_ADVICE}");
        }
        (emulators, panes) => {
            let emulators = emulators.into_iter().flatten().map(Backend::Emulator);
            Ok(emulators
                .chain(panes.ok().map(|()| Backend::Panes))
                .collect())
        }
    }
}

/// Lists all kinds of displays for the user. The row of each kind has the path of its program, or
/// the reason why the kind is not available here.
pub(crate) fn list() -> String {
    const AUTO: &str = "  (auto takes this one)";
    let mut auto = AUTO;
    let mut list = String::new();
    for emulator in &EMULATORS {
        let found = emulator.find().map(|found| {
            let mark = std::mem::take(&mut auto);
            format!("{}{mark}", found.program.display())
        });
        list.push_str(&row(emulator.program, found, emulator.is_installed()));
    }
    let tmux = tmux::find().map(|program| program.display().to_string());
    list.push_str(&row(tmux::NAME, tmux, tmux::is_installed()));
    let panes = panes::check().map(|()| format!("built in{auto}"));
    let nothing_works = panes.is_err() && !auto.is_empty();
    list.push_str(&row(panes::NAME, panes, false));
    if nothing_works {
        list.push_str(&format!(
            "\nauto finds nothing that works here, and ends with an error; {NO_WINDOWS_ADVICE}\n"
        ));
    }
    list
}

/// Formats a row of the list: the path of the program that was found, or the reason why this kind
/// of display is not available.
fn row(name: &str, found: Result<String>, is_installed: bool) -> String {
    let text = match found {
        Ok(found) => found,
        Err(error) => {
            let reason = error.to_string();
            // Remove the program's name from the start of the reason, because the row begins with
            // it.
            let reason = reason.strip_prefix(name).map_or(&*reason, str::trim_start);
            let reason = reason.strip_prefix("is ").unwrap_or(reason);
            let state = if is_installed { "installed; " } else { "" };
            format!("{state}{reason}")
        }
    };
    format!("{name:<20}{text}\n")
}

/// The display of a session.
pub(crate) enum Display {
    Emulator(EmulatorWindows),
    Tmux(TmuxPanes),
    Panes(Panes),
}

/// The result of starting a client in a display.
pub(crate) enum Opened {
    /// A process that opens a window for the client. The window counts as open once the client has
    /// sent its hello.
    Window(ChildProcess),
    /// The client runs in a pane of tmux and is not a child process of the session. Contains a note
    /// for the user if the pane is in another tmux window than the previous client's pane.
    TmuxPane(Option<String>),
    /// The client is a child process of the session in a built-in pane, which is visible at once.
    Pane(ChildProcess),
}

impl Display {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Emulator(windows) => windows.name(),
            Self::Tmux(_) => tmux::NAME,
            Self::Panes(_) => panes::NAME,
        }
    }

    /// Starts a client. `on_end` is called when the process that shows the client ends. It is never
    /// called for a pane of tmux.
    ///
    /// # Errors
    /// A program or thread cannot be started, no temporary file or pseudo-terminal can be made,
    /// or tmux reports an error.
    pub(crate) fn open(
        &mut self,
        window: &WindowSpec,
        on_end: impl Fn() + Clone + Send + 'static,
    ) -> io::Result<Opened> {
        match self {
            Self::Emulator(windows) => windows.open(window, on_end).map(Opened::Window),
            Self::Tmux(panes) => panes.open(window).map(Opened::TmuxPane),
            Self::Panes(panes) => panes.open(window, on_end).map(Opened::Pane),
        }
    }

    /// The place on the screen for one more window beside the open windows, whose places are
    /// `taken`. `None` for panes, because only the windows of emulators have places.
    pub(crate) fn next_place(&mut self, taken: &[Place]) -> Option<Place> {
        match self {
            Self::Emulator(windows) => windows.next_place(taken),
            Self::Tmux(_) | Self::Panes(_) => None,
        }
    }

    /// Whether to try again after an emulator's process has ended with this status and opened no
    /// window.
    pub(crate) fn is_worth_retrying(&self, status: ExitStatus) -> bool {
        self.emulator()
            .is_some_and(|windows| windows.is_worth_retrying(status))
    }

    /// Whether another process may still open the window after the emulator's process ended with
    /// this status.
    pub(crate) fn may_open_elsewhere(&self, status: ExitStatus) -> bool {
        self.emulator()
            .is_some_and(|windows| windows.may_open_elsewhere(status))
    }

    /// The reason why no more windows can open, if the emulator's helper has failed.
    pub(crate) fn helper_failure(&self) -> Option<String> {
        self.emulator()?.helper_failure()
    }

    /// The emulator's helper process, if it has one.
    pub(crate) fn helper(&self) -> Option<&ChildProcess> {
        self.emulator()?.helper()
    }

    /// The emulator's helper process, if it has one.
    pub(crate) fn into_helper(self) -> Option<ChildProcess> {
        match self {
            Self::Emulator(windows) => windows.into_helper(),
            Self::Tmux(_) | Self::Panes(_) => None,
        }
    }

    fn emulator(&self) -> Option<&EmulatorWindows> {
        match self {
            Self::Emulator(windows) => Some(windows),
            Self::Tmux(_) | Self::Panes(_) => None,
        }
    }
}
