//! A payload in a memfd, sent with sendfile(2) so that it is not copied for each socket.
//!
//! An ordinary send copies the bytes into new pages that are in no processor's cache; with a
//! thousand members that is most of the cost. Here the bytes are written once, and every socket
//! refers to the same pages.

use std::io;
use std::net::TcpStream;

/// An immutable payload. Sockets keep the pages they still need after it is dropped.
#[cfg(target_os = "linux")]
pub struct SharedPayload {
    file: std::fs::File,
    length: usize,
}

#[cfg(target_os = "linux")]
impl SharedPayload {
    /// Creates a payload with these bytes.
    ///
    /// # Errors
    /// As memfd_create(2) and write(2), such as when no descriptor is left.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        use rustix::fs::{MemfdFlags, memfd_create};

        let flags = MemfdFlags::CLOEXEC;
        // Linux warns about a memfd that may be executable. Before 6.3 it did not know this flag.
        let memory = memfd_create("sheet", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| memfd_create("sheet", flags))?;
        let mut file = std::fs::File::from(memory);
        io::Write::write_all(&mut file, bytes)?;
        let length = bytes.len();
        Ok(Self { file, length })
    }

    /// Sends as much as the kernel takes at once, from offset `start` on. The socket must be
    /// non-blocking and SIGPIPE ignored, as std does, because sendfile(2) has no flags.
    ///
    /// # Errors
    /// `WouldBlock` if the socket is full.
    pub fn send_now(&self, socket: &TcpStream, start: usize) -> io::Result<usize> {
        let mut offset = start as u64;
        let length = self.length.saturating_sub(start);
        let sent = rustix::fs::sendfile(socket, &self.file, Some(&mut offset), length)?;
        Ok(sent)
    }
}

/// Not available here: every send copies.
#[cfg(not(target_os = "linux"))]
pub struct SharedPayload(std::convert::Infallible);

#[cfg(not(target_os = "linux"))]
impl SharedPayload {
    /// # Errors
    /// Always `Unsupported`.
    pub fn new(_bytes: &[u8]) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Cannot be called, because there is no value of this type.
    ///
    /// # Errors
    /// None.
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
