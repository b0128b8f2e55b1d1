//! The terminal emulators: a table with one row for each, and how to find them.

pub(crate) mod geometry;
pub(crate) mod open;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::cli::Terminal;
use crate::launcher::display::emulator::geometry::Place;
use crate::launcher::display::tmux;

/// Letters, in points: usual, and for a projector.
const POINTS: (f32, f32) = (11.0, 18.0);

/// A row of the table: all that is particular about an emulator.
#[derive(Debug)]
pub(crate) struct Emulator {
    pub(crate) choice: Terminal,
    pub(crate) program: &'static str,
    package: Package,
    pub(crate) needs: Needs,
    pub(crate) opens: Opens,
}

/// What has the program.
#[derive(Clone, Copy, Debug)]
enum Package {
    /// A package of this name; distributions agree on it so far.
    Common(&'static str),
    /// The same, but only newer distributions have it, and Debian 12 has not.
    Newer(&'static str),
    /// Packages of the project of this name, and of few distributions.
    Project(&'static str),
}

/// What has to be there, beside the program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needs {
    /// X11 or Wayland.
    Display,
    /// Either of them, and a D-Bus session bus.
    DisplayAndBus,
    X11,
    Wayland,
    /// A tmux around chat-run.
    Tmux,
}

impl Needs {
    /// Whether the display that it takes is there.
    pub(crate) fn has_display(self) -> bool {
        let (x11, wayland) = (is_set("DISPLAY"), is_set("WAYLAND_DISPLAY"));
        match self {
            Self::Display | Self::DisplayAndBus => x11 || wayland,
            Self::X11 => x11,
            Self::Wayland => wayland,
            Self::Tmux => true,
        }
    }

    /// What is not there, where something is not.
    fn missing(self) -> Option<&'static str> {
        let display = self.has_display();
        match self {
            Self::DisplayAndBus if display => (!has_bus()).then_some(
                "a D-Bus session bus, and there is none; try `dbus-run-session` before the command, or another terminal",
            ),
            Self::Display | Self::DisplayAndBus => (!display).then_some(NO_DISPLAY),
            Self::X11 => (!display).then_some("a display of X11, and DISPLAY is not set"),
            Self::Wayland => (!display).then_some("a Wayland display, and WAYLAND_DISPLAY is not set"),
            Self::Tmux => (!tmux::is_inside()).then_some(
                "a tmux around this terminal, and there is none; type `tmux new-session` before the command, as in `tmux new-session chat-run -t tmux`",
            ),
        }
    }
}

const NO_DISPLAY: &str = "a display, and neither DISPLAY nor WAYLAND_DISPLAY is set";

/// Its arguments up to where the client's own begin.
pub(crate) type Arguments = fn(&Look<'_>) -> Vec<OsString>;

/// Which process shows the client.
#[derive(Debug)]
pub(crate) enum Opens {
    /// The program itself, which ends with its window.
    Itself(Arguments),
    /// One that stands between us and the windows; the program is a messenger to it, and ends with its window.
    Through(Helper, Arguments),
    /// Maybe another one: the program may end before its window comes.
    Elsewhere(Arguments),
    /// The tmux that we are in, in a pane.
    Pane,
}

/// A server of windows that is ours alone, so that it ends with the session and no other window does.
#[derive(Debug)]
pub(crate) struct Helper {
    /// Where distributions have it.
    paths: &'static [&'static str],
    pub(crate) arguments: fn(app: &str) -> Vec<OsString>,
    /// A shell script that waits until the server called `$0` is there, and goes on as `$@`.
    pub(crate) when_ready: &'static str,
}

/// What a window is to look like.
pub(crate) struct Look<'a> {
    /// ASCII, since not every emulator can show more in a title.
    pub(crate) title: &'a str,
    /// Where it goes, where that can be known.
    pub(crate) place: Option<Place>,
    pub(crate) big: bool,
    /// The name of the private server on the session bus.
    pub(crate) app: &'a str,
    /// A file with the settings that terminator needs.
    pub(crate) config: &'a Path,
}

