//! A user's leaving: what they have said is sent first, for as long as it goes on, unless they do not wait for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::client::net::outgoing::{Outgoing, Said};
use crate::client::session::chat::{ChatSession, in_words};
use crate::client::session::reconnect::Room;
use crate::client::ui::Ui;
use crate::client::ui::tui::Entered;
use crate::client::{Client, Happening, Stop};

/// Time that what was said last takes to arrive, where nothing slows it down. Nobody who leaves is told of it until then.
const ARRIVAL_TIME: Duration = Duration::from_millis(250);

impl Client {
    /// Waits until all that was said has arrived, where the end will be sent behind it, or until the server takes no more of it; true where the user
    /// does not wait any longer.
    pub(crate) fn see_off(&mut self, chat: &mut ChatSession, room: &mut Room) -> bool {
        match self.send_rest(chat, room) {
            Ok(()) => false,
            // Who is told to end by a signal, or has no terminal any more, says no second time that they do not wait.
            Err(stop) => matches!(stop, Stop::Leave) && !self.leaving.is_asked(),
        }
    }

    fn send_rest(&mut self, chat: &mut ChatSession, room: &mut Room) -> Result<(), Stop> {
        let begin = Instant::now();
        let mut before = None;
        let mut progress = begin;
        while let Some((left, _)) = chat.outgoing.as_ref().and_then(Outgoing::left)
            && !self.has_ended
        {
            if before.replace(left) != Some(left) {
                progress = Instant::now();
            }
            let give_up_at = progress + self.config.answer_time;
            if give_up_at <= Instant::now() {
                return Ok(());
            }
            let show_at = begin + ARRIVAL_TIME;
            let is_early = show_at > Instant::now();
            if !is_early {
                let left = in_words(left);
                self.ui.status(Some(format!(
                    "{left}, then you leave; Ctrl+C leaves at once"
                )));
            }
            let wake_at = if is_early { show_at } else { give_up_at };
            match self.next_until(Some(wake_at))? {
                Some(Happening::Received(received)) => self.hear(&received, chat, room)?,
                Some(Happening::Entered) => self.enter_late()?,
                Some(
                    Happening::Typed(_)
                    | Happening::Terminal(_)
                    | Happening::NoKeys
                    | Happening::Attempt(_)
                    | Happening::Ended(_)
                    | Happening::Leave,
                )
                | None => {}
            }
        }
        Ok(())
    }

    /// Does what can be done with a line that is entered by somebody who is about to leave.
    fn enter_late(&mut self) -> Result<(), Stop> {
        if let Ui::Tui(window) = &mut self.ui {
            match window.entered() {
                Entered::Nothing => {}
                Entered::Leave => return Err(Stop::Leave),
                Entered::Lines(_) => window.refuse(&"you are leaving: nothing more is sent"),
            }
        }
        Ok(())
    }
}

/// What it means for one who has left that this has not arrived.
pub(crate) fn check_arrived(unacked: &VecDeque<Said>) -> Result<(), Stop> {
    match unacked.len() {
        0 => Ok(()),
        1 => Err(Stop::Failed(anyhow!(
            "1 line may not have been sent: you left before the room had it"
        ))),
        lines => Err(Stop::Failed(anyhow!(
            "{lines} lines may not have been sent: you left before the room had them"
        ))),
    }
}
