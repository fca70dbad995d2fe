//! `launchctl`, answered by the stand-in for launchd that `$STAND_IN_LAUNCHD` names.

use std::path::PathBuf;
use std::process::ExitCode;

use workerheal_launchd::{SOCKET, ask};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let socket = PathBuf::from(std::env::var_os(SOCKET).unwrap_or_default());
    match ask(&socket, &arguments) {
        Ok(reply) => {
            print!("{}", reply.out);
            eprint!("{}", reply.err);
            ExitCode::from(u8::try_from(reply.status).unwrap_or(255))
        }
        Err(error) => {
            eprintln!("there is no launchd at {}: {error}", socket.display());
            ExitCode::from(254)
        }
    }
}
