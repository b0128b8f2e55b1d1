//! What only one system has, with a plain fallback elsewhere.

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

/// Bytes of a thread's name that Linux keeps (prctl(2), `PR_SET_NAME`).
const THREAD_NAME: usize = 15;

/// What an error of starting a thread means, and what to try.
pub const NO_THREAD: &str = "cannot start a thread: end other programs, or raise `ulimit -u`";

/// A thread's name, like `c:ala`: what fits, cut between two characters.
pub fn thread_name(prefix: &str, name: &str) -> String {
    let mut all = format!("{prefix}{name}");
    all.truncate(all.floor_char_boundary(THREAD_NAME));
    all
}

/// Raises the number of descriptors that this process may have as far as that is allowed, and tells it; `None` where there is no
/// limit, or none is known.
pub fn raise_descriptor_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    // Where that is refused, it stays as it is.
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.current,
        Err(_) => soft,
    }
}

/// Makes the table of descriptors large enough for so many. Where the table of a process with threads has to grow, Linux waits until no
/// processor uses the old one (`expand_fdtable` in its fs/file.c), which takes 5 to 20 ms; so this is for a process that has none yet.
pub fn reserve_descriptors(count: usize) {
    let last = i32::try_from(count).unwrap_or(i32::MAX) - 1;
    // The table does not shrink when this is closed. Where so many are not allowed, it grows when it has to.
    drop(rustix::io::fcntl_dupfd_cloexec(io::stderr(), last));
}

/// How many threads this process can have before std ends it, since there is no mapping left for a thread's alternative stack:
/// each takes four, its two stacks and what guards them (`vm.max_map_count`, proc_sys_vm(5)). `None` where no such limit is known.
#[cfg(target_os = "linux")]
pub fn max_threads() -> Option<usize> {
    /// What is mapped beside.
    const OTHER_MAPPINGS: usize = 1024;

    let maps = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    let maps: usize = maps.trim().parse().ok()?;
    Some(maps.saturating_sub(OTHER_MAPPINGS) / 4)
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub fn max_threads() -> Option<usize> {
    None
}
