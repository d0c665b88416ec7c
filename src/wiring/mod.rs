//! The room `wiring` (skeleton).
