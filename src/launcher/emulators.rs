//! The terminal emulators: a table with one row for each, and how to find them.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::tiling::{self, Place};
use crate::cli::Terminal;

/// Letters, in points: usual, and for a projector.
pub(super) const POINTS: (f32, f32) = (11.0, 18.0);

/// A row of the table: all that is particular about an emulator.
#[derive(Debug)]
pub(super) struct Emulator {
    pub(super) choice: Terminal,
    /// The program, and the package that has it, which have the same name everywhere so far.
    pub(super) program: &'static str,
    pub(super) needs: Needs,
    /// A process that stands between us and the windows, where the program itself is only a messenger to it.
    pub(super) helper: Option<Helper>,
    /// Its arguments up to where the client's own begin.
    pub(super) arguments: fn(&Look<'_>) -> Vec<OsString>,
}

#[derive(Debug)]
pub(super) struct Needs {
    /// X11. Otherwise Wayland will do.
    pub(super) x11: bool,
    /// A D-Bus session bus.
    bus: bool,
}

/// A server of windows that is ours alone, so that it ends with the session and no other window does.
#[derive(Debug)]
pub(super) struct Helper {
    /// Where distributions have it.
    paths: &'static [&'static str],
    pub(super) arguments: fn(app: &str) -> Vec<OsString>,
    /// A shell script that waits until the server called `$0` is there, and goes on as `$@`.
    pub(super) when_ready: &'static str,
}

/// What a window is to look like.
pub(super) struct Look<'a> {
    /// ASCII, since not every emulator can show more in a title.
    pub(super) title: &'a str,
    /// Where it goes, where that can be known.
    pub(super) place: Option<Place>,
    pub(super) big: bool,
    /// The name of the private server on the session bus.
    pub(super) app: &'a str,
    /// A file with the settings that terminator needs.
    pub(super) config: &'a Path,
}

impl Look<'_> {
    fn points(&self) -> f32 {
        if self.big { POINTS.1 } else { POINTS.0 }
    }

    /// `80x24+0+100`: columns, rows and the place in pixels.
    fn cell_geometry(&self) -> Option<String> {
        let place = self.place?;
        let (columns, rows) = place.cells(tiling::cell(self.points()));
        Some(format!("{columns}x{rows}+{}+{}", place.x, place.y))
    }

    /// `800x600+0+100`: all in pixels.
    fn pixel_geometry(&self) -> Option<String> {
        let Place { x, y, size } = self.place?;
        Some(format!("{}x{}+{x}+{y}", size.width, size.height))
    }
}

/// In the order in which `auto` tries them.
pub(super) const EMULATORS: [Emulator; 3] = [
    Emulator {
        choice: Terminal::GnomeTerminal,
        program: "gnome-terminal",
        needs: Needs {
            x11: false,
            bus: true,
        },
        helper: Some(Helper {
            paths: &[
                "/usr/libexec/gnome-terminal-server",
                "/usr/lib/gnome-terminal/gnome-terminal-server",
                "/usr/lib/gnome-terminal-server",
            ],
            arguments: |app| vec!["--app-id".into(), app.into()],
            // A gnome-terminal that comes too early ends with an error and exit code 0, and one that comes in the very moment may
            // leave an empty window. gdbus comes with GLib; where a distribution has split it off, there are the retries.
            when_ready: r#"
                if command -v gdbus >/dev/null; then
                    gdbus wait --session --timeout 10 "$0" || exit
                fi
                exec "$@""#,
        }),
        arguments: |look| {
            let mut arguments = words(&["--app-id", look.app, "--wait", "--hide-menubar"]);
            arguments.extend(words(&["--title", look.title]));
            if look.big {
                arguments.extend(words(&["--zoom", "1.6"]));
            }
            if let Some(geometry) = look.cell_geometry() {
                arguments.extend(words(&["--geometry", &geometry]));
            }
            arguments.push("--".into());
            arguments
        },
    },
    Emulator {
        choice: Terminal::Terminator,
        program: "terminator",
        needs: Needs {
            x11: false,
            bus: false,
        },
        helper: None,
        // Without -u the first terminator would open all windows, in its own process and environment.
        arguments: |look| {
            let mut arguments = words(&["-u", "-T", look.title, "-g"]);
            arguments.push(look.config.into());
            if let Some(geometry) = look.pixel_geometry() {
                arguments.push(format!("--geometry={geometry}").into());
            }
            arguments.push("-x".into());
            arguments
        },
    },
    Emulator {
        choice: Terminal::Xterm,
        program: "xterm",
        needs: Needs {
            x11: true,
            bus: false,
        },
        helper: None,
        // Without -fa it has no letters for much of Europe, let alone further.
        arguments: |look| {
            let points = look.points().to_string();
            let mut arguments = words(&["+hold", "-fa", "Monospace", "-fs", &points]);
            arguments.extend(words(&["-sl", "10000", "-T", look.title]));
            if let Some(geometry) = look.cell_geometry() {
                arguments.extend(words(&["-geometry", &geometry]));
            }
            arguments.push("-e".into());
            arguments
        },
    },
];

