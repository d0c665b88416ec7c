//! The room `catalog` (skeleton).
