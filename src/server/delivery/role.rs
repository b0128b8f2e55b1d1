//! The delivery role, which one thread holds at a time.
//!
//! In a busy room, the delivery thread holds the role and delivers the lines of all readers
//! together. In a quiet room it sleeps, and waking it for each line would take longer than the
//! delivery itself. So a reader thread that posts a line while nobody delivers takes the role and
//! delivers the line itself, in a single round. Then it gives the role back, and wakes the delivery
//! thread if others have posted in the meantime. A reader that delivered more than its own line
//! would neglect its own client, and each of the others' lines would take a round of its own. For
//! the same reason, no reader delivers after a round with several lines: the delivery thread does,
//! and collects more lines while it wakes.
//!
//! The role is a mutex. A reader that finds the mutex locked does not wait for it, because the
//! thread that holds the role looks at the pending queue again after it has given the role back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::server::Shared;
use crate::server::delivery::Delivery;
use crate::server::history::History;
use crate::server::replay::ReplayBuffer;
use crate::sync::Mutex;
use crate::sync::thread::Scope;

/// The delivery role. Shared by the delivery thread and all reader threads.
pub(crate) struct DeliveryRole<'scope, 'env> {
    shared: &'env Shared,
    /// The state of the delivery. Unlike any other lock, this one is held while its holder writes
    /// the history, sends, and takes other locks. So reader threads never wait for it, and the
    /// delivery thread waits for one round of a reader at most.
    delivery: Mutex<Delivery<'scope, 'env>>,
}

impl<'scope, 'env> DeliveryRole<'scope, 'env> {
    pub(crate) fn new(
        shared: &'env Shared,
        scope: &'scope Scope<'scope, 'env>,
        replay: ReplayBuffer,
        history: Option<History>,
    ) -> Self {
        Self {
            shared,
            delivery: Mutex::new(Delivery::new(shared, scope, replay, history)),
        }
    }

    /// Runs the delivery thread, `deliver`. Returns after the room was closed and its last batch
    /// was sent.
    pub(crate) fn run(&self) {
        let mut delivery = self.delivery.lock();
        while !delivery.batch.closes {
            let patience = delivery.patience();
            drop(delivery);
            self.shared.room.sleep(patience);
            delivery = self.delivery.lock();
            delivery.deliver_all();
        }
        delivery.finish();
    }

    /// Delivers what the calling reader thread has posted, if this is the result of one line,
    /// nobody else delivers, and nothing else is pending. Otherwise leaves it to the thread that
    /// delivers, or wakes the delivery thread. Never waits for the role.
    pub(crate) fn deliver_or_wake(&self) {
        let Some(mut delivery) = self.delivery.try_lock() else {
            return;
        };
        // Catch a panic, so that it ends this reader's client and not the delivery.
        let round = catch_unwind(AssertUnwindSafe(|| delivery.deliver_line()));
        if round.is_err() {
            delivery.discard_round();
        }
        drop(delivery);
        self.shared.room.wake_delivery();
        if let Err(panic) = round {
            resume_unwind(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::protocol::request::{Format, Identity, Request};
    use crate::server::members::ConnectionId;
    use crate::server::room::Endpoint;

    /// A member: its connection, and the peer's end of its socket.
    struct Member(ConnectionId, TcpStream);

    impl Member {
        fn join(shared: &Shared, name: &str) -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let endpoint = Endpoint {
                socket: Arc::new(listener.accept().unwrap().0),
                format: Format::Plain,
                greeting: None,
            };
            let (identity, from) = (Identity::parse(name).unwrap(), IpAddr::from([127, 0, 0, 1]));
            let Ok(connection) = shared.room.join(&identity, from, endpoint) else {
                panic!("{name} cannot join");
            };
            Self(connection, peer)
        }

        /// Does with lines what the member's reader thread does.
        fn say(&self, role: &DeliveryRole<'_, '_>, lines: &[&str]) {
            let requests = lines.iter().map(|line| Request::parse(line, Format::Plain));
            role.shared.room.handle(self.0, requests);
            role.deliver_or_wake();
        }

        /// Returns all that the member was sent since the last call.
        fn read(&mut self) -> String {
            let mut text = String::new();
            self.1.set_nonblocking(true).unwrap();
            let end = self.1.read_to_string(&mut text).unwrap_err();
            assert_eq!(end.kind(), ErrorKind::WouldBlock);
            text
        }
    }

    /// Runs a test in a room with two members, while a thread sleeps as the delivery thread does.
    fn in_quiet_room(test: impl FnOnce(&DeliveryRole<'_, '_>, [Member; 2])) {
        let shared = Shared::silent(2, 0);
        thread::scope(|scope| {
            let role = DeliveryRole::new(&shared, scope, ReplayBuffer::new(0), None);
            let mut members = ["ann", "bob"].map(|name| Member::join(&shared, name));
            role.delivery.lock().deliver_all();
            for member in &mut members {
                member.read();
            }
            scope.spawn(|| shared.room.sleep(Duration::from_secs(60)));
            while !shared.room.is_delivery_asleep() {
                thread::yield_now();
            }
            test(&role, members);
            // Wake the thread.
            shared.room.close();
        });
    }

    #[test]
    fn a_reader_delivers_a_line_while_the_delivery_thread_sleeps() {
        in_quiet_room(|role, [mut ann, mut bob]| {
            ann.say(role, &["hi"]);
            assert_eq!(bob.read(), "ann: hi\n");
            bob.say(role, &["/msg ann psst"]);
            assert_eq!(ann.read(), "[bob] psst\n");
            assert_eq!(bob.read(), "[to ann] psst\n");
            assert!(role.shared.room.is_delivery_asleep());
        });
    }

    #[test]
    fn a_reader_wakes_the_delivery_thread_for_more_than_one_line() {
        in_quiet_room(|role, [ann, mut bob]| {
            ann.say(role, &["one", "two", "three"]);
            assert!(!role.shared.room.is_delivery_asleep());
            assert_eq!(bob.read(), "");
            role.delivery.lock().deliver_all();
            assert_eq!(bob.read(), "ann: one\nann: two\nann: three\n");
        });
    }

    #[test]
    fn a_reader_does_not_wait_for_another_that_delivers() {
        in_quiet_room(|role, [ann, mut bob]| {
            let delivery = role.delivery.lock();
            ann.say(role, &["hi"]);
            assert_eq!(bob.read(), "");
            drop(delivery);
            role.deliver_or_wake();
            assert_eq!(bob.read(), "ann: hi\n");
        });
    }

    #[test]
    fn a_panic_while_a_reader_delivers_does_not_end_the_delivery() {
        in_quiet_room(|role, [mut ann, mut bob]| {
            // The range of an answer that does not exist.
            let mut delivery = role.delivery.lock();
            let recipient = delivery.recipients.get_mut(&bob.0.member).unwrap();
            recipient.plan.insert(0, 1..2);
            drop(delivery);
            let said = catch_unwind(AssertUnwindSafe(|| ann.say(role, &["lost"])));
            assert!(said.is_err());
            ann.say(role, &["hi"]);
            bob.say(role, &["hello"]);
            assert_eq!(ann.read(), "bob: hello\n");
            assert_eq!(bob.read(), "ann: hi\n");
        });
    }
}
