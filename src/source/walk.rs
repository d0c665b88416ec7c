//! walk (skeleton)
