//! The parts of a session in a room: logging in, chatting, sending the remaining messages before
//! leaving, reconnecting.

pub(crate) mod chat;
pub(crate) mod drain;
pub(crate) mod login;
pub(crate) mod reconnect;
pub(crate) mod room;
