//! The room `supervise` (skeleton).
