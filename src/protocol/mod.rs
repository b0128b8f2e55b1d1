//! The wire protocol: lines, names, text, commands and events. Uses no sockets, threads or clock.

pub mod checksum;
pub mod color;
pub mod commands;
pub mod console;
pub mod event;
pub mod http;
pub mod json;
pub mod limits;
pub mod line;
pub mod name;
pub mod password;
pub mod request;
pub mod tally;
pub mod telnet;
pub mod text;
