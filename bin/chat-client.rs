//! `chat-client`: parses its arguments and runs a client.

use std::process::ExitCode;

use chat_run::cli::{self, ClientArgs};
use chat_run::client::{self, Config};
use chat_run::os;
use clap::CommandFactory;
use clap::error::ErrorKind;

fn main() -> ExitCode {
    os::settle_signals();
    let config = Config::try_from(cli::parse::<ClientArgs>()).unwrap_or_else(|error| {
        ClientArgs::command()
            .error(ErrorKind::ValueValidation, error)
            .exit()
    });
    client::run(config)
}