impl Look<'_> {
    /// Those arguments where letters are to be big: `option` with their size in points put in for `{}`.
    fn if_big(&self, option: &[&str]) -> Vec<OsString> {
        let points = POINTS.1.to_string();
        let words = option.iter().map(|word| word.replace("{}", &points).into());
        words.filter(|_| self.big).collect()
    }

    /// Columns and rows.
    fn cells(&self) -> Option<(u32, u32)> {
        Some(self.place?.cells(geometry::cell(points(self.big))))
    }

    /// `80x24`: columns and rows.
    fn cell_size(&self) -> Option<String> {
        let (columns, rows) = self.cells()?;
        Some(format!("{columns}x{rows}"))
    }

    /// `80x24+0+100`: columns, rows and the place in pixels.
    fn cell_geometry(&self) -> Option<String> {
        let Place { x, y, .. } = self.place?;
        Some(format!("{}+{x}+{y}", self.cell_size()?))
    }

    /// `800x600+0+100`: all in pixels.
    fn pixel_geometry(&self) -> Option<String> {
        let Place { x, y, size } = self.place?;
        Some(format!("{}x{}+{x}+{y}", size.width, size.height))
    }
}

/// The size of letters, in points.
pub(crate) fn points(big: bool) -> f32 {
    if big { POINTS.1 } else { POINTS.0 }
}

