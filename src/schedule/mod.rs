//! The room `schedule` (skeleton).
