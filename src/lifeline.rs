//! The thread by which the launcher holds its clients: when it breaks, they leave.
