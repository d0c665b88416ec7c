//! folder (skeleton)
