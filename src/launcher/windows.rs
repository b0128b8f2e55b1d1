//! The terminal emulators: a table with one row for each, and how to find and start them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Result, anyhow, bail};

use super::child::Child;
use super::tiling::{self, Place};
use crate::cli::Terminal;
use crate::os::Scratch;
use crate::protocol::text;

/// Letters, in points: usual, and for a projector.
const POINTS: (f32, f32) = (11.0, 18.0);

/// A row of the table: all that is particular about an emulator.
#[derive(Debug)]
pub(super) struct Emulator {
    pub(super) choice: Terminal,
    /// The program, and the package that has it, which have the same name everywhere so far.
    pub(super) program: &'static str,
    needs: Needs,
    /// A process that stands between us and the windows, where the program itself is only a messenger to it.
    helper: Option<Helper>,
    /// Its arguments up to where the client's own begin.
    arguments: fn(&Look<'_>) -> Vec<OsString>,
}

#[derive(Debug)]
struct Needs {
    /// X11. Otherwise Wayland will do.
    x11: bool,
    /// A D-Bus session bus.
    bus: bool,
}

/// A server of windows that is ours alone, so that it ends with the session and no other window does.
#[derive(Debug)]
struct Helper {
    /// Where distributions have it.
    paths: &'static [&'static str],
    arguments: fn(app: &str) -> Vec<OsString>,
    /// A shell script that waits until the server called `$0` is there, and goes on as `$@`.
    when_ready: &'static str,
}

