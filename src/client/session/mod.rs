//! The parts of a session in a room: login, chat, draining what is still to be sent, reconnecting.

pub(crate) mod chat;
pub(crate) mod drain;
pub(crate) mod login;
pub(crate) mod reconnect;
pub(crate) mod room;
