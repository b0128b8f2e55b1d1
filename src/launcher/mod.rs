//! The launcher: a server and its client windows, from start to end.
//!
//! ```text
//!   chat-run ──── stdin (console), stdout (log) ──── chat-server
//!     │  │                                                │
//!     │  └── control socket ──────── chat-client ── TCP ──┘
//!     └───── starts ── emulator ── opens a window with ──┘
//! ```
//!
//! Instead of an emulator, the tmux that chat-run was started in can show the clients (`tmux.rs`).
//!
//! One thread decides, the one that called [`run`]; all others bring it facts: `server`, `chat 1`, … and `keeper` wait for the end of a child, `log` copies
//! what the server says, `control` waits for the clients, `console` for what is typed, and `ctrl-c` for signals. `output`
//! writes to the terminal, so that one that blocks or is gone holds up nothing else. Built-in panes have threads of their own, and take the
//! terminal: then `output` writes into the server's.

mod console;
mod display;
mod output;
mod process;
mod server;
mod session;

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::io::Errno;

use crate::cli::{RoomArgs, RunArgs, Terminal};
use crate::launcher::display::emulator::open::ALONE;
use crate::launcher::display::{emulator, panes};
use crate::net::listen::{self, ListenAddress};
use crate::os;
use crate::protocol::request::Identity;

/// Time that a window has from its start to its client's hello. Three seconds were seen once, on a busy machine.
const WINDOW_TIME: Duration = Duration::from_secs(10);

/// Time from the request to end until the next step, SIGTERM.
const END_TIME: Duration = Duration::from_millis(500);

/// A session as it was asked for, checked.
#[derive(Debug)]
pub struct Config {
    clients: usize,
    terminal: Terminal,
    members: Vec<Identity>,
    big: bool,
    window_time: Duration,
    end_time: Duration,
    room: RoomArgs,
}

/// Reads whom a client logs in as without being asked: `NAME` or `NAME GROUP`.
fn member(text: &str) -> Result<Identity, String> {
    Identity::parse(text).map_err(|error| format!("cannot log in as `{text}`: {error}"))
}

impl TryFrom<RunArgs> for Config {
    /// What is wrong with the usage.
    type Error = String;

    fn try_from(args: RunArgs) -> Result<Self, Self::Error> {
        let clients = usize::from(args.clients);
        let mut members: Vec<Identity> = Vec::new();
        for text in &args.names {
            let member = member(text)?;
            let same = members
                .iter()
                .find(|other| other.name.is_same(&member.name));
            if let Some(other) = same {
                return Err(format!(
                    "--names has `{}` and `{}`, which are the same name; give each client its own",
                    other.name, member.name
                ));
            }
            members.push(member);
        }
        if members.len() > clients {
            return Err(format!(
                "--names has {} names for {clients} clients; give fewer, or `-c {}`",
                members.len(),
                members.len()
            ));
        }
        let terminal = match args.terminal() {
            // Only `/open` may come to need one, and takes any then.
            Err(_) if clients == 0 => Terminal::Auto,
            asked => asked?,
        };
        Ok(Self {
            clients,
            terminal,
            members,
            big: args.big,
            window_time: args.window_time.map_or(WINDOW_TIME, Duration::from_millis),
            end_time: args.end_time.map_or(END_TIME, Duration::from_millis),
            room: args.room,
        })
    }
}

/// Our other two programs.
#[derive(Debug)]
struct Programs {
    server: PathBuf,
    client: PathBuf,
}

impl Programs {
    fn find() -> Result<Self> {
        Ok(Self {
            server: find_program("chat-server")?,
            client: find_program("chat-client")?,
        })
    }
}

/// Finds a program beside our own, else on PATH.
fn find_program(name: &str) -> Result<PathBuf> {
    let beside = own_program()
        .map(|own| own.with_file_name(name))
        .filter(|path| path.is_file());
    beside.or_else(|| which::which(name).ok()).ok_or_else(|| {
        anyhow!("cannot find {name}, neither beside chat-run nor on PATH; build it with `cargo build --release`")
    })
}

/// Our own program. Where there is no /proc, nothing but the name by which we were called tells where it is.
fn own_program() -> Option<PathBuf> {
    let called = || which::which(env::args_os().next()?).ok();
    env::current_exe().ok().or_else(called)
}

