//! read (skeleton)
