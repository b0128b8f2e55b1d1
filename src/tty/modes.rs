//! The modes that the programs set with control sequences. The client, the consoles and the panes
//! share one table, so that each of them sets and restores a mode in the same way.
//!
//! Source: xterm's control sequences. Terminals ignore the modes that they don't have.

use crate::tty::raw_mode::Sequences;

/// A mode that a program sets while it uses the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Shows a screen without scrollback. The text on the normal screen stays as it was.
    AlternateScreen,
    /// Marks the start and the end of a paste.
    BracketedPaste,
    /// Reports when the terminal gets or loses the focus.
    FocusReports,
    /// Sends Escape and `b` for Alt+B. By default, xterm sends `â` (resources `metaSendsEscape` and
    /// `altSendsEscape`).
    AltAsEscape,
    /// Sends no arrow keys for the mouse wheel. By default, most terminals send arrow keys for it
    /// on the alternate screen. Unlike with mouse reports, the mouse still selects text.
    NoWheelKeys,
    /// Restores the window's previous title at the end.
    Title,
}

impl Mode {
    /// The sequences that save the previous state of the mode, set the mode, and restore the state.
    /// If there is no sequence to save the state, the mode is reset to its default.
    fn sequences(self) -> [&'static str; 3] {
        match self {
            Self::AlternateScreen => ["", "\x1b[?1049h\x1b[2J", "\x1b[?1049l"],
            Self::BracketedPaste => ["", "\x1b[?2004h", "\x1b[?2004l"],
            Self::FocusReports => ["", "\x1b[?1004h", "\x1b[?1004l"],
            Self::AltAsEscape => ["\x1b[?1036;1039s", "\x1b[?1036;1039h", "\x1b[?1036;1039r"],
            // Turn the arrow keys on before restoring the mode. Alacritty and Konsole can neither
            // save nor restore modes (XTSAVE). There, the keys stay on, as they are by default.
            Self::NoWheelKeys => ["\x1b[?1007s", "\x1b[?1007l", "\x1b[?1007h\x1b[?1007r"],
            Self::Title => ["\x1b[22;2t", "", "\x1b[23;2t"],
        }
    }
}

/// Returns the sequences for a program that sets `modes`. `last` is written after the modes are
/// restored.
pub(crate) fn sequences(modes: &[Mode], last: &str) -> Sequences {
    let part = |part: usize| modes.iter().map(move |mode| mode.sequences()[part]);
    let leave = ["\x1b[?2026l\x1b[0m"].into_iter().chain(part(2).rev());
    let leave = leave.chain([last, "\x1b[?25h"]);
    Sequences {
        save: part(0).collect::<String>().into(),
        enter: part(1).collect::<String>().into(),
        leave: leave.collect::<String>().into(),
        has_flow_control: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_terminal_mode_that_is_saved_or_set_is_restored() {
        for mode in [
            Mode::AlternateScreen,
            Mode::BracketedPaste,
            Mode::FocusReports,
            Mode::AltAsEscape,
            Mode::NoWheelKeys,
            Mode::Title,
        ] {
            let [save, set, restore] = mode.sequences();
            assert_ne!(format!("{save}{set}"), "", "{mode:?}");
            if let Some(save) = save.strip_suffix('s') {
                assert!(restore.ends_with(&format!("{save}r")), "{mode:?}");
            } else if let Some((set, _)) = set.split_once('h') {
                assert_eq!(restore, format!("{set}l"));
            }
        }
    }

    #[test]
    fn terminal_modes_are_restored_in_reverse_order() {
        let sequences = sequences(&[Mode::Title, Mode::BracketedPaste], "<last>");
        assert_eq!(sequences.save, b"\x1b[22;2t");
        assert_eq!(sequences.enter, b"\x1b[?2004h");
        let leave = b"\x1b[?2026l\x1b[0m\x1b[?2004l\x1b[23;2t<last>\x1b[?25h";
        assert_eq!(sequences.leave, leave);
    }
}
