//! What shows the clients: windows of a terminal emulator, or panes on the launcher's own terminal.

pub(crate) mod emulator;
pub(crate) mod panes;
pub(crate) mod tmux;

use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;

use anyhow::{Result, bail};

use crate::cli::Terminal;
use crate::launcher::display::emulator::geometry::Place;
use crate::launcher::display::emulator::open::{self, ALONE};
use crate::launcher::display::emulator::{Found, Opens};
use crate::launcher::display::panes::Panes;
use crate::launcher::process::ChildProcess;
use crate::protocol::request::Identity;

/// A way to show clients that can be tried.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    Windows(Found),
    Panes,
}

impl Backend {
    /// What it is called.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Windows(found) => found.emulator.program,
            Self::Panes => PANES,
        }
    }

    /// Whether it can have letters of another size than they have here.
    pub(crate) fn sets_letters(&self) -> bool {
        match self {
            Self::Panes => false,
            Self::Windows(found) => match found.emulator.opens {
                Opens::Itself(_) | Opens::Through(..) => true,
                Opens::Elsewhere(_) | Opens::Pane => false,
            },
        }
    }
}

/// The ways to show clients in `terminal`, best first.
///
/// # Errors
/// There is none: says why, and what to try.
pub(crate) fn ways(terminal: Terminal) -> Result<Vec<Backend>> {
    let windows = || open::candidates(terminal);
    let mut ways: Vec<Backend> = Vec::new();
    match terminal {
        Terminal::Panes => {
            panes::check()?;
            ways.push(Backend::Panes);
        }
        Terminal::Auto => match (windows(), panes::check()) {
            (Err(no_windows), Err(no_panes)) => {
                let tmux = if tmux::is_inside() {
                    "`-t tmux` shows the clients in this tmux; "
                } else {
                    ""
                };
                bail!("{no_windows}; {no_panes}; {tmux}{ALONE}");
            }
            (found, check) => {
                ways.extend(found.into_iter().flatten().map(Backend::Windows));
                ways.extend(check.is_ok().then_some(Backend::Panes));
            }
        },
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
        | Terminal::XTerminalEmulator
        | Terminal::Tmux
        | Terminal::None => {
            ways.extend(windows()?.into_iter().map(Backend::Windows));
        }
    }
    Ok(ways)
}

/// What panes are called, where emulators have their names.
const PANES: &str = "panes";

/// Shows clients in one of the ways.
pub(crate) enum Opener {
    Windows(open::Opener),
    Panes(Panes),
}

/// A client's window, as it is asked for.
pub(crate) struct WindowSpec<'a> {
    /// The window's number in the session: another one for each.
    pub(crate) id: usize,
    /// `chat 1`, and the client's name where it has one that every emulator can show.
    pub(crate) title: &'a str,
    pub(crate) place: Option<Place>,
    pub(crate) member: Option<&'a Identity>,
    pub(crate) program: &'a [OsString],
    pub(crate) environment: &'a [(&'a str, OsString)],
}

impl Opener {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Windows(opener) => opener.name(),
            Self::Panes(_) => PANES,
        }
    }

    /// Places for `count` windows, where the system lets them be chosen.
    pub(crate) fn places(&self, count: usize) -> Vec<Place> {
        match self {
            Self::Windows(opener) => opener.places(count),
            Self::Panes(_) => Vec::new(),
        }
    }

    /// Starts what shows a client. `on_end` is called when it has ended.
    ///
    /// # Errors
    /// The program cannot be started, or there is no memory, terminal or thread for it.
    pub(crate) fn open(
        &mut self,
        wanted: &WindowSpec<'_>,
        on_end: impl Fn() + Clone + Send + 'static,
    ) -> io::Result<Option<ChildProcess>> {
        let WindowSpec {
            id,
            title,
            place,
            member,
            program,
            environment,
        } = *wanted;
        match self {
            Self::Windows(opener) => opener.open(title, place, program, environment, on_end),
            Self::Panes(panes) => {
                let number = title.split(" - ").next().unwrap_or(title);
                let title = member.map_or_else(
                    || number.to_owned(),
                    |member| format!("{number} · {}", member.name),
                );
                let child = panes.open(id, title, program, environment, on_end)?;
                Ok(Some(child))
            }
        }
    }

    /// Whether a client is shown as soon as its program runs. A window shows it when the client says so.
    pub(crate) fn shows_at_once(&self) -> bool {
        match self {
            Self::Windows(_) => false,
            Self::Panes(_) => true,
        }
    }

    /// What the user is to be told of where the last client is shown.
    pub(crate) fn take_note(&mut self) -> Option<String> {
        match self {
            Self::Windows(opener) => opener.take_note(),
            Self::Panes(_) => None,
        }
    }

    /// As [`open::Opener::may_try_again`].
    pub(crate) fn may_try_again(&self, status: ExitStatus) -> bool {
        match self {
            Self::Windows(opener) => opener.may_try_again(status),
            Self::Panes(_) => false,
        }
    }

    /// As [`open::Opener::has_handed_over`].
    pub(crate) fn has_handed_over(&self, status: ExitStatus) -> bool {
        match self {
            Self::Windows(opener) => opener.has_handed_over(status),
            Self::Panes(_) => false,
        }
    }

    /// As [`open::Opener::failure`].
    pub(crate) fn failure(&self) -> Option<String> {
        match self {
            Self::Windows(opener) => opener.failure(),
            Self::Panes(_) => None,
        }
    }

    /// As [`open::Opener::helper`].
    pub(crate) fn helper(&self) -> Option<&ChildProcess> {
        match self {
            Self::Windows(opener) => opener.helper(),
            Self::Panes(_) => None,
        }
    }

    /// As [`open::Opener::into_helper`].
    pub(crate) fn into_helper(self) -> Option<ChildProcess> {
        match self {
            Self::Windows(opener) => opener.into_helper(),
            Self::Panes(_) => None,
        }
    }
}
