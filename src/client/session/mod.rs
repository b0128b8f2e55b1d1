//! A stay in a room: login, chat, reconnection, and draining at the end.

pub(crate) mod chat;
pub(crate) mod drain;
pub(crate) mod login;
pub(crate) mod reconnect;