/// What a window is to look like.
pub(super) struct Look<'a> {
    /// ASCII, since not every emulator can show more in a title.
    pub(super) title: &'a str,
    /// Where it goes, where that can be known.
    pub(super) place: Option<Place>,
    pub(super) big: bool,
    /// The name of the private server on the session bus.
    app: &'a str,
    /// A file with the settings that terminator needs.
    config: &'a Path,
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
fn terminator_config(big: bool) -> String {
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

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// An emulator that is there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) emulator: &'static Emulator,
    pub(super) program: PathBuf,
    helper: Option<PathBuf>,
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

/// The emulators that may open the windows, best first.
///
/// # Errors
/// There is none: says why, and what to try.
pub(super) fn candidates(terminal: Terminal) -> Result<Vec<Found>> {
    let alone = "`-t none` starts the server alone, to be joined from other terminals";
    if terminal != Terminal::Auto {
        return EMULATORS
            .iter()
            .filter(|emulator| emulator.choice == terminal)
            .map(|emulator| {
                emulator.find().map_err(|error| {
                    if has_display(emulator.needs.x11) {
                        error
                    } else {
                        anyhow!("{error}; {alone}")
                    }
                })
            })
            .collect();
    }
    let found: Vec<Found> = EMULATORS
        .iter()
        .filter_map(|emulator| emulator.find().ok())
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    if !has_display(false) {
        bail!(
            "there is no display for the windows: {}; {alone}",
            missing_display()
        );
    }
    let reasons: Vec<String> = EMULATORS
        .iter()
        .filter_map(|emulator| emulator.find().err())
        .map(|error| format!("\n  {error}"))
        .collect();
    Err(anyhow!(
        "there is no terminal emulator for the windows; {alone}{}",
        reasons.concat()
    ))
}

fn has_display(x11: bool) -> bool {
    is_set("DISPLAY") || (!x11 && is_set("WAYLAND_DISPLAY"))
}

fn missing_display() -> &'static str {
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

/// Opens windows with one emulator.
pub(super) struct Opener {
    found: Found,
    big: bool,
    /// The name of the private server on the session bus.
    app: String,
    config: Scratch,
    helper: Option<Shower>,
}

/// A process that shows a window, or has it shown.
pub(super) struct Shower {
    pub(super) child: Child,
    complaints: Scratch,
}

/// How such a process ended.
pub(super) struct ShowerEnd {
    pub(super) status: ExitStatus,
    /// The last line that it wrote to stderr, as a reason to show; empty where it wrote none.
    last_words: String,
}

impl ShowerEnd {
    /// Why there is no window, when the process is called `name`.
    pub(super) fn reason(&self, name: &str) -> String {
        format!("{name} ended ({}){}", self.status, self.last_words)
    }
}

impl Shower {
    /// How it ended, where it has.
    pub(super) fn ended(&self) -> Option<ShowerEnd> {
        let status = self.child.ended()?;
        let mut bytes = vec![0; 4096];
        let file = self.complaints.file();
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let start = length.saturating_sub(bytes.len() as u64);
        let count = file.read_at(&mut bytes, start).unwrap_or(0);
        let said = String::from_utf8_lossy(&bytes[..count]);
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        let last_words = last.map_or_else(String::new, |line| {
            format!(": {}", text::clean(line.trim()))
        });
        Some(ShowerEnd { status, last_words })
    }
}

impl Opener {
    /// # Errors
    /// No temporary file is to be had.
    pub(super) fn new(found: Found, big: bool) -> io::Result<Self> {
        let app = format!("org.chatrun.S{}", std::process::id());
        Ok(Self {
            config: Scratch::new("terminator", terminator_config(big).as_bytes())?,
            found,
            big,
            app,
            helper: None,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        self.found.emulator.program
    }

    /// Places for `count` windows with these letters, where the size of the screen can be known.
    pub(super) fn places(&self, count: usize) -> Vec<Place> {
        let points = if self.big { POINTS.1 } else { POINTS.0 };
        tiling::screen().map_or_else(Vec::new, |screen| {
            tiling::tile(screen, tiling::cell(points), count)
        })
    }

    /// Starts what opens a window with `client` in it. `on_end` is called when that, or the helper, has ended.
    ///
    /// # Errors
    /// The program cannot be started, or there is no memory or thread for it.
    pub(super) fn open(
        &mut self,
        title: &str,
        place: Option<Place>,
        client: &[OsString],
        environment: &[(&str, OsString)],
        on_end: impl Fn() + Clone + Send + 'static,
    ) -> io::Result<Shower> {
        self.start_helper(environment, on_end.clone())?;
        let look = Look {
            title,
            place,
            big: self.big,
            app: &self.app,
            config: self.config.path(),
        };
        let mut arguments = (self.found.emulator.arguments)(&look);
        arguments.extend_from_slice(client);
        let mut program = self.found.program.as_path();
        if let Some(helper) = &self.found.emulator.helper {
            let mut script = words(&["-c", helper.when_ready, &self.app]);
            script.push(program.into());
            arguments.splice(0..0, script);
            program = Path::new("/bin/sh");
        }
        start(program, &arguments, environment, title, on_end)
    }

    /// Starts the helper where there is to be one that runs: it may end when its last window closes.
    fn start_helper(
        &mut self,
        environment: &[(&str, OsString)],
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let (Some(path), Some(helper)) = (&self.found.helper, &self.found.emulator.helper) else {
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
    pub(super) fn may_try_again(&self, status: ExitStatus) -> bool {
        self.helper.is_some() && status.success()
    }

    /// Why no window can come any more, where the helper has failed.
    pub(super) fn failure(&self) -> Option<String> {
        let end = self.helper.as_ref().and_then(Shower::ended)?;
        let name = format!("the server of {}", self.name());
        (!end.status.success()).then(|| end.reason(&name))
    }

    /// The helper, where there is one.
    pub(super) fn helper(&self) -> Option<&Child> {
        self.helper.as_ref().map(|helper| &helper.child)
    }

    /// What is left of it.
    pub(super) fn into_helper(self) -> Option<Child> {
        self.helper.map(|helper| helper.child)
    }
}

fn start(
    program: &Path,
    arguments: &[OsString],
    environment: &[(&str, OsString)],
    thread: &str,
    on_end: impl FnOnce() + Send + 'static,
) -> io::Result<Shower> {
    // Emulators grumble about much that is of no interest, unless no window comes of it.
    let complaints = Scratch::new("stderr", b"")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(complaints.file().try_clone()?)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .envs(utf8_locale());
    let (child, ()) = Child::start(command, thread, |_| (), on_end)?;
    Ok(Shower { child, complaints })
}

/// What mends a locale that is not UTF-8, in which gnome-terminal does not start and xterm shows no `ł`.
fn utf8_locale() -> Option<(&'static str, &'static str)> {
    let (variable, value) = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| Some((name, env::var_os(name).filter(|value| !value.is_empty())?)))
        .unwrap_or(("LANG", OsString::new()));
    if is_utf8(&value) {
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
