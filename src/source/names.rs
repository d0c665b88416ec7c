//! names (skeleton)
