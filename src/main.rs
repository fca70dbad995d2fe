//! The program: parses the command line, runs the command, and turns its end into an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    workerheal::cli::run()
}
