//! A session in a room, over all its connections: login, chat, draining what is still to be sent,
//! and reconnecting.

pub(crate) mod chat;
pub(crate) mod drain;
pub(crate) mod login;
pub(crate) mod reconnect;
pub(crate) mod room;

use std::time::Duration;

use crate::client::event::{Lost, Stop};
use crate::client::event_loop::EventLoop;
use crate::client::session::chat::ChatSession;
use crate::client::session::login::{Joined, LoginDialog};
use crate::client::session::reconnect::Backoff;
use crate::client::session::room::RoomState;

/// Chats until the user leaves or the room is gone. If `reconnects`, a lost connection is replaced
/// by a new one.
pub(crate) fn run(
    login: &mut LoginDialog,
    events: &mut EventLoop,
    room: &mut RoomState,
    answer_time: Duration,
    reconnects: bool,
) -> Result<(), Stop> {
    let joined = login.join(events)?;
    login.remember_name(events);
    let result = chat(joined, login, events, room, answer_time, reconnects);
    match result {
        Ok(()) | Err(Stop::Leave) => drain::check_echoed(&room.unacked).and(result),
        Err(_) => result,
    }
}

fn chat(
    mut joined: Joined,
    login: &mut LoginDialog,
    events: &mut EventLoop,
    room: &mut RoomState,
    answer_time: Duration,
    reconnects: bool,
) -> Result<(), Stop> {
    let mut backoff = Backoff::default();
    loop {
        backoff.on_connected();
        let lost = match run_connection(joined, events, room, answer_time) {
            Err(Stop::Lost(Lost { reason, .. })) if reconnects => reason,
            Err(Stop::ShutDown) if reconnects => "the server has shut down".into(),
            result => return result,
        };
        events
            .ui
            .show_error(&format!("{lost}: trying again, Ctrl+C gives up"));
        login.request.resume = room.resume_point();
        joined = reconnect::reconnect(events, login, &mut backoff)?;
    }
}

/// Chats over one connection. Closes it and ends its threads.
fn run_connection(
    joined: Joined,
    events: &mut EventLoop,
    room: &mut RoomState,
    answer_time: Duration,
) -> Result<(), Stop> {
    let Joined {
        welcome,
        has_resumed,
        connection,
        receiver,
    } = joined;
    events.is_disconnected = false;
    let mut session = ChatSession::enter(
        &welcome,
        has_resumed,
        &connection,
        events,
        room,
        answer_time,
    )?;
    let result = session.chat();
    session.finish_sending(&connection);
    let is_hurried = matches!(result, Ok(()) | Err(Stop::Leave)) && drain::drain(&mut session);
    if !is_hurried {
        session.wait_for_disconnect();
    }
    connection.close();
    session.in_flight.close();
    session.wait_for_disconnect();
    if session.events.is_disconnected {
        let _ = receiver.join();
    }
    session.keep_unacked();
    result
}
