//! Finds the terminal emulators that can open windows on this system.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use crate::launcher::display::emulator::{EMULATORS, Emulator, Needs, Opens};

/// Advice to start a session without windows, which is always possible.
pub(crate) const NO_WINDOWS_ADVICE: &str =
    "`-t none` starts only the server, which you can join from other terminals";

/// An emulator that can open windows on this system.
#[derive(Clone, Debug)]
pub(crate) struct FoundEmulator {
    pub(crate) emulator: &'static Emulator,
    pub(crate) program: PathBuf,
    /// The path of the helper program, if the emulator has a helper.
    pub(crate) helper: Option<PathBuf>,
}

/// All emulators that can open windows on this system, the best first.
///
/// # Errors
/// No emulator can open windows. The error says why.
pub(crate) fn find_all() -> Result<Vec<FoundEmulator>> {
    let mut found = Vec::new();
    let mut reasons = String::new();
    for emulator in &EMULATORS {
        match emulator.find() {
            Ok(emulator) => found.push(emulator),
            Err(error) => reasons.push_str(&format!("\n  {error}")),
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    if !Needs::Display.has_display() {
        bail!("there is no display for the windows: neither DISPLAY nor WAYLAND_DISPLAY is set");
    }
    bail!("there is no terminal emulator for the windows:{reasons}");
}

impl Emulator {
    /// Whether the emulator's program is installed. Other things that the emulator needs may be
    /// missing.
    pub(crate) fn is_installed(&self) -> bool {
        which::which(self.program).is_ok()
    }

    /// Checks whether the emulator can open windows on this system.
    ///
    /// # Errors
    /// The program, or something that it needs, is missing. The error says what to try.
    pub(crate) fn find(&'static self) -> Result<FoundEmulator> {
        let name = self.program;
        let Ok(program) = which::which(name) else {
            bail!("{name} is not installed; {}", self.package.advice());
        };
        if let Some(missing) = self.needs.missing() {
            bail!("{name} needs {missing}");
        }
        let helper = match &self.opens {
            Opens::Itself(_) | Opens::MaybeElsewhere(_) => None,
            Opens::ThroughHelper(helper, _) => {
                match helper.paths.iter().find(|path| Path::new(path).exists()) {
                    Some(path) => Some(path.into()),
                    None => bail!(
                        "{name} has no server at {}; try another terminal",
                        helper.paths.join(" or ")
                    ),
                }
            }
        };
        Ok(FoundEmulator {
            emulator: self,
            program,
            helper,
        })
    }

    /// Checks whether the emulator, which the user has chosen by name, can open windows.
    ///
    /// # Errors
    /// The program, or something that it needs, is missing. The error says what to try: `-t none`
    /// if there is no display, because no other emulator would work either.
    pub(crate) fn find_by_name(&'static self) -> Result<FoundEmulator> {
        self.find().map_err(|error| {
            if self.needs.has_display() {
                error
            } else {
                anyhow!("{error}; {NO_WINDOWS_ADVICE}")
            }
        })
    }
}

impl Needs {
    /// Whether this system has a display of the required kind.
    fn has_display(self) -> bool {
        let (x11, wayland) = (is_set("DISPLAY"), is_set("WAYLAND_DISPLAY"));
        match self {
            Self::Display | Self::DisplayAndBus => x11 || wayland,
            Self::X11 => x11,
            Self::Wayland => wayland,
        }
    }

    /// Describes the requirement of the emulator that this system does not meet. `None` if the
    /// system meets all requirements.
    fn missing(self) -> Option<&'static str> {
        match (self.has_display(), self) {
            (true, Self::DisplayAndBus) => (!has_bus()).then_some(
                "a D-Bus session bus, and there is none; \
                 try `dbus-run-session` before the command, or another terminal",
            ),
            (true, Self::Display | Self::X11 | Self::Wayland) => None,
            (false, Self::Display | Self::DisplayAndBus) => {
                Some("a display, and neither DISPLAY nor WAYLAND_DISPLAY is set")
            }
            (false, Self::X11) => Some("an X11 display, and DISPLAY is not set"),
            (false, Self::Wayland) => Some("a Wayland display, and WAYLAND_DISPLAY is not set"),
        }
    }
}

fn has_bus() -> bool {
    is_set("DBUS_SESSION_BUS_ADDRESS")
        || env::var_os("XDG_RUNTIME_DIR")
            .is_some_and(|directory| Path::new(&directory).join("bus").exists())
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}
