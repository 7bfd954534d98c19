//! The published results, embedded.
