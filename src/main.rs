//! The doorway: parse, call, exit.

fn main() {}
