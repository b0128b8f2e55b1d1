//! Terminal emulators: a table with a row for each.
//!
//! No crate knows the emulators' options, and each emulator has its own for a title, a size, a
//! place and a font. Most also have to be told not to hand the window to an emulator that is
//! running already: its windows would outlive the session, and have the wrong environment.

pub(crate) mod find;
pub(crate) mod geometry;
pub(crate) mod open;

use std::ffi::OsString;
use std::io;

use crate::cli::Terminal;
use crate::launcher::display::emulator::geometry::Place;
use crate::launcher::display::package::Package;
use crate::launcher::display::window_spec::WindowSpec;
use crate::os::Scratch;

/// The font size in points: usual, and for a projector.
const FONT_POINTS: (f32, f32) = (11.0, 18.0);

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Emulator {
    pub(crate) choice: Terminal,
    pub(crate) program: &'static str,
    package: Package,
    needs: Needs,
    opens: Opens,
}

/// What an emulator needs besides its program.
#[derive(Clone, Copy, Debug)]
enum Needs {
    /// X11 or Wayland.
    Display,
    /// X11 or Wayland, and a D-Bus session bus.
    DisplayAndBus,
    X11,
    Wayland,
}

/// Makes the emulator's arguments, up to where the client's command begins.
type Arguments = fn(&WindowSpec, &Isolation) -> Vec<OsString>;

/// The process that opens the window.
#[derive(Debug)]
enum Opens {
    /// The program itself, which ends with its window.
    Itself(Arguments),
    /// A helper that owns all windows; the program only sends it a message, and ends with its
    /// window.
    ThroughHelper(Helper, Arguments),
    /// Possibly another process: the program may end before its window opens.
    MaybeElsewhere(Arguments),
}

/// A process that owns the session's windows and no others, so that they all end with it.
///
/// The program gnome-terminal is only a stub: windows belong to gnome-terminal-server, which is no
/// descendant of the launcher, and outlive a stub that is killed. A server with an app ID of its
/// own closes all its windows on SIGTERM (tried with 3.46).
#[derive(Debug)]
struct Helper {
    /// The paths that distributions have it at.
    paths: &'static [&'static str],
    arguments: fn(app_id: &str) -> Vec<OsString>,
    /// A shell script that waits until the helper with app ID `$0` is ready, and then executes
    /// `$@`.
    when_ready: &'static str,
}

/// Keeps the session's windows apart from the user's other windows and settings.
struct Isolation {
    /// The name of the helper on the session bus.
    app_id: String,
    /// terminator's settings.
    terminator_config: Scratch,
}

impl Isolation {
    fn new(big: bool) -> io::Result<Self> {
        Ok(Self {
            app_id: format!("org.chatrun.S{}", std::process::id()),
            terminator_config: Scratch::new(terminator_config(big).as_bytes())?,
        })
    }
}

impl Emulator {
    /// Whether the table has an option for the font size. Debian's x-terminal-emulator, which can
    /// be any emulator, has none.
    pub(crate) fn sets_font_size(&self) -> bool {
        match self.opens {
            Opens::Itself(_) | Opens::ThroughHelper(..) => true,
            Opens::MaybeElsewhere(_) => false,
        }
    }
}

/// Arguments that describe a window.
impl WindowSpec {
    /// The arguments if text is to be large, with the font size in place of `{}`.
    fn if_big(&self, arguments: &[&str]) -> Vec<OsString> {
        let points = FONT_POINTS.1.to_string();
        let arguments = arguments
            .iter()
            .map(|word| word.replace("{}", &points).into());
        arguments.filter(|_| self.big).collect()
    }

    /// Columns and rows.
    fn cells(&self) -> Option<(u32, u32)> {
        let cell = geometry::cell(font_points(self.big));
        Some(self.place?.cells(cell))
    }

    /// `80x24`: columns and rows.
    fn cell_size(&self) -> Option<String> {
        let (columns, rows) = self.cells()?;
        Some(format!("{columns}x{rows}"))
    }

