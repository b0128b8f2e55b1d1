//! Panes for the clients, in the tmux that the launcher runs in.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::launcher::shell;
use crate::os::Scratch;
use crate::protocol::text;

/// Columns and rows below which a pane is no fun to chat in. What would be smaller goes to a new window.
const SMALLEST: (u32, u32) = (30, 6);

/// Sets what a file says in the environment, and goes on as the client. An option of tmux's would show in `ps` what is in it.
const SCRIPT: &str = r#". "$0"; exec "$@""#;

/// Whether this process runs in a tmux.
pub(crate) fn is_inside() -> bool {
    env::var_os("TMUX").is_some_and(|value| !value.is_empty())
}

/// Opens panes.
#[derive(Default)]
pub(crate) struct Panes {
    /// The window that got the last one.
    window: Option<String>,
    /// Where the user finds the window that was opened last, until that is told.
    note: Option<String>,
    /// What their clients read when they start.
    environments: Vec<Scratch>,
}

impl Panes {
    /// Opens a pane with `client` in it, by the program `tmux`: in the window of the last one, or in a new window if that has no room.
    /// It closes when the client ends.
    ///
    /// # Errors
    /// `tmux` cannot be started, or says why not.
    pub(crate) fn open(
        &mut self,
        tmux: &Path,
        title: &str,
        client: &[OsString],
        environment: &[(&str, OsString)],
    ) -> io::Result<()> {
        let environment = Scratch::new(&exports(environment))?;
        let mut command: Vec<OsString> = [
            "-d",
            "-P",
            "-F",
            "#{pane_id} #{window_id} #{window_index}",
            "--",
        ]
        .map(OsString::from)
        .into();
        command.extend(["/bin/sh", "-c", SCRIPT].map(OsString::from));
        command.push(environment.path().into());
        command.extend(client.iter().map(|argument| escape(argument)));
        self.environments.push(environment);

        let window = self.window.as_deref();
        let mut how: Vec<OsString> = match window.filter(|window| has_room(tmux, window)) {
            // The last pane there is followed by the new one.
            Some(window) => ["split-window", "-t", &format!("{window}.{{bottom-right}}")]
                .map(OsString::from)
                .into(),
            None => ["new-window", "-n", "chat"].map(OsString::from).into(),
        };
        how.extend(command);
        let ids = tell(tmux, &how)?;
        let [pane, window, index] = ids.split(' ').collect::<Vec<_>>()[..] else {
            return Err(io::Error::other("tmux did not say where the pane is"));
        };
        if self.window.as_deref() != Some(window) {
            self.note = Some(way_to(tmux, index));
        }
        let look = [
            &["select-pane", "-t", pane, "-T", title, ";"][..],
            // The user's own settings might keep a pane after its program has ended.
            &[
                "set-option",
                "-w",
                "-t",
                window,
                "remain-on-exit",
                "off",
                ";",
            ],
            &["select-layout", "-t", window, "tiled"],
        ];
        tell(
            tmux,
            &look
                .concat()
                .into_iter()
                .map(OsString::from)
                .collect::<Vec<_>>(),
        )?;
        self.window = Some(window.to_owned());
        Ok(())
    }

    /// Where the clients are, if that is another window than before.
    pub(crate) fn take_note(&mut self) -> Option<String> {
        self.note.take()
    }
}

/// How the user gets to the window of this index, with keys as they are set unless told otherwise.
fn way_to(tmux: &Path, index: &str) -> String {
    let asked = ["show-options", "-gv", "prefix"].map(OsString::from);
    let prefix = tell(tmux, &asked).unwrap_or_default();
    let prefix = match prefix.strip_prefix("C-") {
        Some(key) => format!("Ctrl+{}", key.to_uppercase()),
        None => prefix,
    };
    // Beyond 9 there is no key for a window, but a list of them.
    let key = if index.len() == 1 { index } else { "w" };
    format!("the clients are in tmux's window {index}, \"chat\": {prefix} {key}")
}

/// Whether `window` is still there and one more pane in it would be big enough.
fn has_room(tmux: &Path, window: &str) -> bool {
    let format = "#{window_width} #{window_height} #{window_panes}";
    let question = ["display-message", "-p", "-t", window, format];
    let answer = tell(tmux, &question.map(OsString::from)).unwrap_or_default();
    let numbers: Vec<u32> = answer.split(' ').flat_map(str::parse).collect();
    let [width, height, panes] = numbers[..] else {
        return false;
    };
    let (columns, rows) = tiles(panes + 1);
    // A line goes between two panes, and one above each.
    (width + 1) / columns > SMALLEST.0 && height / rows > SMALLEST.1
}

/// The columns and rows of tmux's layout `tiled`, in which rows grow first.
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

/// Has `tmux` do something, and gives what it prints. Ctrl+C in our terminal does not reach it.
fn tell(tmux: &Path, arguments: &[OsString]) -> io::Result<String> {
    let output = Command::new(tmux)
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(text::clean(said.trim()).into_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// An argument that tmux is to hand on: a semicolon at its end would begin another command of tmux's.
fn escape(argument: &OsStr) -> OsString {
    let bytes = argument.as_bytes();
    let escaped = bytes.strip_suffix(b";").map(|rest| [rest, br"\;"].concat());
    OsString::from_vec(escaped.unwrap_or_else(|| bytes.to_vec()))
}

/// Lines of a shell that set variables.
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
    fn tiles_are_as_many_as_tmux_makes() {
        let expected = [(1, 1), (1, 2), (2, 2), (2, 2), (2, 3), (2, 3), (3, 3)];
        for (panes, tiling) in (1..).zip(expected) {
            assert_eq!(tiles(panes), tiling, "{panes}");
        }
    }

    #[test]
    fn a_semicolon_reaches_the_program_and_not_tmux() {
        for (argument, told) in [
            ("a;", r"a\;"),
            (";", r"\;"),
            (r"a\;", r"a\\;"),
            ("a;b", "a;b"),
            ("", ""),
        ] {
            assert_eq!(escape(OsStr::new(argument)), told);
        }
    }
}
