//! The `coffer` command line.
fn main() {}
