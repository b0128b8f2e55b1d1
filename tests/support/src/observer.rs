//! The launcher's end of the socket on which a server reports its state.

use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{DEADLINE, Server};

/// The connection of a server's thread `sampler`.
pub struct Observer {
    reports: BufReader<UnixStream>,
}

impl Observer {
    /// Starts an observed server with a console and these additional arguments.
    #[track_caller]
    pub fn start(args: &[&str]) -> (Server, Self) {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("chat-observer-{}-{number}", process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("it is short");
        let listener = UnixListener::bind_addr(&address).expect("the name is unique");
        let args = [&["--sample-socket", &name], args].concat();
        let server = Server::start_with_console(&args);
        let (connection, _) = listener.accept().expect("the server has connected");
        connection
            .set_read_timeout(Some(DEADLINE))
            .expect("the timeout is not 0");
        let reports = BufReader::new(connection);
        (server, Self { reports })
    }

    #[track_caller]
    pub fn send(&mut self, line: &str) {
        let mut connection = self.reports.get_ref();
        writeln!(connection, "{line}").expect("the server reads");
    }

    /// The next report. `None` if the server has closed the connection.
    #[track_caller]
    pub fn report(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.reports.read_line(&mut line);
        (read.expect("a report in time") > 0).then_some(line)
    }
}
