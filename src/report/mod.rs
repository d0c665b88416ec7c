//! The room `report` (skeleton).
