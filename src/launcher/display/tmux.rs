//! Panes in the tmux session in which the launcher runs.
//!
//! This module runs the program `tmux` directly. A wrapper crate would pass it the same arguments.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::cli::PASSWORD_VARIABLE;
use crate::launcher::display::package::Package;
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::shell;
use crate::os::{self, Scratch};
use crate::protocol::text;

pub(crate) const NAME: &str = "tmux";

/// The variable in which tmux passes the ID of a pane to the programs in it.
const PANE_VARIABLE: &str = "TMUX_PANE";

/// Minimum columns and rows of a pane. If another pane would get less space in a tmux window, the
/// pane is opened in a new tmux window.
const MIN_SIZE: (u32, u32) = (30, 6);

/// A shell script that reads environment variables from the file `$0`, and then runs the command
/// `$@`, which is the client. If the variables were arguments of tmux, `ps` would show them. The
/// shell stays the parent of the client, because tmux continues its own children when they are
/// stopped (`server_child_stopped` in its server.c), and a frozen client must stay stopped.
const SCRIPT: &str = r#". "$0"; "$@"; exit $?"#;

/// Whether this process runs inside tmux.
fn is_inside() -> bool {
    env::var_os("TMUX").is_some_and(|value| !value.is_empty())
}

pub(crate) fn is_installed() -> bool {
    which::which(NAME).is_ok()
}

/// Finds the program `tmux`, and checks that panes can be opened here.
///
/// # Errors
/// tmux is not installed, or this process does not run inside tmux. The error says what to try.
pub(crate) fn find() -> Result<PathBuf> {
    let Ok(program) = which::which(NAME) else {
        bail!(
            "{NAME} is not installed; {}",
            Package::Common(NAME).advice()
        );
    };
    if !is_inside() {
        bail!(
            "{NAME} works only if this terminal is inside tmux; type `tmux new-session` before the \
             command, as in `tmux new-session chat-run -t tmux`"
        );
    }
    // Advise the user to unset TMUX and TMUX_PANE, because they may be out of date: a shell keeps
    // them when its tmux ends, and passes them on to a terminal that is started from it.
    let advice = "type `unset TMUX TMUX_PANE`, and start the session in a new tmux";
    if let Err(error) = run(&program, ["display-message", "-p", ""]) {
        bail!("the tmux in TMUX is gone: {error}; {advice}");
    }
    if let Some(pane) = env::var_os(PANE_VARIABLE).filter(|pane| !pane.is_empty()) {
        let pane = pane.to_string_lossy();
        let arguments = ["display-message", "-p", "-t", &pane, "#{pane_id}"];
        let found = run(&program, arguments).unwrap_or_default();
        if found != pane {
            let pane = text::clean(&pane);
            bail!("the tmux pane in {PANE_VARIABLE} is gone: there is no {pane}; {advice}");
        }
    }
    Ok(program)
}

/// Checks that the user has not set a password that did not reach this process. A tmux server that
/// is already running does not pass on variables from the terminal in which a tmux session is
/// started, so the room would have no password.
///
/// # Errors
/// `CHAT_PASSWORD` is set outside of tmux, but not inside.
pub(crate) fn check_password(program: &Path) -> Result<()> {
    // `CHAT_PASSWORD` has reached this process. If it is empty, the user wants no password.
    if env::var_os(PASSWORD_VARIABLE).is_some() {
        return Ok(());
    }
    let pane = env::var(PANE_VARIABLE).unwrap_or_default();
    let clients = ["list-clients", "-t", &pane, "-F", "#{client_pid}"];
    let clients = run(program, clients).unwrap_or_default();
    let mut clients = clients.lines().flat_map(str::parse);
    if clients.any(|client| os::has_variable(client, PASSWORD_VARIABLE)) {
        bail!(
            "{PASSWORD_VARIABLE} is set outside of this tmux, but not inside, because tmux was \
             already running; start the session in a shell inside tmux, with \
             `{PASSWORD_VARIABLE}=… chat-run`, or `{PASSWORD_VARIABLE}= chat-run` for no password"
        );
    }
    Ok(())
}

/// Panes in the user's tmux session, in tmux windows that contain only clients.
pub(crate) struct TmuxPanes {
    program: PathBuf,
    /// The tmux window with the most recently opened pane.
    window: Option<String>,
    /// Files with the clients' environment variables. [`SCRIPT`] reads them when a client starts.
    environments: Vec<Scratch>,
}

impl TmuxPanes {
    /// Creates an empty set of panes. `program` is the path of `tmux`.
    pub(crate) fn new(program: PathBuf) -> Self {
        Self {
            program,
            window: None,
            environments: Vec::new(),
        }
    }

