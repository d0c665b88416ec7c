//! The room `engine` (skeleton).
