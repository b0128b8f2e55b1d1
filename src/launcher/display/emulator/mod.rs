//! Table of terminal emulators, with a row for each.
//!
//! No crate knows the options with which emulators set a title, size, position and font. Most
//! emulators also have to be told not to pass the window to an instance that is already running:
//! such a window would outlive the session, and have the wrong environment.

pub(crate) mod find;
mod focus;
pub(crate) mod geometry;
pub(crate) mod open;
mod screen;
mod x11;

use std::ffi::OsString;
use std::io;

use crate::cli::Terminal;
use crate::launcher::display::emulator::geometry::Size;
use crate::launcher::display::package::Package;
use crate::launcher::display::window_spec::WindowSpec;
use crate::os::Scratch;

/// Normal and large font size, in points. The large size is for a projector.
const FONT_POINTS: (f32, f32) = (11.0, 18.0);

/// A row of the table of emulators.
#[derive(Debug)]
pub(crate) struct Emulator {
    pub(crate) choice: Terminal,
    pub(crate) program: &'static str,
    package: Package,
    needs: Needs,
    opens: Opens,
}

/// The kind of display, and other requirements, that an emulator needs besides its program.
#[derive(Clone, Copy, Debug)]
enum Needs {
    /// Needs either X11 or Wayland.
    Display,
    /// Needs either X11 or Wayland, and a D-Bus session bus.
    DisplayAndBus,
    X11,
    Wayland,
}

/// Function that returns an emulator's arguments, which precede the client's command.
type Arguments = fn(&WindowSpec, &Isolation) -> Vec<OsString>;

/// The process that opens and owns the window.
#[derive(Debug)]
enum Opens {
    /// The emulator's program, which exits when the window closes.
    Itself(Arguments),
    /// A helper process, which owns all windows. The emulator's program only sends the helper a
    /// message, and exits when the window closes.
    ThroughHelper(Helper, Arguments),
    /// The emulator's program, or another process to which it passes the request. In the latter
    /// case, the program may exit before the window opens.
    MaybeElsewhere(Arguments),
}

/// A helper: a process that owns all windows of the session and no others, so that the windows
/// close when the helper ends.
///
/// Only gnome-terminal has a helper. The program gnome-terminal is a stub: its window belongs to
/// gnome-terminal-server, which is not a descendant of the launcher, and stays open if the stub is
/// killed. A gnome-terminal-server that is started with an app ID of its own closes all its windows
/// on SIGTERM (tested with 3.46).
#[derive(Debug)]
struct Helper {
    /// The paths at which distributions install the helper.
    paths: &'static [&'static str],
    arguments: fn(app_id: &str) -> Vec<OsString>,
    /// A shell script that waits until the helper with the app ID `$0` is ready, and then executes
    /// the command `$@`.
    when_ready: &'static str,
}

/// Data that keep the session's windows apart from the user's other windows and settings.
struct Isolation {
    /// The app ID of the helper, which is its name on the D-Bus session bus.
    app_id: String,
    /// The configuration file for terminator.
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
    /// Whether the launcher can set the font size. It cannot do so for x-terminal-emulator, which
    /// may be any emulator.
    pub(crate) fn sets_font_size(&self) -> bool {
        match self.opens {
            Opens::Itself(_) | Opens::ThroughHelper(..) => true,
            Opens::MaybeElsewhere(_) => false,
        }
    }
}

/// Methods that make an emulator's arguments for a window.
impl WindowSpec {
    /// Returns `arguments`, in which `{}` is replaced by the large font size. Returns no arguments
    /// if the window has normal text.
    fn if_big(&self, arguments: &[&str]) -> Vec<OsString> {
        let points = FONT_POINTS.1.to_string();
        let arguments = arguments
            .iter()
            .map(|word| word.replace("{}", &points).into());
        arguments.filter(|_| self.big).collect()
    }

    /// The window's size in columns and rows. `None` if its place on the screen is unknown.
    fn cells(&self) -> Option<(i32, i32)> {
        let cell = geometry::cell(font_points(self.big));
        Some(self.place?.cells(cell))
    }

    /// The window's size in columns and rows, such as `80x24`.
    fn cell_size(&self) -> Option<String> {
        let (columns, rows) = self.cells()?;
        Some(format!("{columns}x{rows}"))
    }