    /// `80x24+0+100`: columns, rows, and the position in pixels.
    fn cell_geometry(&self) -> Option<String> {
        let Place { x, y, .. } = self.place?;
        Some(format!("{}+{x}+{y}", self.cell_size()?))
    }

    /// `800x600+0+100`: size and position in pixels.
    fn pixel_geometry(&self) -> Option<String> {
        let Place { x, y, size } = self.place?;
        Some(format!("{}x{}+{x}+{y}", size.width, size.height))
    }
}

fn font_points(big: bool) -> f32 {
    if big { FONT_POINTS.1 } else { FONT_POINTS.0 }
}

/// All emulators, in the order in which `auto` tries them.
pub(crate) const EMULATORS: [Emulator; 11] = [
    Emulator {
        choice: Terminal::GnomeTerminal,
        program: "gnome-terminal",
        package: Package::Common("gnome-terminal"),
        needs: Needs::DisplayAndBus,
        opens: Opens::ThroughHelper(
            Helper {
                paths: &[
                    "/usr/libexec/gnome-terminal-server",
                    "/usr/lib/gnome-terminal/gnome-terminal-server",
                    "/usr/lib/gnome-terminal-server",
                ],
                arguments: |app| vec!["--app-id".into(), app.into()],
                // A gnome-terminal that starts before its helper is ready ends with an error and
                // exit code 0, or may leave an empty window. gdbus comes with GLib; if a
                // distribution packages it separately, retries do.
                when_ready: r#"
                if command -v gdbus >/dev/null; then
                    gdbus wait --session --timeout 10 "$0" || exit
                fi
                exec "$@""#,
            },
            |window, isolation| {
                [
                    words(&["--app-id", &isolation.app_id, "--wait", "--hide-menubar"]),
                    words(&["--title", &window.title()]),
                    window.if_big(&["--zoom", "1.6"]),
                    option("--geometry", window.cell_geometry()),
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
        // Without -u the first terminator would open all windows, in its own process and
        // environment.
        opens: Opens::Itself(|window, isolation| {
            [
                words(&["-u", "-T", &window.title(), "-g"]),
                vec![isolation.terminator_config.path().into()],
                option("--geometry", window.pixel_geometry()),
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
        // Without -fa xterm's font lacks the letters of many European languages.
        opens: Opens::Itself(|window, _| {
            let points = font_points(window.big).to_string();
            [
                words(&["+hold", "-fa", "Monospace", "-fs", &points]),
                words(&["-sl", "10000", "-T", &window.title()]),
                option("-geometry", window.cell_geometry()),
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
        // Without --separate a running konsole would open the window. The menu stays: hiding it
        // here would hide it in all later windows of the user.
        opens: Opens::Itself(|window, _| {
            [
                // The client sets the title.
                words(&["--separate", "-p", "tabtitle=%w"]),
                window.if_big(&["-p", "Font=Monospace,{}"]),
                option("--geometry", window.pixel_geometry()),
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
        // Without --disable-server a running xfce4-terminal would open the window.
        opens: Opens::Itself(|window, _| {
            [
                words(&["--disable-server", "--hide-menubar", "--hide-toolbar"]),
                words(&["--title", &window.title()]),
                window.if_big(&["--font", "Monospace {}"]),
                option("--geometry", window.cell_geometry()),
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
        // Not every version has an option for the position. A --title would override the client's.
        // Without the first option, closing the window asks for confirmation.
        opens: Opens::Itself(|window, _| {
            let size = window.cells().map_or_else(Vec::new, |(columns, rows)| {
                let width = format!("initial_window_width={columns}c");
                let height = format!("initial_window_height={rows}c");
                words(&["-o", "remember_window_size=no", "-o", &width, "-o", &height])
            });
            [
                words(&["-o", "confirm_os_window_close=0"]),
                window.if_big(&["-o", "font_size={}"]),
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
        opens: Opens::Itself(|window, _| {
            let (cells, x, y) = (
                window.cells(),
                window.place.map(|p| p.x),
                window.place.map(|p| p.y),
            );
            let setting = |name, value: Option<u32>| {
                option("-o", value.map(|value| format!("window.{name}={value}")))
            };
            [
                words(&["--title", &window.title()]),
                window.if_big(&["-o", "font.size={}"]),
                setting("dimensions.columns", cells.map(|cells| cells.0)),
                setting("dimensions.lines", cells.map(|cells| cells.1)),
                setting("position.x", x),
                setting("position.y", y),
                words(&["-e"]),
            ]
            .concat()
        }),
    },
    // The next three rows follow the documentation; they have not been tried.
    Emulator {
        choice: Terminal::Ptyxis,
        program: "ptyxis",
        package: Package::Newer("ptyxis"),
        needs: Needs::DisplayAndBus,
        // Without --standalone a running ptyxis would open the window. There is no option for the
        // size or position.
        opens: Opens::Itself(|window, _| {
            words(&[
                "--standalone",
                "--new-window",
                "--title",
                &window.title(),
                "--",
            ])
        }),
    },
    Emulator {
        choice: Terminal::Wezterm,
        program: "wezterm",
        package: Package::Project("WezTerm"),
        needs: Needs::Display,
        // Without --always-new-process a running wezterm would open the window. There is no option
        // for the title.
        opens: Opens::Itself(|window, _| {
            let (cells, place) = (window.cells(), window.place);
            let setting = |name, value: Option<u32>| {
                option("--config", value.map(|value| format!("{name}={value}")))
            };
            [
                words(&["--config", "exit_behavior='Close'"]),
                words(&["--config", "window_close_confirmation='NeverPrompt'"]),
                window.if_big(&["--config", "font_size={}"]),
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
        opens: Opens::Itself(|window, _| {
            [
                words(&["--title", &window.title()]),
                window.if_big(&["--font", "monospace:size={}"]),
                option("--window-size-chars", window.cell_size()),
                words(&["--"]),
            ]
            .concat()
        }),
    },
    Emulator {
        choice: Terminal::XTerminalEmulator,
        program: "x-terminal-emulator",
        // Any emulator's package provides this name.
        package: Package::Common("xterm"),
        needs: Needs::Display,
        // Debian Policy, 11.8.3, requires these options and no others.
        opens: Opens::MaybeElsewhere(|window, _| words(&["-T", &window.title(), "-e"])),
    },
];

/// terminator's settings. The user's own might keep a window after its program has ended, and show
/// a red bar. By default terminator dims unfocused windows, which would be all but one.
fn terminator_config(big: bool) -> String {
    let font = if big {
        let points = FONT_POINTS.1;
        format!("    use_system_font = False\n    font = Monospace {points}\n")
    } else {
        String::new()
    };
    format!(
        "[global_config]\n  inactive_color_offset = 1.0\n[profiles]\n  [[default]]\n    \
         exit_action = close\n    show_titlebar = False\n    scrollback_lines = 10000\n{font}"
    )
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// An option with its value; nothing without a value.
fn option(name: &str, value: Option<String>) -> Vec<OsString> {
    value.map_or_else(Vec::new, |value| words(&[name, &value]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_ends_where_the_client_command_begins() {
        let window = WindowSpec {
            id: 1,
            number: 1,
            name: None,
            place: None,
            big: true,
            client_command: Vec::new(),
            environment: Vec::new(),
        };
        let isolation = Isolation::new(true).unwrap();
        for emulator in &EMULATORS {
            let (Opens::Itself(arguments)
            | Opens::ThroughHelper(_, arguments)
            | Opens::MaybeElsewhere(arguments)) = &emulator.opens;
            let arguments = arguments(&window, &isolation);
            let last = arguments.last().unwrap();
            assert!(["--", "-x", "-e"].iter().any(|end| last == end), "{last:?}");
        }
    }
}
