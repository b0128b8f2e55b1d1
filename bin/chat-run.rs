//! `chat-run`: parses its arguments and runs a session of a server and clients.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use chat_run::cli::{self, RunArgs};

fn main() -> ExitCode {
    match run(cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Ignore errors: stderr may be a terminal that is gone.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: RunArgs) -> Result<()> {
    use chat_run::launcher::{self, Config};
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    if args.list_terminals {
        return Ok(launcher::list_terminals()?);
    }
    if let Some(leave) = args.terminal_watchdog {
        return Ok(launcher::run_terminal_watchdog(&leave)?);
    }
    if args.thaw_watchdog {
        return Ok(launcher::run_thaw_watchdog()?);
    }
    match Config::try_from(args) {
        Ok(config) => launcher::run(&config),
        Err(usage) => RunArgs::command()
            .error(ErrorKind::ValueValidation, usage)
            .exit(),
    }
}
