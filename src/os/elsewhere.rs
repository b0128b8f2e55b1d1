//! Elsewhere than on Linux: what can be had without its system calls and `/proc`.

/// A thread keeps the name that it was started with.
pub fn set_thread_name(_prefix: &str, _name: &str) {}

#[cfg(unix)]
pub use unix::*;

/// Who listens on a TCP port: not known here.
pub fn port_holder(_port: u16) -> Option<String> {
    None
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::fs::{self, File, OpenOptions};
    use std::io::{self, Write};
    use std::os::fd::BorrowedFd;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Pid, Signal};

    /// What the temporary folder has from us begins so, and goes on with our process's number and `-`.
    const PREFIX: &str = "chat-run-";

    /// A process that need not be our child. Its number may come to mean another one once it has ended.
    #[derive(Debug)]
    pub struct Process {
        pid: Pid,
    }

    impl Process {
        /// The process at the other end of `_socket`, which says that its number is `said`. It is this user's, as nobody else can enter
        /// the socket's folder.
        ///
        /// # Errors
        /// `InvalidInput` where that is no number of a process.
        pub fn peer(_socket: &UnixStream, said: i32) -> io::Result<Self> {
            let pid = Pid::from_raw(said).ok_or(io::ErrorKind::InvalidInput)?;
            Ok(Self { pid })
        }

        /// Its number, to show.
        pub fn pid(&self) -> i32 {
            self.pid.as_raw_nonzero().get()
        }

        /// Sends it a signal.
        ///
        /// # Errors
        /// What the kernel says; `ESRCH` where it has ended.
        pub fn signal(&self, signal: Signal) -> io::Result<()> {
            Ok(rustix::process::kill_process(self.pid, signal)?)
        }

        /// What becomes readable when it has ended: nothing here, the end of its socket has to do.
        pub fn end(&self) -> Option<BorrowedFd<'_>> {
            None
        }
    }

    /// A temporary file, removed when this object goes. A SIGKILL leaves it behind, until [`listen_locally`] is next called.
    #[derive(Debug)]
    pub struct Scratch {
        file: File,
        path: PathBuf,
    }

    impl Scratch {
        /// Makes one that holds `contents`, with this process's number, `name` and a count in its own name.
        ///
        /// # Errors
        /// The temporary folder cannot be written to.
        pub fn new(name: &str, contents: &[u8]) -> io::Result<Self> {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let file_name = format!("{PREFIX}{}-{name}-{number}", std::process::id());
            let path = std::env::temp_dir().join(file_name);
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            let written = file.write_all(contents);
            let scratch = Self { file, path };
            written.map(|()| scratch)
        }

        /// A path by which other processes of this user can open it, while this object lives.
        pub fn path(&self) -> &Path {
            &self.path
        }

        /// The file itself.
        pub fn file(&self) -> &File {
            &self.file
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Listens on a Unix socket in a folder called `name` that only this user can enter.
    ///
    /// # Errors
    /// `AlreadyExists` where there is one of this name; the temporary folder cannot be written to.
    pub fn listen_locally(name: &OsStr) -> io::Result<UnixListener> {
        sweep();
        let folder = folder(name);
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        UnixListener::bind(folder.join("socket")).inspect_err(|_| forget_locally(name))
    }

    /// Removes what processes have left in the temporary folder that are there no more. What cannot be removed is somebody else's.
    fn sweep() {
        for entry in fs::read_dir(std::env::temp_dir())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let pid = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok())
                .and_then(Pid::from_raw);
            if pid.is_some_and(|pid| {
                rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
            }) {
                let _ = fs::remove_file(entry.path());
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Connects to the socket of [`listen_locally`].
    ///
    /// # Errors
    /// `ConnectionRefused` or `NotFound` where nobody listens any more.
    pub fn connect_locally(name: &OsStr) -> io::Result<UnixStream> {
        UnixStream::connect(folder(name).join("socket"))
    }

    /// Takes away what [`listen_locally`] left behind.
    pub fn forget_locally(name: &OsStr) {
        let _ = fs::remove_dir_all(folder(name));
    }

    fn folder(name: &OsStr) -> PathBuf {
        std::env::temp_dir().join(name)
    }

    /// Whether SIGHUP is ignored: not to be known without `unsafe`, so `nohup` does not help here.
    pub(in crate::os) fn hangup_is_ignored() -> bool {
        false
    }
}
