//! Starts a chat: a server in this terminal, and a window for each client.

use std::io::{self, Write};
use std::process::ExitCode;

use chat_run::cli::RunArgs;
use chat_run::launcher::{self, Config};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    let args = RunArgs::parse();
    let result = if args.list_terminals {
        launcher::list_terminals().map_err(Into::into)
    } else if args.keep_terminal {
        launcher::keep_terminal().map_err(Into::into)
    } else {
        match Config::try_from(args) {
            Ok(config) => launcher::run(&config),
            Err(usage) => RunArgs::command()
                .error(ErrorKind::ValueValidation, usage)
                .exit(),
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A terminal that is gone cannot be told.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
