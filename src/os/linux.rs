//! Linux: `/proc`.

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::FDTarget;

/// Names the calling thread, as `ps -L` and `top -H` show it; [`super::thread_name`] tells what fits.
pub fn set_thread_name(prefix: &str, name: &str) {
    if let Ok(name) = std::ffi::CString::new(super::thread_name(prefix, name)) {
        // A thread without its name works as well.
        let _ = rustix::thread::set_name(&name);
    }
}

/// Whether SIGHUP is ignored, from `SigIgn` in `/proc/self/status` (proc_pid_status(5)).
pub(super) fn hangup_is_ignored() -> bool {
    // SIGHUP is number 1, the lowest bit.
    procfs::process::Process::myself()
        .and_then(|me| me.status())
        .is_ok_and(|status| status.sigign & 1 != 0)
}

/// Who listens on a TCP port, like `python3 (pid 123)`; `None` where nobody does, or where `/proc` does not tell, as for
/// another user's process.
pub fn port_holder(port: u16) -> Option<String> {
    let listens =
        |entry: &TcpNetEntry| entry.state == TcpState::Listen && entry.local_address.port() == port;
    let sockets: Vec<u64> = [procfs::net::tcp(), procfs::net::tcp6()]
        .into_iter()
        .flatten()
        .flatten()
        .filter(listens)
        .map(|entry| entry.inode)
        .collect();
    if sockets.is_empty() {
        return None;
    }
    procfs::process::all_processes()
        .ok()?
        .flatten()
        .find_map(|process| {
            let holds =
                process.fd().ok()?.flatten().any(
                    |fd| matches!(fd.target, FDTarget::Socket(inode) if sockets.contains(&inode)),
                );
            holds.then_some(())?;
            let name = process.stat().ok()?.comm;
            // A process may call itself anything.
            let name = crate::protocol::text::clean(&name);
            Some(format!("{name} (pid {})", process.pid()))
        })
}
