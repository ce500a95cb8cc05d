//! The one program of Netarium inside every node: its first process, and its probe.
fn main() {}
