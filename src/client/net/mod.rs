//! The connection to a server, the threads that read and write it, and the messages in flight.

pub(crate) mod address;
pub(crate) mod connection;
pub(crate) mod in_flight;
pub(crate) mod receive;
pub(crate) mod send_queue;
pub(crate) mod stdin;
