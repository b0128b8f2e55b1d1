//! Elsewhere than on Linux.
