//! The program `ota`, where the tests of the wire find it: the same `main`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ota_server::program::main()
}