    /// Opens a pane for the client in the most recent tmux window. If this window has no space
    /// left, opens a new tmux window, and returns a note about it for the user. The pane closes
    /// when the client ends.
    ///
    /// # Errors
    /// `tmux` cannot be started, or reports an error.
    pub(crate) fn open(&mut self, spec: &WindowSpec) -> io::Result<Option<String>> {
        const FORMAT: &str = "#{pane_id} #{window_id} #{window_index}";

        let environment = Scratch::new(&exports(&spec.environment))?;
        let target;
        let last_window = self.window.as_deref();
        let mut command = match last_window.filter(|window| self.has_space(window)) {
            Some(window) => {
                // Split the last pane, so that the new pane comes after it.
                target = format!("{window}.{{bottom-right}}");
                vec!["split-window", "-t", &target]
            }
            None => vec!["new-window", "-n", "chat"],
        };
        command.extend(["-d", "-P", "-F", FORMAT, "--", "/bin/sh", "-c", SCRIPT]);
        let mut command: Vec<OsString> = command.into_iter().map(OsString::from).collect();
        command.push(environment.path().into());
        command.extend(spec.client_command.iter().map(|argument| escape(argument)));
        self.environments.push(environment);

        let ids = run(&self.program, command)?;
        let [pane, window, index] = ids.split(' ').collect::<Vec<_>>()[..] else {
            return Err(io::Error::other("tmux did not report where the pane is"));
        };
        let is_new = self.window.as_deref() != Some(window);
        let note = is_new.then(|| self.directions(index));
        // Override settings of the user that might keep a pane after its program has ended.
        #[rustfmt::skip]
        let settings = [
            "select-pane", "-t", pane, "-T", &spec.title(), ";",
            "set-option", "-w", "-t", window, "remain-on-exit", "off", ";",
            "select-layout", "-t", window, "tiled",
        ];
        run(&self.program, settings)?;
        self.window = Some(window.to_owned());
        Ok(note)
    }

    /// Returns a text that tells the user how to get to the tmux window with this index. Apart from
    /// the prefix key, it assumes tmux's default key bindings.
    fn directions(&self, index: &str) -> String {
        let prefix = run(&self.program, ["show-options", "-gv", "prefix"]);
        let prefix = prefix.unwrap_or_default();
        let prefix = match prefix.strip_prefix("C-") {
            Some(key) => format!("Ctrl+{}", key.to_uppercase()),
            None => prefix,
        };
        // A window with an index above 9 has no key of its own, but the key `w` lists all windows.
        let key = if index.len() == 1 { index } else { "w" };
        format!("the clients are in tmux window {index}, \"chat\": press {prefix} {key}")
    }

    /// Whether the tmux window still exists and has space for one more pane.
    fn has_space(&self, window: &str) -> bool {
        let format = "#{window_width} #{window_height} #{window_panes}";
        let answer = run(
            &self.program,
            ["display-message", "-p", "-t", window, format],
        );
        let answer = answer.unwrap_or_default();
        let numbers: Vec<u32> = answer.split(' ').flat_map(str::parse).collect();
        let [width, height, panes] = numbers[..] else {
            return false;
        };
        let (columns, rows) = tiles(panes + 1);
        // Each pane's share of the window must be larger than the minimum, because the share also
        // has the column that separates the pane from the next one, and the row for the pane's
        // title.
        (width + 1) / columns > MIN_SIZE.0 && height / rows > MIN_SIZE.1
    }
}

/// Runs a tmux command and returns its output. The command has its own process group, so that
/// Ctrl+C in the terminal does not reach it.
fn run(program: &Path, arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> io::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(text::clean(error.trim()).into_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The numbers of columns and rows in which tmux's layout `tiled` arranges `panes` panes. The
/// layout adds a row before it adds a column.
fn tiles(panes: u32) -> (u32, u32) {
    let (mut columns, mut rows) = (1, 1);
    while columns * rows < panes {
        rows += 1;
        if columns * rows < panes {
            columns += 1;
        }
    }
    (columns, rows)
}

/// Escapes an argument of the client for tmux: a semicolon at the end would start another tmux
/// command.
fn escape(argument: &OsStr) -> OsString {
    let bytes = argument.as_bytes();
    let escaped = bytes.strip_suffix(b";").map(|rest| [rest, br"\;"].concat());
    OsString::from_vec(escaped.unwrap_or_else(|| bytes.to_vec()))
}

/// Returns a shell script that exports these variables.
fn exports(environment: &[(&str, OsString)]) -> Vec<u8> {
    let mut script = Vec::new();
    for (name, value) in environment {
        script.extend_from_slice(format!("export {name}=").as_bytes());
        script.extend(shell::quote(value.as_bytes()));
        script.push(b'\n');
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_match_the_tiled_layout_of_tmux() {
        let expected = [(1, 1), (1, 2), (2, 2), (2, 2), (2, 3), (2, 3), (3, 3)];
        for (panes, tiling) in (1..).zip(expected) {
            assert_eq!(tiles(panes), tiling, "{panes}");
        }
    }

    #[test]
    fn a_semicolon_at_the_end_of_an_argument_is_escaped_for_tmux() {
        for (argument, escaped) in [
            ("a;", r"a\;"),
            (";", r"\;"),
            (r"a\;", r"a\\;"),
            ("a;b", "a;b"),
            ("", ""),
        ] {
            assert_eq!(escape(OsStr::new(argument)), escaped);
        }
    }
}
