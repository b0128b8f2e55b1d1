//! Measurements of a running server: which thread holds which lock, what is queued, and what each
//! thread does.
//!
//! | what | measured by | cost while nobody observes |
//! |---|---|---|
//! | locks | the threads that take a lock (`gauge`) | a load per `lock` |
//! | queue, batches, backlogs | the threads that change them | a store per change |
//! | all of these, as one [`sample`] | the server's thread `sampler` | none: it sleeps |
//! | system calls, CPU time, bytes in sockets | the launcher, through the [`kernel`] | none |
//!
//! The values of the server are atomics, so the thread `sampler` reads them without a lock. It
//! never takes a lock that it reports, and therefore answers even if a thread never releases the
//! room's lock.

pub mod deadlock;
// The locks of the model checker are not measured.
#[cfg_attr(shuttle, expect(dead_code))]
pub(crate) mod gauge;
pub mod kernel;
pub mod sample;
