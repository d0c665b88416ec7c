//! The room `verify` (skeleton).
