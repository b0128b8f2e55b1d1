//! chat-server
fn main() {}
