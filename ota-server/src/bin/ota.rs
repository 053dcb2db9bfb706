//! The program `ota`: server and command line. Everything is in the library's `program` module.

use std::process::ExitCode;

fn main() -> ExitCode {
    ota_server::program::main()
}
