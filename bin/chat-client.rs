//! `chat-client`: parses its arguments and runs a client.

use std::process::ExitCode;

use chat_run::cli::ClientArgs;
use chat_run::client::{self, Config};
use chat_run::os;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    os::settle_signals();
    let config = Config::try_from(ClientArgs::parse()).unwrap_or_else(|error| {
        ClientArgs::command()
            .error(ErrorKind::ValueValidation, error)
            .exit()
    });
    client::run(config)
}
