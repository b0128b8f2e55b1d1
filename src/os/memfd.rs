//! Temporary files that other programs of this user can open.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Prefix of the names of files that this process creates in the temporary directory. The PID and
/// `-` follow the prefix.
pub(crate) const PREFIX: &str = "chat-run-";

/// A temporary file that is removed on drop.
///
/// On Linux the file is a memfd (memfd_create(2)), which has no name in any directory and
/// disappears with this process, even after SIGKILL. On other systems, and on Linux without `/proc`
/// (through which other processes open a memfd), the file is in the temporary directory.
#[derive(Debug)]
pub struct Scratch {
    file: File,
    path: PathBuf,
    is_named: bool,
}

impl Scratch {
    /// Creates a file with these contents. A file in the temporary directory gets a random name.
    ///
    /// # Errors
    /// No memory or file descriptor is left, or the temporary directory cannot be written.
    pub fn new(contents: &[u8]) -> io::Result<Self> {
        let mut scratch = match Self::unnamed() {
            Some(scratch) => scratch,
            None => Self::named()?,
        };
        scratch.file.write_all(contents)?;
        Ok(scratch)
    }

    #[cfg(target_os = "linux")]
    fn unnamed() -> Option<Self> {
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::MetadataExt;

        use rustix::fs::{MemfdFlags, memfd_create};

        let file = File::from(memfd_create("chat-run", MemfdFlags::CLOEXEC).ok()?);
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        // Check that the path leads to the memfd. If `/proc` belongs to another PID namespace, a
        // different process may have this process's PID there.
        let (ours, theirs) = (file.metadata().ok()?, fs::metadata(&path).ok()?);
        let is_it = (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino());
        is_it.then(|| Self {
            file,
            path: path.into(),
            is_named: false,
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn unnamed() -> Option<Self> {
        None
    }

    fn named() -> io::Result<Self> {
        let random = getrandom::u64().map_err(io::Error::other)?;
        let name = format!("{PREFIX}{}-{random:016x}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path)?;
        Ok(Self {
            file,
            path,
            is_named: true,
        })
    }

    /// A path at which other processes of this user can open the file until this object is dropped.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.is_named {
            let _ = fs::remove_file(&self.path);
        }
    }
}
