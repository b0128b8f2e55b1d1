//! What many sockets are sent, and the kernel copies for none of them.
//!
//! A send copies into pages of its own, which no processor has in its cache; for a thousand members that is most of what a send costs. So
//! what all get is written once, into memory that has a descriptor, and sendfile(2) hands these pages to each socket.

use std::io;
use std::net::TcpStream;

/// Bytes that do not change any more. Sockets that were sent them keep what they need of them when this is dropped.
#[cfg(target_os = "linux")]
pub struct SharedPayload {
    file: std::fs::File,
    length: usize,
}

#[cfg(target_os = "linux")]
impl SharedPayload {
    /// A sheet with these bytes.
    ///
    /// # Errors
    /// Those of memfd_create(2) and write(2), as where there are no descriptors left.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        use rustix::fs::{MemfdFlags, memfd_create};

        let flags = MemfdFlags::CLOEXEC;
        // Linux warns of one that might be executed; before 6.3 it did not know the flag.
        let memory = memfd_create("sheet", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| memfd_create("sheet", flags))?;
        let mut file = std::fs::File::from(memory);
        io::Write::write_all(&mut file, bytes)?;
        let length = bytes.len();
        Ok(Self { file, length })
    }

    /// Sends what the kernel takes at once of all from `start` on. The socket must be one that does not wait, and SIGPIPE be ignored, as std
    /// does: sendfile(2) has no flags.
    ///
    /// # Errors
    /// `WouldBlock` where it takes nothing now.
    pub fn send_now(&self, socket: &TcpStream, start: usize) -> io::Result<usize> {
        let mut offset = start as u64;
        let length = self.length.saturating_sub(start);
        let sent = rustix::fs::sendfile(socket, &self.file, Some(&mut offset), length)?;
        Ok(sent)
    }
}

/// Nothing: this system copies.
#[cfg(not(target_os = "linux"))]
pub struct SharedPayload(std::convert::Infallible);

#[cfg(not(target_os = "linux"))]
impl SharedPayload {
    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub fn new(_bytes: &[u8]) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// There is none that could be sent.
    ///
    /// # Errors
    /// None here.
    pub fn send_now(&self, _socket: &TcpStream, _start: usize) -> io::Result<usize> {
        match self.0 {}
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_was_sent_stays_as_it_was_when_the_sheet_is_gone_and_another_one_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut peer = listener.accept().unwrap().0;
        let send = |byte, start| {
            let sheet = SharedPayload::new(&[byte; 5000]).unwrap();
            assert_eq!(sheet.send_now(&socket, start).unwrap(), 5000 - start);
        };
        send(b'a', 0);
        send(b'b', 4999);
        send(b'c', 5000);
        let mut read = [0; 5001];
        peer.read_exact(&mut read).unwrap();
        assert_eq!(read[..5000], [b'a'; 5000]);
        assert_eq!(read[5000], b'b');
    }

    #[test]
    fn a_socket_that_is_full_takes_a_part_and_then_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let sheet = SharedPayload::new(&vec![0; 64 * 1024 * 1024]).unwrap();
        assert!(sheet.send_now(&socket, 0).unwrap() < 64 * 1024 * 1024);
        let error = sheet.send_now(&socket, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
