//! `launchctl`, answered by the stand-in for launchd that `$STAND_IN_LAUNCHD` names.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use workerheal_launchd::{NO_TEXT, SOCKET, ask};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let socket = PathBuf::from(std::env::var_os(SOCKET).unwrap_or_default());
    match ask(&socket, &arguments) {
        Ok(reply) => {
            // Bytes that are not UTF-8 were passed on as a placeholder.
            let bytes = reply.out.replace(NO_TEXT, "\0").into_bytes();
            let bytes: Vec<u8> = bytes.into_iter().map(|byte| if byte == 0 { 0xff } else { byte }).collect();
            if std::io::stdout().write_all(&bytes).is_err() {
                return ExitCode::FAILURE;
            }
            eprint!("{}", reply.err);
            ExitCode::from(u8::try_from(reply.status).unwrap_or(255))
        }
        Err(error) => {
            eprintln!("there is no launchd at {}: {error}", socket.display());
            ExitCode::from(254)
        }
    }
}
