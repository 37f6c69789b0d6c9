//! The `alloclog` program.

fn main() {}
