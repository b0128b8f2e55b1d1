//! The launcher: a server and its client windows, from start to end.