/// Runs a session until it is ended: by SIGINT, SIGTERM, SIGHUP, `/quit` on the console, or the server's end.
///
/// To be called in the main thread, before any other is started. It writes to stdout and stderr, and reads stdin.
///
/// # Errors
/// Something that a session needs is missing, no window opened, or the server ended by itself. Nothing is left running in any case.
pub fn run(config: &Config) -> Result<()> {
    os::settle_signals();
    os::reset_sigchld().context("cannot handle signals")?;
    start(config).map_err(advise)
}

/// Says what to try where the system has too little of something.
fn advise(error: anyhow::Error) -> anyhow::Error {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    let advice = match causes.find_map(|cause: &io::Error| Errno::from_io_error(cause)) {
        Some(Errno::MFILE | Errno::NFILE) => "raise `ulimit -n`",
        Some(Errno::AGAIN) => "end other programs, or raise `ulimit -u`",
        Some(Errno::TOOBIG) => "make the environment smaller",
        _ => return error,
    };
    anyhow!("{error:#}; {advice}")
}

/// Checks all that can be checked before anything is started, and runs the session.
fn start(config: &Config) -> Result<()> {
    let programs = Programs::find()?;
    listen::check(&ListenAddress::from(&config.room), config.room.port())?;
    // Without clients, panes are for whoever asks for them by name.
    let by_name = matches!(config.terminal, Terminal::Tmux | Terminal::Panes);
    let ways = if config.clients == 0 && !by_name {
        Vec::new()
    } else {
        display::ways(config.terminal)?
    };
    session::run(config, programs, ways)
}

/// Stands by to give the terminal on stdout back when the launcher cannot: what `chat-run` does for itself, with its socket on stdin.
///
/// # Errors
/// Stdin is not that socket, or stdout no terminal.
pub fn keep_terminal() -> io::Result<()> {
    panes::keep()
}

/// Shows which terminal emulators are found, which one `auto` takes, and why others cannot be had.
///
/// # Errors
/// stdout cannot be written to.
pub fn list_terminals() -> io::Result<()> {
    let mut taken = false;
    let mut list = String::new();
    for emulator in &emulator::EMULATORS {
        let line = match emulator.find() {
            Ok(found) => {
                let takes = emulator.is_automatic() && !taken;
                let mark = if takes { "  (auto takes this one)" } else { "" };
                taken |= takes;
                format!(
                    "{:<20}{}{mark}\n",
                    emulator.program,
                    found.program.display()
                )
            }
            Err(error) => {
                let installed = if emulator.is_installed() {
                    "installed; "
                } else {
                    ""
                };
                format!("{:<20}{installed}{error}\n", emulator.program)
            }
        };
        list.push_str(&line);
    }
    let panes = match panes::check() {
        Ok(()) if taken => "built in".to_owned(),
        Ok(()) => "built in  (auto takes this one)".to_owned(),
        Err(error) if taken => error.to_string(),
        Err(error) => format!(
            "{error}\n\nauto finds nothing that works here, and ends with an error; {ALONE}"
        ),
    };
    list.push_str(&format!("{:<20}{panes}\n", "panes"));
    io::stdout().write_all(list.as_bytes())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::protocol::name::{Group, Name};

    fn config(arguments: &[&str]) -> Result<Config, String> {
        let arguments = ["chat-run"].iter().chain(arguments);
        RunArgs::try_parse_from(arguments).unwrap().try_into()
    }

    #[test]
    fn names_may_come_with_a_group() {
        let config = config(&["--names", "ala,ola 3ID12"]).unwrap();
        let member = |name: &str, group: Option<&str>| Identity {
            name: Name::new(name).unwrap(),
            group: group.map(|group| Group::new(group).unwrap()),
        };
        assert_eq!(
            config.members,
            [member("ala", None), member("ola", Some("3ID12"))]
        );
    }

    #[test]
    fn names_that_make_no_sense_are_wrong_usage() {
        for (arguments, reason) in [
            (&["--names", "ala,Ala"][..], "the same name"),
            (
                &["--names", "ala,*ola"],
                "as `*ola`: a name begins with a letter",
            ),
            (
                &["--names", "ala g!"],
                "as `ala g!`: \"!\" cannot be in a group",
            ),
            (&["-c", "1", "--names", "ala,ola"], "2 names for 1 clients"),
            (&["--names", "ala,,ola"], "as ``: a name is missing"),
            (
                &["--names", "a b c"],
                "as `a b c`: a name is one word, and a group one more: try a_b_c",
            ),
        ] {
            let error = config(arguments).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
