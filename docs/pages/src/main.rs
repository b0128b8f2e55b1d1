//! Writes the man pages and shell completions of the three programs to a directory, laid out like
//! `share` in `/usr`.

use std::fs;
use std::io;
use std::path::Path;

use chat_run::cli::{ClientArgs, RunArgs, ServerArgs};
use clap::{Command, CommandFactory};
use clap_complete::Shell;

/// The shells, and the directories in which they look for completions.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/site-functions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];

fn main() -> io::Result<()> {
    let Some(share) = std::env::args_os().nth(1) else {
        return Err(io::Error::other("name the directory to write to"));
    };
    let share = Path::new(&share);
    for command in [
        RunArgs::command(),
        ServerArgs::command(),
        ClientArgs::command(),
    ] {
        let name = command.get_name().to_owned();
        let mut visible = without_hidden(&command);
        for (shell, directory) in SHELLS {
            let directory = share.join(directory);
            fs::create_dir_all(&directory)?;
            let file = clap_complete::generate_to(shell, &mut visible, &name, &directory)?;
            if matches!(shell, Shell::Bash) {
                // bash-completion loads the file with the name of the command.
                fs::rename(file, directory.join(&name))?;
            }
        }
        let directory = share.join("man/man1");
        fs::create_dir_all(&directory)?;
        clap_mangen::generate_to(command, &directory)?;
    }
    Ok(())
}

/// The command without its hidden options, which only our own programs use. clap_complete would
/// offer them.
fn without_hidden(command: &Command) -> Command {
    let options = command
        .get_arguments()
        .filter(|option| !option.is_hide_set());
    let bare = Command::new(command.get_name().to_owned()).version("");
    options.cloned().fold(bare, Command::arg)
}
