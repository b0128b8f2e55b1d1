//! What a terminal can do: not to show what is typed.

#[cfg(unix)]
mod unix {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    /// How the terminal was before typing was hidden. One for the process, so that any thread that ends it can put it right.
    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    /// Typing is hidden until this is dropped, or until [`show_typing`].
    #[derive(Debug)]
    pub struct Hidden(());

    impl Drop for Hidden {
        fn drop(&mut self) {
            show_typing();
        }
    }

    /// Stops the terminal on stdin from showing what is typed, but for the end of the line.
    ///
    /// # Errors
    /// Stdin is no terminal.
    pub fn hide_typing() -> io::Result<Hidden> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let guard = Hidden(());
        tcsetattr(&stdin, OptionalActions::Now, &hidden)?;
        Ok(guard)
    }

    /// Gives the terminal back as it was before [`hide_typing`]; nothing where that was not called.
    pub fn show_typing() {
        let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = before.take() {
            // It fails where the terminal is gone.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        }
    }
}

#[cfg(unix)]
pub use unix::*;

#[cfg(not(unix))]
mod elsewhere {
    use std::io;

    /// Nothing is hidden here.
    #[derive(Debug)]
    pub struct Hidden(());

    /// Not to be had here: what is typed shows.
    ///
    /// # Errors
    /// None.
    pub fn hide_typing() -> io::Result<Hidden> {
        Ok(Hidden(()))
    }

    /// There is nothing to give back here.
    pub fn show_typing() {}
}

#[cfg(not(unix))]
pub use elsewhere::*;