/// In the order in which `auto` tries them.
pub(crate) const EMULATORS: [Emulator; 12] = [
    Emulator {
        choice: Terminal::GnomeTerminal,
        program: "gnome-terminal",
        package: Package::Common("gnome-terminal"),
        needs: Needs::DisplayAndBus,
        opens: Opens::Through(
            Helper {
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
            },
            |look| {
                [
                    words(&["--app-id", look.app, "--wait", "--hide-menubar"]),
                    words(&["--title", look.title]),
                    look.if_big(&["--zoom", "1.6"]),
                    option("--geometry", look.cell_geometry()),
                    words(&["--"]),
                ]
                .concat()
            },
        ),
    },
    Emulator {
        choice: Terminal::Terminator,
        program: "terminator",
        package: Package::Common("terminator"),
        needs: Needs::Display,
        // Without -u the first terminator would open all windows, in its own process and environment.
        opens: Opens::Itself(|look| {
            [
                words(&["-u", "-T", look.title, "-g"]),
                vec![look.config.into()],
                option("--geometry", look.pixel_geometry()),
                words(&["-x"]),
            ]
            .concat()
        }),
    },
    Emulator {
        choice: Terminal::Xterm,
        program: "xterm",
        package: Package::Common("xterm"),
        needs: Needs::X11,
        // Without -fa it has no letters for much of Europe, let alone further.
        opens: Opens::Itself(|look| {
            let points = points(look.big).to_string();
            [
                words(&["+hold", "-fa", "Monospace", "-fs", &points]),
                words(&["-sl", "10000", "-T", look.title]),
                option("-geometry", look.cell_geometry()),
                words(&["-e"]),
            ]
            .concat()
        }),
    },
    Emulator {
        choice: Terminal::Konsole,
        program: "konsole",
        package: Package::Common("konsole"),
        needs: Needs::Display,
        // Without --separate a konsole that is there already would open the window. It has its menu: what hides that here hides it in
        // all later windows as well.
        opens: Opens::Itself(|look| {
            [
                // What runs in it says its title.
                words(&["--separate", "-p", "tabtitle=%w"]),
                look.if_big(&["-p", "Font=Monospace,{}"]),
                option("--geometry", look.pixel_geometry()),
                words(&["-e"]),
            ]
            .concat()
        }),
    },
    Emulator {
        choice: Terminal::Xfce4Terminal,
        program: "xfce4-terminal",
        package: Package::Common("xfce4-terminal"),
        needs: Needs::Display,
        // Without --disable-server an xfce4-terminal that is there already would open the window.
        opens: Opens::Itself(|look| {
            [
                words(&["--disable-server", "--hide-menubar", "--hide-toolbar"]),
                words(&["--title", look.title]),
                look.if_big(&["--font", "Monospace {}"]),
                option("--geometry", look.cell_geometry()),
                words(&["-x"]),
            ]
            .concat()
        }),
    },
    Emulator {
        choice: Terminal::Kitty,
        program: "kitty",
        package: Package::Common("kitty"),
        needs: Needs::Display,
        // Not every kitty can be told a place. A title would stay whatever the client says, and closing
        // it would ask whether that is meant.
        opens: Opens::Itself(|look| {
            let size = look.cells().map_or_else(Vec::new, |(columns, rows)| {
                let width = format!("initial_window_width={columns}c");
                let height = format!("initial_window_height={rows}c");
                words(&["-o", "remember_window_size=no", "-o", &width, "-o", &height])
            });
            [
                words(&["-o", "confirm_os_window_close=0"]),
                look.if_big(&["-o", "font_size={}"]),
                size,
                words(&["--"]),
            ]
            .concat()
        }),
    },
    Emulator {
        choice: Terminal::Alacritty,
        program: "alacritty",
        package: Package::Common("alacritty"),
        needs: Needs::Display,
        opens: Opens::Itself(|look| {
            let (cells, x, y) = (
                look.cells(),
                look.place.map(|p| p.x),
                look.place.map(|p| p.y),
            );
            let setting = |name, value: Option<u32>| {
                option("-o", value.map(|value| format!("window.{name}={value}")))
            };
            [
                words(&["--title", look.title]),
                look.if_big(&["-o", "font.size={}"]),
                setting("dimensions.columns", cells.map(|cells| cells.0)),
                setting("dimensions.lines", cells.map(|cells| cells.1)),
                setting("position.x", x),
                setting("position.y", y),
                words(&["-e"]),
            ]
            .concat()
        }),
    },
    // The next three by their documentation.
    Emulator {
        choice: Terminal::Ptyxis,
        program: "ptyxis",
        package: Package::Newer("ptyxis"),
        needs: Needs::DisplayAndBus,
        // Without --standalone a ptyxis that is there already would open the window. Nothing tells it a size or a place.
        opens: Opens::Itself(|look| {
            words(&["--standalone", "--new-window", "--title", look.title, "--"])
        }),
    },
    Emulator {
        choice: Terminal::Wezterm,
        program: "wezterm",
        package: Package::Project("WezTerm"),
        needs: Needs::Display,
        // Without --always-new-process a wezterm that is there already would open the window. No option gives it a title.
        opens: Opens::Itself(|look| {
            let (cells, place) = (look.cells(), look.place);
            let setting = |name, value: Option<u32>| {
                option("--config", value.map(|value| format!("{name}={value}")))
            };
            [
                words(&["--config", "exit_behavior='Close'"]),
                words(&["--config", "window_close_confirmation='NeverPrompt'"]),
                look.if_big(&["--config", "font_size={}"]),
                setting("initial_cols", cells.map(|cells| cells.0)),
                setting("initial_rows", cells.map(|cells| cells.1)),
                words(&["start", "--always-new-process"]),
                option(
                    "--position",
                    place.map(|place| format!("{},{}", place.x, place.y)),
                ),
                words(&["--"]),
            ]
            .concat()
        }),
    },
    Emulator {
        choice: Terminal::Foot,
        program: "foot",
        package: Package::Common("foot"),
        needs: Needs::Wayland,
        opens: Opens::Itself(|look| {
            [
                words(&["--title", look.title]),
                look.if_big(&["--font", "monospace:size={}"]),
                option("--window-size-chars", look.cell_size()),
                words(&["--"]),
            ]
            .concat()
        }),
    },
    Emulator {
        choice: Terminal::XTerminalEmulator,
        program: "x-terminal-emulator",
        // Whichever it is, it comes with this name.
        package: Package::Common("xterm"),
        needs: Needs::Display,
        // No more than this is known of it (Debian Policy, 11.8.3).
        opens: Opens::Elsewhere(|look| words(&["-T", look.title, "-e"])),
    },
    Emulator {
        choice: Terminal::Tmux,
        program: "tmux",
        package: Package::Common("tmux"),
        needs: Needs::Tmux,
        opens: Opens::Pane,
    },
];

