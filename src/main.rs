//! The `encargo` command.

fn main() {}
