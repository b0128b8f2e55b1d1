//! Functions that differ between operating systems, with plain fallbacks outside of Linux.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::*;

#[cfg(not(target_os = "linux"))]
mod other_unix;
#[cfg(not(target_os = "linux"))]
pub use other_unix::*;

mod files;
mod memfd;
mod signals;

pub use files::*;
pub use memfd::Scratch;
pub use signals::*;

use std::io;

/// Maximum length of a thread name on Linux, in bytes (prctl(2), `PR_SET_NAME`).
const THREAD_NAME: usize = 15;

/// Error message for a thread that cannot be started.
pub const NO_THREAD: &str = "cannot start a thread: end other programs, or raise `ulimit -u`";

/// Returns a thread name such as `c:ala`, truncated to the kernel's limit at a character boundary.
pub fn thread_name(prefix: &str, name: &str) -> String {
    let mut all = format!("{prefix}{name}");
    all.truncate(all.floor_char_boundary(THREAD_NAME));
    all
}

/// Raises this process's limit on open descriptors to the hard limit. Returns the limit that then
/// applies, or `None` if the number is unlimited.
pub fn raise_descriptor_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    // If the limit cannot be raised, the old one still applies.
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.current,
        Err(_) => soft,
    }
}

/// Grows the descriptor table to `count` entries, so that it need not grow later. Call this
/// function before starting threads: in a process with threads, growing the table takes 5 to 20 ms,
/// because the kernel waits until no processor uses the old table (`expand_fdtable` in Linux's
/// fs/file.c).
pub fn reserve_descriptors(count: usize) {
    let last = i32::try_from(count).unwrap_or(i32::MAX) - 1;
    // Duplicate stderr to the last entry, and close the duplicate again. The table keeps its size.
    // If the descriptor limit is below `count`, this call fails, and the table grows when more
    // descriptors are opened.
    drop(rustix::io::fcntl_dupfd_cloexec(io::stderr(), last));
}

/// Maximum number of threads that the limit on memory mappings allows (`vm.max_map_count`,
/// proc_sys_vm(5)), or `None` if that limit is unknown. A thread takes four mappings: two stacks
/// and their guard pages. If none is left for a thread's alternate signal stack, std aborts the
/// process.
#[cfg(target_os = "linux")]
pub fn max_threads() -> Option<usize> {
    /// Number of memory mappings reserved for everything except threads.
    const OTHER_MAPPINGS: usize = 1024;

    let maps = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    let maps: usize = maps.trim().parse().ok()?;
    Some(maps.saturating_sub(OTHER_MAPPINGS) / 4)
}

/// Maximum number of threads. Always `None` here, because other systems have no known limit.
#[cfg(not(target_os = "linux"))]
pub fn max_threads() -> Option<usize> {
    None
}
