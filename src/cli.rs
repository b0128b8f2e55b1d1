//! The command-line options of the three programs. Their help, man pages and shell completions are
//! generated from this file.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, Args, Command, Parser, ValueEnum};

use crate::protocol::limits::DEFAULT_PORT;
use crate::protocol::password::{Password, PasswordError};

/// Parses the command line. On a usage error or for `--help`, prints the message and exits.
pub fn parse<T: Parser>() -> T {
    T::try_parse().unwrap_or_else(|error| usage_error(error).exit())
}

/// Removes clap's tip that a misspelled option may be passed as a value after `--`. The tip is
/// wrong here, because no value begins with `-`.
fn usage_error(mut error: clap::Error) -> clap::Error {
    error.remove(ContextKind::Suggested);
    error
}

/// When to color output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Also in a pipe or file.
    Always,
    Never,
}

/// The number of past messages that a newcomer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    Last(usize),
    All,
}

impl FromStr for Replay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self::All);
        }
        text.parse()
            .map(Self::Last)
            .map_err(|_| "give a number of messages, or `all`".into())
    }
}

impl Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last(count) => write!(f, "{count}"),
            Self::All => f.write_str("all"),
        }
    }
}

/// Returns a parser of numbers in `range`. Its error states the range in words. clap's own error
/// would state it in Rust's notation, such as `1..=9`.
fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Copy,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("give a number from {} to {}", range.start(), range.end()))
    }
}

/// Parses a port. The error states the valid range; std's error would only say `invalid digit`.
fn port(text: &str) -> Result<u16, &'static str> {
    text.parse()
        .map_err(|_| "a port is a number from 0 to 65535")
}

/// Parses a port to connect to, which cannot be 0.
fn port_to_join(text: &str) -> Result<u16, &'static str> {
    text.parse()
        .map(NonZero::<u16>::get)
        .map_err(|_| "a port is a number from 1 to 65535")
}

/// The environment variable for a room's password.
pub const PASSWORD_VARIABLE: &str = "CHAT_PASSWORD";

/// Parses a password. Unlike clap's own errors, its errors do not show the value.
#[derive(Clone)]
struct PasswordParser;

impl TypedValueParser for PasswordParser {
    type Value = Password;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Password, clap::Error> {
        self.parse_ref_(command, argument, value, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        command: &Command,
        _: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<Password, clap::Error> {
        let text = value.to_str().ok_or(PasswordError::NotUtf8);
        text.and_then(Password::new).map_err(|error| {
            let place = if source == ValueSource::EnvVariable {
                PASSWORD_VARIABLE
            } else {
                "--password"
            };
            let message = format!("invalid value in {place}: {error}");
            command.clone().error(ErrorKind::ValueValidation, message)
        })
    }
}

/// The options common to `chat-server` and `chat-run`.
#[derive(Args, Clone, Debug)]
pub struct RoomArgs {
    /// Port to listen on, like --port
    #[arg(value_name = "PORT", conflicts_with = "port", value_parser = port, allow_negative_numbers = true)]
    lone_port: Option<u16>,

    /// Port to listen on; 0 for any free port
    #[arg(short, long, value_name = "PORT", default_value_t = DEFAULT_PORT, value_parser = port, allow_negative_numbers = true)]
    port: u16,

    /// Address to listen on, or a host name to listen on all of its addresses [default: 127.0.0.1
    /// and ::1]
    #[arg(long, value_name = "ADDR", conflicts_with = "lan")]
    pub host: Option<String>,

    /// Listen on every interface, IPv4 and IPv6, so that others on this network can join
    #[arg(long)]
    pub lan: bool,

    /// Maximum number of members, 1 to 20000
    #[arg(short, long, value_name = "MAX", default_value_t = 128, allow_negative_numbers = true, value_parser = number(1..=20_000_u16))]
    pub max_clients: u16,

    /// Password that clients must give; set CHAT_PASSWORD instead to hide it from `ps`
    #[arg(long, value_name = "PW", env = unless_empty(PASSWORD_VARIABLE), hide_env_values = true, value_parser = PasswordParser)]
    pub password: Option<Password>,

    /// Number of past messages to show to newcomers, or `all`
    #[arg(
        long,
        value_name = "N",
        default_value = "100",
        allow_negative_numbers = true
    )]
    pub replay: Replay,

    /// Keep the conversation in FILE, so that it survives a restart
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,

    /// Append the log to FILE, as plain text
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,

    /// Maximum lines per second per client, with bursts of ten times as many; 0 for no limit
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        allow_negative_numbers = true,
        value_parser = number(0..=u32::MAX)
    )]
    pub rate: u32,

    /// When to use colors
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub color: Color,

    /// Time limit for logging in, in milliseconds; for tests
    #[arg(long, value_name = "MS", hide = true)]
    pub login_time: Option<u64>,
}

impl RoomArgs {
    /// The port to listen on; 0 for any free port.
    pub fn port(&self) -> u16 {
        self.lone_port.unwrap_or(self.port)
    }

