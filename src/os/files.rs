//! Private files and directories, and opening files without blocking.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

/// Makes files that are created with `options` accessible by their owner only (mode 0600).
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Opens a regular file without blocking.
///
/// # Errors
/// `InvalidInput` if `path` is not a regular file: opening a pipe without a writer would block
/// forever. Otherwise same as [`OpenOptions::open`].
pub fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    {
        let flag = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flag);
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// Replaces the contents of `file`, which must be open for writing and not for appending. The file
/// keeps its mode and the links to it, which a new file in its place would not have. If the process
/// is killed during the call, the end of the old contents may remain after the new contents.
///
/// # Errors
/// Same as pwrite(2) and ftruncate(2).
pub fn overwrite(file: &File, contents: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, contents, 0)?;
    file.set_len(contents.len() as u64)
}

/// Opens a log file to append to, or creates it, accessible by its owner only (mode 0600). Never
/// blocks: opening a named pipe fails if no process is reading from it.
///
/// # Errors
/// Same as [`OpenOptions::open`]. The text names the file and says what to try.
pub fn open_log(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits() as i32);
    private(options.append(true).create(true))
        .open(path)
        .and_then(|file| {
            // Clear O_NONBLOCK: opening the file must not block, but writing may.
            rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::APPEND)?;
            Ok(file)
        })
        .map_err(|error| {
            let path = path.display();
            let text = format!(
                "cannot open the log file {path}: {error}; \
                 name a file that can be written, or leave --log out"
            );
            io::Error::new(error.kind(), text)
        })
}

/// Whether `path` is still the path of the open `file`. False after the file was renamed, replaced
/// or removed. True if that cannot be determined.
pub fn leads_to(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (fs::metadata(path), file.metadata()) {
        (Ok(there), Ok(here)) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
        (Err(error), _) => error.kind() != io::ErrorKind::NotFound,
        (Ok(_), Err(_)) => true,
    }
}

/// Creates a directory and its missing parents, accessible by their owner only (mode 0700).
///
/// # Errors
/// Same as [`DirBuilder::create`].
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}
