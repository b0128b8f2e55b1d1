//! The threads and TCP sockets of another process, as the kernel reports them in `/proc`.
//!
//! Nothing here runs in the observed process, and no lock of that process is taken: a sample costs
//! only the time of the observer. With 106 threads, a sample takes 0.2 ms if the files are kept
//! open between samples, and 0.8 ms if they are opened each time.
//!
//! Only Linux has these files. On other systems, there are no samples.

use std::net::SocketAddr;
use std::time::Duration;

#[cfg(target_os = "linux")]
pub use linux::{TcpSockets, ThreadSampler};
#[cfg(not(target_os = "linux"))]
pub use other_unix::{TcpSockets, ThreadSampler};

/// The activity of a thread. If the thread does not run, the activity follows from the system call
/// in which it is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// The thread runs, or could run if a processor were free.
    Runs,
    /// Waits for input from this descriptor.
    Reads(i32),
    /// Waits until this descriptor accepts output.
    Sends(i32),
    /// Waits for a connection to this listening descriptor.
    Accepts(i32),
    /// Waits in poll(2) or a similar call. The kernel does not show for which descriptors.
    Polls,
    /// Waits in futex(2): for a lock, a condition variable, or the end of another thread.
    Futex,
    /// Waits for a time to pass.
    Sleeps,
    /// Waits for a disk, for example in fsync(2).
    Disk,
    /// The process is stopped, for example by SIGSTOP. Reported only if system calls cannot be
    /// read.
    Stopped,
    /// Blocked in another way, or in an unknown way because system calls cannot be read.
    Blocked,
}

/// One thread at the time of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSample {
    pub tid: i32,
    /// The thread's name, at most 15 bytes long (proc_pid_comm(5)).
    pub name: String,
    pub activity: Activity,
    /// The processor time that the thread has used since it started.
    pub cpu: Duration,
    /// Minimum time for which the thread has not run: the time since the first of the consecutive
    /// samples with the same processor time, number of time slices and activity. Zero in the first
    /// sample.
    pub still: Duration,
}

/// The threads of a process at the time of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSamples {
    /// The threads, sorted by thread ID. If the process has more than [`MAX_THREADS`] threads, half
    /// of this number are the ones with the lowest IDs, and half the ones with the highest.
    pub threads: Vec<ThreadSample>,
    /// The number of threads that the process has.
    pub total: usize,
    /// Whether the system calls could be read. If not, [`Activity`] is derived from the state of
    /// the thread only (proc_pid_stat(5)), so it is `Runs`, `Disk`, `Stopped` or `Blocked`.
    pub has_system_calls: bool,
}

/// Limit on the number of threads in a sample. The sampler keeps three files open for each thread.
pub const MAX_THREADS: usize = 128;

