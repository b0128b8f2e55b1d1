//! Measurements of a running server: which thread holds which lock, what is queued, and what each
//! thread does.

pub mod sample;