    /// The window's size in columns and rows and its position in device pixels, such as
    /// `80x24+0+100`.
    fn cell_geometry(&self) -> Option<String> {
        let (x, y) = self.position()?;
        Some(format!("{}+{x}+{y}", self.cell_size()?))
    }

    /// The window's size and position in device pixels, such as `800x600+0+100`.
    fn pixel_geometry(&self) -> Option<String> {
        let Size { width, height } = self.place?.device_size();
        let (x, y) = self.position()?;
        Some(format!("{width}x{height}+{x}+{y}"))
    }

    /// The position of the window's upper left corner, in device pixels.
    fn position(&self) -> Option<(i32, i32)> {
        Some(self.place?.position())
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
                // Wait for the helper, because a gnome-terminal that starts before its helper is
                // ready reports an error but exits with 0, or leaves an empty window. The program
                // gdbus, which does the waiting, is a part of GLib that some distributions package
                // separately. If gdbus is not installed, the launcher's retries are enough.
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
        // Without -u, the first terminator process would open all windows, with its own
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
        // Without -fa, xterm uses a font that lacks letters of many European languages.
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
        // Without --separate, a konsole that is already running would open the window. The menu bar
        // stays, because hiding it would also hide it in all windows that the user opens later.
        opens: Opens::Itself(|window, _| {
            [
                // In the tab title, `%w` stands for the title that the client sets.
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
        // Without --disable-server, an xfce4-terminal that is already running would open the
        // window.
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
        // The position is not set, because not every version has an option for it. --title is not
        // used, because it would override the title that the client sets. Without
        // confirm_os_window_close=0, kitty asks for confirmation before it closes a window.
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
            let (cells, position) = (window.cells(), window.position());
            let setting = |name, value: Option<i32>| {
                option("-o", value.map(|value| format!("window.{name}={value}")))
            };
            [
                words(&["--title", &window.title()]),
                window.if_big(&["-o", "font.size={}"]),
                setting("dimensions.columns", cells.map(|cells| cells.0)),
                setting("dimensions.lines", cells.map(|cells| cells.1)),
                setting("position.x", position.map(|(x, _)| x)),
                setting("position.y", position.map(|(_, y)| y)),
                words(&["-e"]),
            ]
            .concat()
        }),
    },
    // The rows for ptyxis, wezterm and foot follow their documentation and have not been tried.
    Emulator {
        choice: Terminal::Ptyxis,
        program: "ptyxis",
        package: Package::Newer("ptyxis"),
        needs: Needs::DisplayAndBus,
        // Without --standalone, a ptyxis that is already running would open the window. ptyxis has
        // no option for the size or position.
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
        // Without --always-new-process, a wezterm that is already running would open the window.
        // wezterm has no option for the title.
        opens: Opens::Itself(|window, _| {
            let (cells, position) = (window.cells(), window.position());
            let setting = |name, value: Option<i32>| {
                option("--config", value.map(|value| format!("{name}={value}")))
            };
            [
                words(&["--config", "exit_behavior='Close'"]),
                words(&["--config", "window_close_confirmation='NeverPrompt'"]),
                window.if_big(&["--config", "font_size={}"]),
                setting("initial_cols", cells.map(|cells| cells.0)),
                setting("initial_rows", cells.map(|cells| cells.1)),
                words(&["start", "--always-new-process"]),
                option("--position", position.map(|(x, y)| format!("{x},{y}"))),
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
        // Without --log-level, the last line on stderr is always `goodbye`, and not the reason why
        // no window opened.
        opens: Opens::Itself(|window, _| {
            [
                words(&["--log-level", "error", "--title", &window.title()]),
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
        // x-terminal-emulator is a link that the package of any emulator installs. If the link is
        // missing, suggest xterm.
        package: Package::Common("xterm"),
        needs: Needs::Display,
        // Only the options -T and -e are common to all emulators (Debian Policy, section 11.8.3).
        opens: Opens::MaybeElsewhere(|window, _| words(&["-T", &window.title(), "-e"])),
    },
];

/// Returns a configuration for terminator. With the user's own configuration, terminator might keep
/// a window open, with a red bar, after its program has ended. inactive_color_offset turns off the
/// dimming of unfocused windows, which would affect all windows except one.
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

/// Returns an option and its value as two arguments, or nothing if there is no value.
fn option(name: &str, value: Option<String>) -> Vec<OsString> {
    value.map_or_else(Vec::new, |value| words(&[name, &value]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_emulators_options_end_with_the_option_that_introduces_the_command() {
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
