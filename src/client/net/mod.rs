//! The connection to a server, and what is sent and in flight.

pub(crate) mod address;
pub(crate) mod connection;
pub(crate) mod in_flight;
pub(crate) mod outgoing;
pub(crate) mod stdin;
