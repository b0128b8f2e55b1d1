//! `chat-server`: parses its arguments and runs a server.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use chat_run::cli::{self, Replay, ServerArgs};
use chat_run::net::listen::ListenAddress;
use chat_run::os;
use chat_run::protocol::limits::LOGIN_TIME;
use chat_run::server::{self, Config};
use chat_run::tty::style;

fn main() -> ExitCode {
    os::settle_signals();
    match server::run(config(cli::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Ignore errors: stderr may be a terminal that is gone.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn config(args: ServerArgs) -> Config {
    let ServerArgs {
        room,
        supervised,
        sample_socket,
        send_buffer,
    } = args;
    Config {
        target: ListenAddress::from(&room),
        port: room.port(),
        max_clients: room.max_clients.into(),
        password: room.password,
        replay: match room.replay {
            Replay::Last(count) => count,
            Replay::All => usize::MAX,
        },
        history: room.history,
        log: room.log,
        rate: room.rate,
        colored: style::is_colored(room.color),
        login_time: room.login_time.map_or(LOGIN_TIME, Duration::from_millis),
        supervised,
        sample_socket,
        send_buffer,
    }
}
