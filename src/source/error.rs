//! error (skeleton)
