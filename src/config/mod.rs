//! The room `config` (skeleton).
