//! What only one system has, with a plain fallback elsewhere.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::*;

#[cfg(not(target_os = "linux"))]
mod other_unix;
#[cfg(not(target_os = "linux"))]
pub use other_unix::*;

mod scratch;
pub use scratch::Scratch;

mod sheet;
pub use sheet::Sheet;

mod socket;
pub use socket::*;

mod terminal;
pub use terminal::*;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::path::Path;

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

/// Has a file that these options make belong to its owner alone; where there are no modes, to whom its folder belongs.
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Opens a file as these options say, without waiting.
///
/// # Errors
/// What the system says; `InvalidInput` where it is no regular file: a pipe that nobody writes into would never end.
pub fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    {
        let flag = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flag);
    }
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Whether `path` leads to `file`: not where that was renamed, replaced or deleted. Where nobody can tell, it does.
pub fn leads_to(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (fs::metadata(path), file.metadata()) {
        (Ok(there), Ok(here)) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
        (Err(error), _) => error.kind() != io::ErrorKind::NotFound,
        (Ok(_), Err(_)) => true,
    }
}

/// Makes a folder, and those that it is in, where they are not there, as [`private`] makes files.
///
/// # Errors
/// What the system says.
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
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

/// Whether this process may read from the terminal behind `input`: one in the background would be stopped (`SIGTTIN`, credentials(7)).
pub fn is_foreground(input: &impl std::os::fd::AsFd) -> bool {
    rustix::termios::tcgetpgrp(input).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// The addresses by which other machines may reach this one: of every interface that is up, without loopback, and without
/// link-local IPv6 ones, which nobody can type without naming an interface. Empty where they cannot be had.
pub fn addresses() -> Vec<IpAddr> {
    use nix::net::if_::InterfaceFlags;

    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for interface in interfaces {
        if !interface.flags.contains(InterfaceFlags::IFF_UP)
            || interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
        {
            continue;
        }
        let Some(address) = interface.address else {
            continue;
        };
        let ip = if let Some(v4) = address.as_sockaddr_in() {
            IpAddr::V4(v4.ip())
        } else if let Some(v6) = address.as_sockaddr_in6() {
            IpAddr::V6(v6.ip())
        } else {
            continue;
        };
        let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if !link_local && !found.contains(&ip) {
            found.push(ip);
        }
    }
    // IPv4 first: it is what people can type.
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

/// Lets signals through that the parent had blocked, which programs inherit, but keeps a SIGHUP that was ignored when this program started
/// (`nohup`) from ending it, although `ctrlc` is going to handle the signal. Nor is one let through that a parent has blocked for that reason.
/// A file that may not grow any more (`ulimit -f`) is an error of the write, not the end of the program.
///
/// To be called first in `main`: it blocks the signal in this thread, and threads inherit that when they start. To ignore it
/// again would take `unsafe`.
pub fn settle_signals() {
    use nix::sys::signal::{SigSet, Signal};

    let (mut others, hangup) = (SigSet::all(), SigSet::from(Signal::SIGHUP));
    others.remove(Signal::SIGHUP);
    // Neither can fail for signals that exist; if one did, SIGHUP would end the program, as without `nohup`.
    let _ = others.thread_unblock();
    if hangup_is_ignored() {
        let _ = hangup.thread_block();
    }
    // Nobody asks the flag: with a handler the write fails with EFBIG (setrlimit(2), `RLIMIT_FSIZE`). Ignored or blocked, the signal would be so in
    // programs that this one starts as well. Were there no handler to be had, it would end the program, as without this.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Default::default());
}

/// Keeps signals that ask this process to end waiting until [`release_signals`]. To be called in the main thread before it starts others.
pub fn hold_signals() {
    // As above: it cannot fail.
    let _ = asking_signals().thread_block();
}

/// Lets the signals of [`hold_signals`] come.
pub fn release_signals() {
    // As above: it cannot fail.
    let _ = asking_signals().thread_unblock();
}

fn asking_signals() -> nix::sys::signal::SigSet {
    use nix::sys::signal::Signal;

    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect()
}

/// Lets this process hear how its children end, where its parent ignored SIGCHLD: that is inherited, and then nobody is told (wait(2), `ECHILD`).
///
/// # Errors
/// What sigaction(2) says.
pub fn hear_of_children() -> io::Result<()> {
    // Nobody asks the flag: a handler is all that is needed, and can be had without `unsafe`.
    signal_hook::flag::register(signal_hook::consts::SIGCHLD, Default::default()).map(drop)
}

/// Lets SIGHUP through again where [`settle_signals`] has it blocked, or a parent did by that.
pub fn allow_hangup() {
    use nix::sys::signal::{SigSet, Signal};

    // As there: it cannot fail.
    let _ = SigSet::from(Signal::SIGHUP).thread_unblock();
}

/// Lets this process write to its terminal, and set it, also while another job is in the foreground, which would otherwise stop it (`SIGTTOU`).
pub fn allow_terminal_output() {
    use nix::sys::signal::{SigSet, Signal};

    // As above: it cannot fail.
    let _ = SigSet::from(Signal::SIGTTOU).thread_block();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_ones_that_others_can_type() {
        for ip in addresses() {
            assert!(!ip.is_loopback(), "{ip}");
            assert!(!ip.is_unspecified(), "{ip}");
        }
    }
}
