//! chat-run
fn main() {}
