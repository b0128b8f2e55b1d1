//! Writes the man pages and the shells' completions of the three programs below a folder, where systems look for them below `share`.

use std::fs;
use std::io;
use std::path::Path;

use chat_run::cli::{ClientArgs, RunArgs, ServerArgs};
use clap::{Command, CommandFactory};
use clap_complete::Shell;

/// The shells, with the folders in which they look.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/site-functions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];

fn main() -> io::Result<()> {
    let Some(share) = std::env::args_os().nth(1) else {
        return Err(io::Error::other("name a folder"));
    };
    let share = Path::new(&share);
    for command in [
        RunArgs::command(),
        ServerArgs::command(),
        ClientArgs::command(),
    ] {
        let name = command.get_name().to_owned();
        let mut visible = without_hidden(&command);
        for (shell, folder) in SHELLS {
            let folder = share.join(folder);
            fs::create_dir_all(&folder)?;
            let file = clap_complete::generate_to(shell, &mut visible, &name, &folder)?;
            if matches!(shell, Shell::Bash) {
                // bash-completion loads what is called as the command.
                fs::rename(file, folder.join(&name))?;
            }
        }
        let folder = share.join("man/man1");
        fs::create_dir_all(&folder)?;
        clap_mangen::generate_to(command, &folder)?;
    }
    Ok(())
}

/// What can be completed: hidden options are for our own programs, and clap_complete would offer them.
fn without_hidden(command: &Command) -> Command {
    let options = command
        .get_arguments()
        .filter(|option| !option.is_hide_set());
    let bare = Command::new(command.get_name().to_owned()).version("");
    options.cloned().fold(bare, Command::arg)
}
