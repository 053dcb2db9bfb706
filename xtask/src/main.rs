//! Every command that builds, checks and measures this project.
fn main() {}