/// The user's own settings might keep a window after its program has ended, and show a red bar. Windows without the keyboard are dimmed
/// unless told otherwise, and here all but one are.
pub(super) fn terminator_config(big: bool) -> String {
    let font = if big {
        format!(
            "    use_system_font = False\n    font = Monospace {}\n",
            POINTS.1
        )
    } else {
        String::new()
    };
    format!(
        "[global_config]\n  inactive_color_offset = 1.0\n[profiles]\n  [[default]]\n    exit_action = close\n    show_titlebar = False\n    scrollback_lines = 10000\n{font}"
    )
}

pub(super) fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// An emulator that is there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) emulator: &'static Emulator,
    pub(super) program: PathBuf,
    pub(super) helper: Option<PathBuf>,
}

impl Emulator {
    /// Looks whether it can open windows here.
    ///
    /// # Errors
    /// It is not installed, or something that it needs is missing: says what to try.
    pub(super) fn find(&'static self) -> Result<Found> {
        let name = self.program;
        let Ok(program) = which::which(name) else {
            bail!("{name} is not installed; try {}", install(name));
        };
        if !has_display(self.needs.x11) {
            bail!("{name} needs a display, and {}", missing_display());
        }
        if self.needs.bus && !has_bus() {
            bail!(
                "{name} needs a D-Bus session bus, and there is none; try `dbus-run-session` before the command, or another terminal"
            );
        }
        let helper = match &self.helper {
            None => None,
            Some(helper) => match helper.paths.iter().find(|path| Path::new(path).exists()) {
                Some(path) => Some(path.into()),
                None => bail!(
                    "{name} has no server at {}; try another terminal",
                    helper.paths.join(" or ")
                ),
            },
        };
        Ok(Found {
            emulator: self,
            program,
            helper,
        })
    }
}

pub(super) fn has_display(x11: bool) -> bool {
    is_set("DISPLAY") || (!x11 && is_set("WAYLAND_DISPLAY"))
}

pub(super) fn missing_display() -> &'static str {
    "neither DISPLAY nor WAYLAND_DISPLAY is set"
}

fn has_bus() -> bool {
    is_set("DBUS_SESSION_BUS_ADDRESS")
        || env::var_os("XDG_RUNTIME_DIR")
            .is_some_and(|folder| Path::new(&folder).join("bus").exists())
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// How to install a package, by the package manager that is found.
fn install(package: &str) -> String {
    const MANAGERS: [(&str, &str); 5] = [
        ("apt-get", "apt-get install"),
        ("dnf", "dnf install"),
        ("pacman", "pacman -S"),
        ("zypper", "zypper install"),
        ("apk", "apk add"),
    ];
    MANAGERS
        .iter()
        .find(|(program, _)| which::which(program).is_ok())
        .map_or_else(
            || format!("installing the package {package}"),
            |(_, command)| format!("`sudo {command} {package}`"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_puts_the_title_before_the_program() {
        let look = Look {
            title: "chat 1",
            place: None,
            big: true,
            app: "org.example",
            config: Path::new("/config"),
        };
        for emulator in &EMULATORS {
            let arguments = (emulator.arguments)(&look);
            assert!(arguments.contains(&"chat 1".into()), "{arguments:?}");
            let last = arguments.last().unwrap();
            assert!(["--", "-x", "-e"].iter().any(|end| last == end), "{last:?}");
        }
    }
}
