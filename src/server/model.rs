//! The server without listeners, for the model checker in `tests/model`.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ::shuttle::sync::mpsc::Receiver;

use crate::net;
use crate::protocol::event::Record;
use crate::protocol::name::Name;
use crate::server::Shared;
use crate::server::delivery::backlog;
use crate::server::delivery::role::DeliveryRole;
use crate::server::guess_limit::GuessLimit;
use crate::server::log::Entry;
use crate::server::login::{Admitted, LoginStep, PendingLogin};
use crate::server::replay::ReplayBuffer;
use crate::server::session::Session;
use crate::server::thread_budget::{self, LEAVING};
use crate::sync::{shuttle, thread};

/// Limit on the unsent bytes of a slow recipient; see [`backlog`].
pub const MAX_BACKLOG: usize = backlog::MAX_BACKLOG;

thread_local! {
    /// Number of rounds that reader threads have delivered since the last [`Server::new`].
    static READER_ROUNDS: Cell<usize> = const { Cell::new(0) };
}

pub(crate) fn count_reader_round() {
    READER_ROUNDS.set(READER_ROUNDS.get() + 1);
}

/// A server without listeners: the room, the delivery, and the threads that serve members. Runs
/// only under shuttle.
pub struct Server(Shared);

impl Server {
    /// Creates a server with `seats` seats and at most `writers` writer threads. Starts the
    /// simulated clock, which stops at `end`.
    pub fn new(seats: usize, writers: usize, end: Duration) -> Self {
        shuttle::start_clock(end);
        READER_ROUNDS.set(0);
        Self(Shared::silent(seats, writers))
    }

    /// Serves `connections`, and logs their clients in one after the other. Returns when the
    /// channel is closed and [`Server::close`] has been called.
    pub fn run(&self, connections: Receiver<TcpStream>) {
        let shared = &self.0;
        thread::scope(|scope| {
            let replay = ReplayBuffer::new(100);
            let delivery = Arc::new(DeliveryRole::new(shared, scope, replay, None));
            let role = Arc::clone(&delivery);
            scope.spawn(move || {
                role.run();
                shared.linger.stop();
            });
            scope.spawn(|| shared.linger.run());
            // Log clients in on a separate thread, so that this thread waits only for the scope's
            // end: shuttle wakes the owner of a scope when the scope's last thread ends, even if
            // the owner is waiting for something else.
            scope.spawn(move || {
                for socket in connections {
                    if let Some(admitted) = self.log_in(socket)
                        && let Some(permit) =
                            shared.thread_budget.reader(|| shared.linger.close_oldest())
                    {
                        let session = Session::new(shared, Arc::clone(&delivery), admitted);
                        scope.spawn(move || session.run(permit));
                    }
                }
            });
        });
    }

    fn log_in(&self, socket: TcpStream) -> Option<Admitted> {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut login = PendingLogin::new(&self.0, socket, peer);
        loop {
            match login.step(&mut [0; 512], &mut GuessLimit::default()) {
                LoginStep::Pending => net::wait_readable(login.socket(), Duration::MAX).ok()?,
                LoginStep::LoggedIn(admitted) => return Some(admitted),
                LoginStep::Rejected => return None,
            };
        }
    }

    /// Removes a member, as the operator's `/kick` does. Returns false if no member has this name.
    pub fn kick(&self, name: &str) -> bool {
        Name::new(name).is_ok_and(|name| self.0.room.kick(&name, "").is_ok())
    }

    /// Number of rounds that reader threads have delivered.
    pub fn reader_rounds(&self) -> usize {
        READER_ROUNDS.get()
    }

    /// Closes the room.
    pub fn close(&self) {
        self.0.thread_budget.close();
        self.0.linger.stop_resets();
        self.0.room.close();
        self.0.hold.close();
    }

    /// Returns the events in the order of the operator's log. Panics if the log contains an error,
    /// or if a thread permit was not returned.
    pub fn into_records(self) -> Vec<Arc<Record>> {
        assert!(
            self.0.thread_budget.is_unused(),
            "a permit was not returned"
        );
        let entries = self.0.log.into_entries().into_iter();
        entries
            .filter_map(|entry| match entry {
                Entry::Record(record) => Some(record),
                Entry::Error(error) => panic!("{error}"),
                Entry::Connected(_)
                | Entry::Returned(..)
                | Entry::Disconnected(..)
                | Entry::Plain(_)
                | Entry::Typed(_)
                | Entry::Answer(_) => None,
            })
            .collect()
    }
}

/// The limits on reader and writer threads.
pub struct ThreadBudget(thread_budget::ThreadBudget);

impl ThreadBudget {
    /// Creates a budget for `writers` writer threads and [`ThreadBudget::max_readers`] reader
    /// threads.
    pub fn new(writers: usize) -> Self {
        Self(thread_budget::ThreadBudget::new(0, LEAVING + writers))
    }

    /// The limit on reader threads.
    pub fn max_readers(&self) -> usize {
        self.0.max_readers()
    }

    /// Waits for a reader permit and calls `serve` with it. Returns false if the budget was closed.
    pub fn read(&self, serve: impl FnOnce()) -> bool {
        let permit = self.0.reader(|| {});
        permit.map(|_permit| serve()).is_some()
    }

    /// Calls `write` with a writer permit. Returns false if no permit is free.
    pub fn write(&self, write: impl FnOnce()) -> bool {
        let permit = self.0.writer();
        permit.map(|_permit| write()).is_some()
    }

    /// Refuses all further permits for reader threads, so that no more of these threads start.
    /// Permits that were granted earlier stay valid.
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether no thread holds a permit.
    pub fn is_unused(&self) -> bool {
        self.0.is_unused()
    }
}