/// An accepted connection of a server, and the bytes that the kernel holds for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The client's address.
    pub peer: SocketAddr,
    /// Bytes in the server's socket: sent by the server, but not acknowledged by the client's
    /// kernel.
    pub unsent: u64,
    /// Bytes in the client's socket that the client has not read. `None` if the client runs on
    /// another machine.
    pub unread: Option<u64>,
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::{BTreeMap, HashMap, HashSet};
    use std::fs::{self, File};
    use std::io;
    use std::net::SocketAddr;
    use std::os::unix::fs::FileExt;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use procfs::net::{TcpNetEntry, TcpState};

    use super::{Activity, Connection, MAX_THREADS, ThreadSample, ThreadSamples};

    /// Samples the threads of a process. The files in `/proc` stay open between samples.
    #[derive(Debug)]
    pub struct ThreadSampler {
        directory: PathBuf,
        threads: BTreeMap<i32, Thread>,
    }

    /// The open files of a thread, and its last sample.
    #[derive(Debug)]
    struct Thread {
        name: File,
        /// The system call that the thread is in. `None` if this process may not read it.
        call: Option<File>,
        /// The state of the thread, which is read only if `call` is `None`.
        state: Option<File>,
        times: File,
        last: Option<Last>,
    }

    #[derive(Clone, Copy, Debug)]
    struct Last {
        activity: Activity,
        /// Processor time in ns, and number of time slices.
        ran: (u64, u64),
        since: Instant,
    }

    impl ThreadSampler {
        /// Creates a sampler of the process `pid`, without opening any file.
        pub fn new(pid: i32) -> Self {
            Self {
                directory: format!("/proc/{pid}/task").into(),
                threads: BTreeMap::new(),
            }
        }

        /// Samples all threads. Returns `None` if the process has ended.
        pub fn sample(&mut self) -> Option<ThreadSamples> {
            let entries = fs::read_dir(&self.directory).ok()?.flatten();
            let mut ids: Vec<i32> = entries
                .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
                .collect();
            ids.sort_unstable();
            let total = ids.len();
            if total > MAX_THREADS {
                // The program's permanent threads have the lowest IDs, and the threads that were
                // started last have the highest.
                ids.drain(MAX_THREADS / 2..total - MAX_THREADS / 2);
            }
            self.threads.retain(|id, _| ids.binary_search(id).is_ok());
            let now = Instant::now();
            let mut threads = Vec::with_capacity(ids.len());
            for tid in ids {
                // Skip a thread that has ended meanwhile.
                let Ok(sample) = self.sample_thread(tid, now) else {
                    self.threads.remove(&tid);
                    continue;
                };
                threads.push(sample);
            }
            let has_system_calls = self.threads.values().all(|thread| thread.call.is_some());
            (!threads.is_empty()).then_some(ThreadSamples {
                threads,
                total,
                has_system_calls,
            })
        }

        fn sample_thread(&mut self, tid: i32, now: Instant) -> io::Result<ThreadSample> {
            let thread = match self.threads.entry(tid) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(Thread::open(&self.directory.join(tid.to_string()))?)
                }
            };
            thread.sample(tid, now)
        }
    }

    impl Thread {
        fn open(directory: &Path) -> io::Result<Self> {
            let open = |name: &str| File::open(directory.join(name));
            // Opening `syscall` succeeds even if this process may not read it.
            let call = open("syscall").ok().filter(|file| read(file).is_ok());
            Ok(Self {
                name: open("comm")?,
                state: if call.is_none() {
                    Some(open("stat")?)
                } else {
                    None
                },
                call,
                times: open("schedstat")?,
                last: None,
            })
        }

        fn sample(&mut self, tid: i32, now: Instant) -> io::Result<ThreadSample> {
            let activity = match (&self.call, &self.state) {
                (Some(call), _) => activity_in_call(&read(call)?),
                (None, Some(state)) => activity_in_state(&read(state)?),
                (None, None) => Activity::Blocked,
            };
            let times = read(&self.times)?;
            let mut fields = times.split_whitespace().map(str::parse);
            let mut field = || fields.next().and_then(Result::ok).unwrap_or(0);
            // Processor time, time spent waiting for a processor, and number of time slices
            // (Documentation/scheduler/sched-stats.rst).
            let (cpu, _, slices) = (field(), field(), field());
            let ran = (cpu, slices);
            let since = match self.last {
                Some(last) if last.activity == activity && last.ran == ran => last.since,
                Some(_) | None => now,
            };
            self.last = Some(Last {
                activity,
                ran,
                since,
            });
            Ok(ThreadSample {
                tid,
                name: read(&self.name)?.trim_end_matches('\n').to_owned(),
                activity,
                cpu: Duration::from_nanos(cpu),
                still: now - since,
            })
        }
    }

    /// Reads a file of `/proc` from its start. Only the first 512 bytes are needed.
    fn read(file: &File) -> io::Result<String> {
        let mut bytes = [0; 512];
        let count = file.read_at(&mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    /// Parses the content of `/proc/PID/task/TID/syscall` (proc_pid_syscall(5)): `running`, or the
    /// number of the system call and its arguments in hexadecimal, or -1 if the thread is blocked
    /// outside of a system call.
    fn activity_in_call(text: &str) -> Activity {
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or_default();
        if first == "running" {
            return Activity::Runs;
        }
        let argument = words.next().and_then(|word| word.strip_prefix("0x"));
        let argument = argument.and_then(|word| u64::from_str_radix(word, 16).ok());
        // A descriptor is an `int`, in the lower half of the argument.
        let descriptor = argument.map_or(-1, |value| value as i32);
        let Ok(number) = first.parse::<i32>() else {
            return Activity::Blocked;
        };
        match number {
            _ if calls::READ.contains(&number) => Activity::Reads(descriptor),
            _ if calls::SEND.contains(&number) => Activity::Sends(descriptor),
            _ if calls::ACCEPT.contains(&number) => Activity::Accepts(descriptor),
            _ if calls::POLL.contains(&number) => Activity::Polls,
            _ if calls::FUTEX.contains(&number) => Activity::Futex,
            _ if calls::SLEEP.contains(&number) => Activity::Sleeps,
            _ if calls::SYNC.contains(&number) => Activity::Disk,
            _ => Activity::Blocked,
        }
    }

    /// Parses the content of `/proc/PID/task/TID/stat`, in which the state follows the name in
    /// parentheses (proc_pid_stat(5)).
    fn activity_in_state(text: &str) -> Activity {
        let state = text
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        match state {
            Some('R') => Activity::Runs,
            Some('D') => Activity::Disk,
            Some('T' | 't') => Activity::Stopped,
            Some(_) | None => Activity::Blocked,
        }
    }

    /// Numbers of system calls, from `asm/unistd.h`.
    #[cfg(target_arch = "x86_64")]
    mod calls {
        /// read, pread64, readv, recvfrom, recvmsg, preadv, recvmmsg.
        pub(super) const READ: &[i32] = &[0, 17, 19, 45, 47, 295, 299];
        /// write, pwrite64, writev, sendfile, sendto, sendmsg, pwritev, sendmmsg.
        pub(super) const SEND: &[i32] = &[1, 18, 20, 40, 44, 46, 296, 307];
        /// accept, accept4.
        pub(super) const ACCEPT: &[i32] = &[43, 288];
        /// poll, select, epoll_wait, pselect6, ppoll, epoll_pwait, epoll_pwait2.
        pub(super) const POLL: &[i32] = &[7, 23, 232, 270, 271, 281, 441];
        /// futex, futex_waitv, futex_wait.
        pub(super) const FUTEX: &[i32] = &[202, 449, 455];
        /// nanosleep, restart_syscall, clock_nanosleep.
        pub(super) const SLEEP: &[i32] = &[35, 219, 230];
        /// fsync, fdatasync, sync, syncfs.
        pub(super) const SYNC: &[i32] = &[74, 75, 162, 306];
    }

    /// Numbers of system calls, from `asm-generic/unistd.h`.
    #[cfg(target_arch = "aarch64")]
    mod calls {
        /// read, readv, pread64, preadv, recvfrom, recvmsg, recvmmsg.
        pub(super) const READ: &[i32] = &[63, 65, 67, 69, 207, 212, 243];
        /// write, writev, pwrite64, pwritev, sendfile, sendto, sendmsg, sendmmsg.
        pub(super) const SEND: &[i32] = &[64, 66, 68, 70, 71, 206, 211, 269];
        /// accept, accept4.
        pub(super) const ACCEPT: &[i32] = &[202, 242];
        /// epoll_pwait, pselect6, ppoll, epoll_pwait2.
        pub(super) const POLL: &[i32] = &[22, 72, 73, 441];
        /// futex, futex_waitv, futex_wait.
        pub(super) const FUTEX: &[i32] = &[98, 449, 455];
        /// nanosleep, clock_nanosleep, restart_syscall.
        pub(super) const SLEEP: &[i32] = &[101, 115, 128];
        /// sync, fsync, fdatasync, syncfs.
        pub(super) const SYNC: &[i32] = &[81, 82, 83, 267];
    }

    /// On other processors, a thread that does not run is [`Activity::Blocked`].
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    mod calls {
        pub(super) const READ: &[i32] = &[];
        pub(super) const SEND: &[i32] = &[];
        pub(super) const ACCEPT: &[i32] = &[];
        pub(super) const POLL: &[i32] = &[];
        pub(super) const FUTEX: &[i32] = &[];
        pub(super) const SLEEP: &[i32] = &[];
        pub(super) const SYNC: &[i32] = &[];
    }

    /// All TCP sockets in this network namespace at one time.
    #[derive(Debug, Default)]
    pub struct TcpSockets(Vec<TcpNetEntry>);

    impl TcpSockets {
        /// Reads the sockets from `/proc/net/tcp` and `/proc/net/tcp6`, which takes some
        /// microseconds per socket. The result is empty if the files cannot be read.
        pub fn read() -> Self {
            let tables = [procfs::net::tcp(), procfs::net::tcp6()];
            let mut sockets: Vec<TcpNetEntry> = tables.into_iter().flatten().flatten().collect();
            for socket in &mut sockets {
                socket.local_address = canonical(socket.local_address);
                socket.remote_address = canonical(socket.remote_address);
            }
            Self(sockets)
        }

        /// The accepted connections of the server that listens on `port`.
        pub fn connections(&self, port: u16) -> Vec<Connection> {
            let is_accepted = |socket: &&TcpNetEntry| {
                socket.local_address.port() == port && socket.state != TcpState::Listen
            };
            let clients = self
                .0
                .iter()
                .filter(|each| each.remote_address.port() == port);
            let unread: HashMap<(SocketAddr, SocketAddr), u32> = clients
                .map(|each| ((each.local_address, each.remote_address), each.rx_queue))
                .collect();
            let connection = |server: &TcpNetEntry| Connection {
                peer: server.remote_address,
                unsent: server.tx_queue.into(),
                unread: unread
                    .get(&(server.remote_address, server.local_address))
                    .map(|bytes| u64::from(*bytes)),
            };
            self.0.iter().filter(is_accepted).map(connection).collect()
        }

        /// The peer of the socket with the descriptor `fd` in the process `pid`. `None` if the
        /// descriptor is not a TCP socket with a peer, or if `/proc` does not show it.
        pub fn peer(&self, pid: i32, fd: i32) -> Option<SocketAddr> {
            let inode = inode(&fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?)?;
            let socket = self.0.iter().find(|socket| socket.inode == inode)?;
            (socket.state != TcpState::Listen).then_some(socket.remote_address)
        }

        /// The local addresses of the TCP sockets of the process `pid`. Empty if `/proc` does not
        /// show them, because the process belongs to another user or has ended.
        pub fn of_process(&self, pid: i32) -> Vec<SocketAddr> {
            let files = fs::read_dir(format!("/proc/{pid}/fd"));
            let inodes: HashSet<u64> = files
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|file| inode(&fs::read_link(file.path()).ok()?))
                .collect();
            let owned = self.0.iter().filter(|each| inodes.contains(&each.inode));
            owned.map(|socket| socket.local_address).collect()
        }
    }

    /// Makes addresses comparable. Converts an IPv4-mapped IPv6 address, which a listener for IPv4
    /// and IPv6 reports, to IPv4. Removes the scope of an IPv6 address, which may be set on only
    /// one side of a connection.
    fn canonical(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// The inode of a socket, from the target of a link in `/proc/PID/fd`: `socket:[INODE]`.
    fn inode(target: &Path) -> Option<u64> {
        let number = target.to_str()?.strip_prefix("socket:[")?;
        number.strip_suffix(']')?.parse().ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_system_call_tells_the_activity_of_a_thread() {
            assert_eq!(activity_in_call("running\n"), Activity::Runs);
            assert_eq!(activity_in_call("-1 0x7f0 0x7f1\n"), Activity::Blocked);
            assert_eq!(activity_in_call(""), Activity::Blocked);
            for (number, expected) in [
                (calls::READ[0], Activity::Reads(9)),
                (calls::SEND[0], Activity::Sends(9)),
                (calls::ACCEPT[0], Activity::Accepts(9)),
                (calls::POLL[0], Activity::Polls),
                (calls::FUTEX[0], Activity::Futex),
                (calls::SLEEP[0], Activity::Sleeps),
                (calls::SYNC[0], Activity::Disk),
                (9999, Activity::Blocked),
            ] {
                let text = format!("{number} 0x9 0x0 0x1 0x0 0x0 0x0 0x7ffd 0x7fd8\n");
                assert_eq!(activity_in_call(&text), expected, "{number}");
            }
        }

        #[test]
        fn no_system_call_number_stands_for_two_activities() {
            let all = [
                calls::READ,
                calls::SEND,
                calls::ACCEPT,
                calls::POLL,
                calls::FUTEX,
                calls::SLEEP,
                calls::SYNC,
            ];
            let all: Vec<i32> = all.concat();
            let unique: HashSet<&i32> = all.iter().collect();
            assert_eq!(unique.len(), all.len());
        }

        #[test]
        fn the_state_of_a_thread_is_found_even_if_its_name_contains_parentheses() {
            for (text, expected) in [
                ("7 (a) R) b) S 1 7", Activity::Blocked),
                ("7 (x) R 1 7", Activity::Runs),
                ("7 (x) D 1 7", Activity::Disk),
                ("7 (x) T 1 7", Activity::Stopped),
                ("", Activity::Blocked),
            ] {
                assert_eq!(activity_in_state(text), expected, "{text}");
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other_unix {
    use std::net::SocketAddr;

    use super::{Connection, ThreadSamples};

    /// Samples no threads, because this system has no `/proc`.
    #[derive(Debug)]
    pub struct ThreadSampler;

    impl ThreadSampler {
        /// Does nothing.
        pub fn new(_pid: i32) -> Self {
            Self
        }

        /// Always `None`.
        pub fn sample(&mut self) -> Option<ThreadSamples> {
            None
        }
    }

    /// No sockets, because this system has no `/proc`.
    #[derive(Debug, Default)]
    pub struct TcpSockets;

    impl TcpSockets {
        /// Does nothing.
        pub fn read() -> Self {
            Self
        }

        /// Always empty.
        pub fn connections(&self, _port: u16) -> Vec<Connection> {
            Vec::new()
        }

        /// Always `None`.
        pub fn peer(&self, _pid: i32, _fd: i32) -> Option<SocketAddr> {
            None
        }

        /// Always empty.
        pub fn of_process(&self, _pid: i32) -> Vec<SocketAddr> {
            Vec::new()
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::sync::mpsc;
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::Instant;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn this_process() -> i32 {
        std::process::id() as i32
    }

    /// Samples this process until `found` returns a value for the thread called `name`.
    fn wait<T>(name: &str, found: impl Fn(&ThreadSample) -> Option<T>) -> T {
        let mut sampler = ThreadSampler::new(this_process());
        let deadline = Instant::now() + DEADLINE;
        loop {
            let samples = sampler.sample().unwrap();
            let thread = samples.threads.iter().find(|thread| thread.name == name);
            if let Some(value) = thread.and_then(&found) {
                return value;
            }
            assert!(Instant::now() < deadline, "{thread:?}");
            thread::yield_now();
        }
    }

    fn wait_for_activity(name: &str, activity: Activity) {
        wait(name, |thread| (thread.activity == activity).then_some(()));
    }

    fn named(name: &str, body: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
        let builder = thread::Builder::new().name(name.into());
        builder.spawn(body).unwrap()
    }

    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    #[test]
    fn a_thread_that_receives_is_shown_with_its_descriptor_and_peer() {
        let (mut server, client) = connected();
        let (fd, peer) = (server.as_raw_fd(), client.local_addr().unwrap());
        let reader = named("t-reads", move || {
            assert_eq!(server.read(&mut [0]).unwrap(), 0);
        });
        wait_for_activity("t-reads", Activity::Reads(fd));
        assert_eq!(TcpSockets::read().peer(this_process(), fd), Some(peer));
        drop(client);
        reader.join().unwrap();
    }

    #[test]
    fn the_time_that_a_thread_waits_for_a_lock_is_measured() {
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let other = Arc::clone(&lock);
        let waiter = named("t-waits", move || drop(other.lock().unwrap()));
        wait_for_activity("t-waits", Activity::Futex);
        wait("t-waits", |thread| (!thread.still.is_zero()).then_some(()));
        drop(held);
        waiter.join().unwrap();
    }

    #[test]
    fn a_thread_that_fills_a_socket_is_shown_with_the_bytes_in_the_kernel() {
        let (mut server, mut client) = connected();
        let (fd, port) = (server.as_raw_fd(), server.local_addr().unwrap().port());
        let peer = client.local_addr().unwrap();
        let (sender, sent) = mpsc::channel();
        let writer = named("t-sends", move || {
            // More than all buffers can hold.
            server.write_all(&vec![b'x'; 64 << 20]).unwrap();
            sender.send(()).unwrap();
        });
        wait_for_activity("t-sends", Activity::Sends(fd));
        let find = || {
            let connections = TcpSockets::read().connections(port);
            connections.into_iter().find(|each| each.peer == peer)
        };
        let deadline = Instant::now() + DEADLINE;
        loop {
            let connection = find().unwrap();
            if connection.unsent > 0 && connection.unread > Some(0) {
                break;
            }
            assert!(Instant::now() < deadline, "{connection:?}");
        }
        assert!(
            TcpSockets::read()
                .of_process(this_process())
                .contains(&peer)
        );
        let mut rest = vec![0; 1 << 20];
        while sent.try_recv().is_err() {
            let _ = client.read(&mut rest).unwrap();
        }
        writer.join().unwrap();
    }

    #[test]
    fn a_thread_that_computes_uses_processor_time() {
        let (stop, stopped) = mpsc::channel::<()>();
        let worker = named("t-runs", move || {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {}
        });
        wait_for_activity("t-runs", Activity::Runs);
        let before = wait("t-runs", |thread| Some(thread.cpu));
        wait("t-runs", |thread| (thread.cpu > before).then_some(()));
        drop(stop);
        worker.join().unwrap();
    }

    #[test]
    fn an_ended_thread_disappears_and_an_ended_process_has_no_sample() {
        let (end, ended) = mpsc::channel::<()>();
        let thread = named("t-ends", move || assert!(ended.recv().is_err()));
        wait_for_activity("t-ends", Activity::Futex);
        drop(end);
        thread.join().unwrap();
        let mut sampler = ThreadSampler::new(this_process());
        let deadline = Instant::now() + DEADLINE;
        while sampler
            .sample()
            .unwrap()
            .threads
            .iter()
            .any(|each| each.name == "t-ends")
        {
            assert!(Instant::now() < deadline);
        }
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        child.wait().unwrap();
        assert_eq!(ThreadSampler::new(pid).sample(), None);
    }
}
