//! Leaving with messages in flight: the client sends them first, unless the user chooses not to
//! wait.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::client::event::{ClientEvent, Stop};
use crate::client::session::chat::{ChatSession, lines_left};
use crate::client::ui::Ui;
use crate::client::ui::tui::Submission;

/// How long to wait for the last echoes before telling the user about the wait. Echoes rarely take
/// longer.
const QUIET_TIME: Duration = Duration::from_millis(250);

/// Waits until all messages are echoed. Gives up if no echo arrives for the session's
/// `answer_time`, after which a silent connection counts as lost. Returns `Break` if the user
/// chooses to leave without waiting any longer.
pub(crate) fn drain(session: &mut ChatSession<'_>) -> ControlFlow<()> {
    match wait_for_echoes(session) {
        Err(Stop::Leave) if !session.events.leave_request.is_made() => ControlFlow::Break(()),
        // Return `Continue` after a signal too, so that the caller waits for the server to close
        // the connection.
        Ok(()) | Err(_) => ControlFlow::Continue(()),
    }
}

fn wait_for_echoes(session: &mut ChatSession<'_>) -> Result<(), Stop> {
    let start = Instant::now();
    let mut progress_at = start;
    let mut left_before = None;
    while let Some(left) = session.unechoed()
        && !session.events.is_disconnected
    {
        if left_before.replace(left) != Some(left) {
            progress_at = Instant::now();
        }
        let give_up_at = progress_at + session.answer_time;
        if give_up_at <= Instant::now() {
            return Ok(());
        }
        let show_at = start + QUIET_TIME;
        let is_early = show_at > Instant::now();
        if !is_early {
            let left = lines_left(left);
            session.events.ui.set_status(Some(format!(
                "{left}, then you leave; Ctrl+C leaves at once"
            )));
        }
        let wake_at = if is_early { show_at } else { give_up_at };
        match session.events.next_until(Some(wake_at))? {
            Some(ClientEvent::Received(received)) => session.on_received(&received)?,
            Some(ClientEvent::Entered) => submit_late(session)?,
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// Handles a line that the user enters after asking to leave, while the client waits for the last
/// echoes.
fn submit_late(session: &mut ChatSession<'_>) -> Result<(), Stop> {
    if let Ui::Tui(tui) = &mut session.events.ui {
        match tui.submit() {
            Submission::None => {}
            Submission::Leave => return Err(Stop::Leave),
            Submission::Lines(_) => tui.show_error(&"you are leaving: nothing more is sent"),
        }
    }
    Ok(())
}

/// Fails if the user has left and some lines may not have reached the room: `waiting` is the number
/// of lines that were still waiting for a connection, and `unacked` is the number of messages that
/// the server did not echo.
pub(crate) fn check_sent(waiting: usize, unacked: usize) -> Result<(), Stop> {
    let lines = waiting + unacked;
    let not_sent = match unacked {
        0 if waiting == 0 => return Ok(()),
        0 => not_sent(waiting),
        _ if lines == 1 => "1 line may not have been sent".into(),
        _ => format!("{lines} lines may not have been sent"),
    };
    let them = if lines == 1 { "it" } else { "them" };
    Err(Stop::Failed(anyhow!(
        "{not_sent}: you left before the room had {them}"
    )))
}

/// Describes how many lines were not sent.
pub(crate) fn not_sent(count: usize) -> String {
    match count {
        1 => "1 line was not sent".into(),
        count => format!("{count} lines were not sent"),
    }
}
