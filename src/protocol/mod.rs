//! What goes over the wire: lines, names, text, requests and events. No sockets, no threads, no clock.

pub mod commands;
pub mod console;
pub mod event;
pub mod json;
pub mod limits;
pub mod line;
pub mod name;
pub mod request;
pub mod text;