    /// Returns these options as arguments for `chat-server`, without the color, which the caller
    /// decides, and without the password, which is passed in the environment to hide it from `ps`.
    pub fn to_server_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--port".into(), self.port().to_string().into()];
        if self.lan {
            args.push("--lan".into());
        }
        if let Some(host) = &self.host {
            args.extend(["--host".into(), host.into()]);
        }
        args.extend(["--max-clients".into(), self.max_clients.to_string().into()]);
        args.extend(["--replay".into(), self.replay.to_string().into()]);
        if let Some(file) = &self.history {
            args.extend(["--history".into(), file.into()]);
        }
        if let Some(file) = &self.log {
            args.extend(["--log".into(), file.into()]);
        }
        args.extend(["--rate".into(), self.rate.to_string().into()]);
        if let Some(time) = self.login_time {
            args.extend(["--login-time".into(), time.to_string().into()]);
        }
        args
    }
}

/// Returns `variable`, the environment variable from which an option takes its value, or `None` if
/// the variable is set but empty. The option then ignores the variable, because an empty variable
/// usually means an unset one in shell scripts.
fn unless_empty(variable: &'static str) -> Option<&'static str> {
    let empty = env::var_os(variable).is_some_and(|value| value.is_empty());
    (!empty).then_some(variable)
}

/// A multi-threaded chat server for a terminal
#[derive(Parser, Debug)]
#[command(
    name = "chat-server",
    version,
    after_help = "\
Examples:
  chat-server                        this machine only, port 9999
  chat-server 8080 --lan             everyone on this network may join
  chat-server --history room.jsonl   keep the conversation across restarts

Join with `chat-client`, or with `nc localhost 9999` and a name."
)]
pub struct ServerArgs {
    #[command(flatten)]
    pub room: RoomArgs,

    /// Read commands from stdin even if it's not a terminal, and shut down at its end; for chat-run
    #[arg(long, hide = true)]
    pub supervised: bool,

    /// Name of the local socket on which the launcher asks for samples; for chat-run
    #[arg(long, value_name = "NAME", hide = true)]
    pub sample_socket: Option<OsString>,

    /// Size of each connection's send buffer, in bytes; for chat-run --small-buffers
    #[arg(long, value_name = "BYTES", hide = true)]
    pub send_buffer: Option<usize>,
}

/// Join a chat room, on a terminal or through a pipe
#[derive(Parser, Debug)]
#[command(
    name = "chat-client",
    version,
    after_help = "\
Examples:
  chat-client                        the room on this machine, port 9999
  chat-client 192.168.1.5 8080       a room elsewhere
  chat-client -n ala -g 3ID12        with a name and a group
  echo hello | chat-client -n ala    send one line, show the answers, and exit"
)]
pub struct ClientArgs {
    /// Host to join: a name, an address, HOST:PORT, [::1]:PORT, or a lone port [default: localhost]
    #[expect(rustdoc::broken_intra_doc_links, reason = "--help shows the brackets")]
    #[arg(value_name = "HOST")]
    pub host: Option<String>,

    /// Port to join [default: 9999]
    #[arg(value_name = "PORT", conflicts_with = "port", value_parser = port_to_join, allow_negative_numbers = true)]
    pub lone_port: Option<u16>,

    /// Port to join [default: 9999]
    #[arg(short, long, value_name = "PORT", value_parser = port_to_join, allow_negative_numbers = true)]
    pub port: Option<u16>,

    /// Name to join with; asked for if not given
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<String>,

    /// Group to show next to the name, such as a class
    #[arg(short, long, value_name = "GROUP")]
    pub group: Option<String>,

    /// The room's password; set CHAT_PASSWORD instead to hide it from `ps`
    #[arg(long, value_name = "PW", env = unless_empty(PASSWORD_VARIABLE), hide_env_values = true, value_parser = PasswordParser)]
    pub password: Option<Password>,

    /// Exit when the connection is lost, instead of reconnecting
    #[arg(long)]
    pub no_reconnect: bool,

    /// When to use colors
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub color: Color,

    /// Name of the launcher's control socket; exit when the connection to it closes; for chat-run
    #[arg(long, value_name = "NAME", env = "CHAT_CONTROL_SOCKET", hide = true)]
    pub control_socket: Option<OsString>,

    /// Number of the launcher's window, for the title; for chat-run
    #[arg(long, value_name = "N", hide = true)]
    pub window: Option<usize>,

    /// Run in a launcher's pane, which stays open when the client exits; for chat-run
    #[arg(long, hide = true)]
    pub in_pane: bool,

    /// Size of the socket's receive buffer in bytes (the kernel doubles it); for chat-run
    #[arg(long, value_name = "BYTES", hide = true)]
    pub receive_buffer: Option<usize>,

    /// Time limit for the server's answer to a message, in milliseconds; for tests
    #[arg(long, value_name = "MS", hide = true)]
    pub answer_time: Option<u64>,
}

