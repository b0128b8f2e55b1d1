//! Elsewhere than on Linux: what can be had without its system calls and `/proc`.

/// A thread keeps the name that it was started with.
pub fn set_thread_name(_prefix: &str, _name: &str) {}

/// Whether SIGHUP is ignored: not to be known without `unsafe`, so `nohup` does not help here.
#[cfg(unix)]
pub(super) fn hangup_is_ignored() -> bool {
    false
}

/// Who listens on a TCP port: not known here.
pub fn port_holder(_port: u16) -> Option<String> {
    None
}
