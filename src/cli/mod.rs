//! The room `cli` (skeleton).