/// The user's own settings might keep a window after its program has ended, and show a red bar. Windows without the keyboard are dimmed
/// unless told otherwise, and here all but one are.
pub(crate) fn terminator_config(big: bool) -> String {
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

pub(crate) fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// An option with its value; nothing where there is no value.
fn option(name: &str, value: Option<String>) -> Vec<OsString> {
    value.map_or_else(Vec::new, |value| words(&[name, &value]))
}

/// An emulator that is there.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) emulator: &'static Emulator,
    pub(crate) program: PathBuf,
    pub(crate) helper: Option<PathBuf>,
}

impl Emulator {
    /// Whether `auto` may take it.
    pub(crate) fn is_automatic(&self) -> bool {
        match self.opens {
            Opens::Itself(_) | Opens::Through(..) | Opens::Elsewhere(_) => true,
            // Nobody wants it unasked: it changes what all keys do.
            Opens::Pane => false,
        }
    }

    /// Whether its program is there, whatever else may be missing.
    pub(crate) fn is_installed(&self) -> bool {
        which::which(self.program).is_ok()
    }

    /// Looks whether it can open windows here.
    ///
    /// # Errors
    /// It is not installed, or something that it needs is missing: says what to try.
    pub(crate) fn find(&'static self) -> Result<Found> {
        let name = self.program;
        let Ok(program) = which::which(name) else {
            bail!("{name} is not installed; {}", self.package.advice());
        };
        if let Some(missing) = self.needs.missing() {
            bail!("{name} needs {missing}");
        }
        let helper = match &self.opens {
            Opens::Itself(_) | Opens::Elsewhere(_) | Opens::Pane => None,
            Opens::Through(helper, _) => {
                match helper.paths.iter().find(|path| Path::new(path).exists()) {
                    Some(path) => Some(path.into()),
                    None => bail!(
                        "{name} has no server at {}; try another terminal",
                        helper.paths.join(" or ")
                    ),
                }
            }
        };
        Ok(Found {
            emulator: self,
            program,
            helper,
        })
    }
}

fn has_bus() -> bool {
    is_set("DBUS_SESSION_BUS_ADDRESS")
        || env::var_os("XDG_RUNTIME_DIR")
            .is_some_and(|folder| Path::new(&folder).join("bus").exists())
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

impl Package {
    /// How to get it, by the package manager that is found.
    fn advice(self) -> String {
        const MANAGERS: [(&str, &str); 5] = [
            ("apt-get", "apt-get install"),
            ("dnf", "dnf install"),
            ("pacman", "pacman -S"),
            ("zypper", "zypper install"),
            ("apk", "apk add"),
        ];
        let package = match self {
            Self::Common(package) => package,
            Self::Newer(package) => return format!("newer distributions have a package {package}"),
            Self::Project(project) => return format!("the project {project} has packages of it"),
        };
        MANAGERS
            .iter()
            .find(|(program, _)| which::which(program).is_ok())
            .map_or_else(
                || format!("try installing the package {package}"),
                |(_, command)| format!("try `sudo {command} {package}`"),
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_ends_where_the_program_begins() {
        let look = Look {
            title: "chat 1",
            place: None,
            big: true,
            app: "org.example",
            config: Path::new("/config"),
        };
        for emulator in &EMULATORS {
            let (Opens::Itself(arguments)
            | Opens::Through(_, arguments)
            | Opens::Elsewhere(arguments)) = emulator.opens
            else {
                continue;
            };
            let arguments = arguments(&look);
            let last = arguments.last().unwrap();
            assert!(["--", "-x", "-e"].iter().any(|end| last == end), "{last:?}");
        }
    }
}
