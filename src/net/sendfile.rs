//! A payload in a memfd, sent with sendfile(2) so that it is not copied for each socket.
//!
//! An ordinary send copies the bytes into new pages that are in no processor's cache. With a
//! thousand members, that copy is most of the cost. With a memfd, the bytes are written once, and
//! every socket refers to the same pages.

use std::io;
use std::net::TcpStream;

/// An immutable payload, to be sent on many sockets. It may be dropped before the sockets have sent
/// it, because each socket keeps the pages that it needs.
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
    /// As memfd_create(2) and write(2), for example if no descriptor is left.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        use rustix::fs::{MemfdFlags, memfd_create};

        let flags = MemfdFlags::CLOEXEC;
        // Try NOEXEC_SEAL first, because Linux logs a warning about a memfd that is created without
        // it. Versions before 6.3 reject the flag.
        let memory = memfd_create("payload", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| memfd_create("payload", flags))?;
        let mut file = std::fs::File::from(memory);
        io::Write::write_all(&mut file, bytes)?;
        let length = bytes.len();
        Ok(Self { file, length })
    }

    /// Sends as many bytes as the kernel accepts at once, beginning at offset `start`, and returns
    /// their number. The socket must be non-blocking, and the process must ignore SIGPIPE (as std
    /// makes it do): unlike send(2), sendfile(2) has no flags for these two.
    pub fn send_now(&self, socket: &TcpStream, start: usize) -> io::Result<usize> {
        let mut offset = start as u64;
        let length = self.length.saturating_sub(start);
        let sent = rustix::fs::sendfile(socket, &self.file, Some(&mut offset), length)?;
        Ok(sent)
    }
}

/// Stand-in for systems other than Linux: [`SharedPayload::new`] fails, so callers copy the bytes
/// for each socket.
#[cfg(not(target_os = "linux"))]
pub struct SharedPayload(std::convert::Infallible);

#[cfg(not(target_os = "linux"))]
impl SharedPayload {
    /// Fails, because this system cannot share a payload.
    ///
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
    fn bytes_in_flight_stay_unchanged_when_their_payload_is_dropped_and_another_is_created() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut peer = listener.accept().unwrap().0;
        let send = |byte, start| {
            let payload = SharedPayload::new(&[byte; 5000]).unwrap();
            assert_eq!(payload.send_now(&socket, start).unwrap(), 5000 - start);
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
    fn sending_a_payload_stops_when_the_socket_is_full_and_does_not_block() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let payload = SharedPayload::new(&vec![0; 64 * 1024 * 1024]).unwrap();
        assert!(payload.send_now(&socket, 0).unwrap() < 64 * 1024 * 1024);
        let error = payload.send_now(&socket, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