/// The terminal emulator that opens the windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Terminal {
    /// The first emulator in this list that is installed and works; otherwise panes.
    #[default]
    Auto,
    /// GNOME Terminal.
    GnomeTerminal,
    /// Terminator.
    Terminator,
    /// xterm.
    Xterm,
    /// Konsole.
    Konsole,
    /// Xfce Terminal.
    Xfce4Terminal,
    /// kitty.
    Kitty,
    /// Alacritty.
    Alacritty,
    /// Ptyxis.
    Ptyxis,
    /// WezTerm.
    Wezterm,
    /// foot.
    Foot,
    /// The emulator selected in Debian's alternatives system.
    XTerminalEmulator,
    /// Panes in a new window of the current tmux session.
    Tmux,
    /// Built-in panes, in this terminal.
    Panes,
    /// No windows: only print how to join.
    None,
}

/// Start a chat: a server in this terminal, and a window for each client
#[derive(Parser, Debug)]
#[command(
    name = "chat-run",
    version,
    after_help = "\
Examples:
  chat-run -c 3 -p 8080              a server and three client windows
  chat-run --names ala,ola,jan       three clients that have logged in already
  chat-run --lan -c 0                only a server, for everyone on this network

Ctrl+C ends the session: the server, the clients and their windows."
)]
pub struct RunArgs {
    /// Client windows to open, 0 to 64 [default: 3]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = number(0..=64_u8))]
    pub clients: Option<u8>,

    /// Terminal emulator for the windows [env: CHAT_TERMINAL] [default: auto]
    #[arg(short, long, value_name = "TERMINAL", value_enum)]
    pub terminal: Option<Terminal>,

    /// Names for the clients, in order: NAME or "NAME GROUP"; the other clients ask for one
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pub names: Vec<String>,

    /// Use large letters, for a projector
    #[arg(long)]
    pub big: bool,

    /// Start with a live view of the server's threads, locks and queues; needs panes
    #[arg(long)]
    pub live: bool,

    /// Use small socket buffers, so that a client that stops reading soon falls behind
    #[arg(long)]
    pub small_buffers: bool,

    /// Wait for the launcher to exit, and restore its terminal with these sequences; for chat-run
    #[arg(long, hide = true)]
    pub terminal_watchdog: Option<String>,

    /// Wait for the launcher to exit, and continue a frozen client; for chat-run
    #[arg(long, hide = true)]
    pub thaw_watchdog: bool,

    /// List the installed terminal emulators and the one that `auto` selects, and exit
    #[arg(long)]
    pub list_terminals: bool,

    /// Time limit for a window to show its client, in milliseconds; for tests
    #[arg(long, value_name = "MS", hide = true)]
    pub window_time: Option<u64>,

    /// Time until clients and windows that don't exit get SIGTERM, in milliseconds; for tests
    #[arg(long, value_name = "MS", hide = true)]
    pub end_time: Option<u64>,

    #[command(flatten)]
    pub room: RoomArgs,
}

impl RunArgs {
    /// Returns the emulator from the option, or else from `CHAT_TERMINAL`.
    ///
    /// The variable is not declared to clap: in an error, clap would name the option instead, and
    /// it would reject a wrong value even if no emulator is needed.
    ///
    /// # Errors
    /// The variable's value isn't a known emulator. The message lists all known ones.
    pub fn terminal(&self) -> Result<Terminal, String> {
        const VARIABLE: &str = "CHAT_TERMINAL";
        let variable = || env::var_os(VARIABLE).filter(|value| !value.is_empty());
        let Some(text) = self.terminal.is_none().then(variable).flatten() else {
            return Ok(self.terminal.unwrap_or_default());
        };
        let text = text.to_string_lossy();
        Terminal::from_str(&text, false).map_err(|_| {
            let values = Terminal::value_variants().iter();
            let names: Vec<String> = values
                .filter_map(Terminal::to_possible_value)
                .map(|value| value.get_name().to_owned())
                .collect();
            format!(
                "`{text}` in {VARIABLE} is not a terminal for the windows: use one of {}",
                names.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_gets_a_tip_only_if_it_resembles_a_known_option() {
        let parse = |option| RunArgs::try_parse_from(["chat-run", option]).unwrap_err();
        let said = usage_error(parse("--nams")).to_string();
        assert!(
            said.contains("similar argument exists: '--names'"),
            "{said}"
        );
        let said = usage_error(parse("--frobnicate")).to_string();
        assert!(
            said.contains("unexpected argument '--frobnicate'"),
            "{said}"
        );
        assert!(!said.contains("tip:"), "{said}");
    }

    #[test]
    fn port_0_is_accepted_to_listen_on_but_not_to_connect_to() {
        assert!(RunArgs::try_parse_from(["chat-run", "-p", "0"]).is_ok());
        for arguments in [&["-p", "0"][..], &["localhost", "0"], &["-p", "65536"]] {
            let arguments = ["chat-client"].iter().chain(arguments);
            let error = ClientArgs::try_parse_from(arguments).unwrap_err();
            let said = error.to_string();
            assert!(
                said.contains("a port is a number from 1 to 65535"),
                "{said}"
            );
        }
    }
}
