//! The dashboard command, run as a user would.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::common::World;

/// A dashboard that runs.
pub struct Page {
    process: Child,
    /// The printed address.
    pub url: String,
    /// `127.0.0.1:PORT`.
    pub host: String,
    pub token: String,
}

impl Page {
    #[track_caller]
    pub fn start(world: &World) -> Self {
        Self::at(world, "127.0.0.1:0")
    }

    #[track_caller]
    pub fn at(world: &World, address: &str) -> Self {
        Self::run(world.command_line(&["dashboard", "--no-open", "--listen", address]))
    }

    /// A dashboard that opens a browser found in this `PATH`.
    #[track_caller]
    pub fn opened(world: &World, path: &str) -> Self {
        let mut command = world.command_line(&["dashboard", "--listen", "127.0.0.1:0"]);
        command.env("PATH", path);
        Self::run(command)
    }

    #[track_caller]
    fn run(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nsenter runs");
        let mut url = String::new();
        let read = BufReader::new(process.stdout.take().expect("is piped")).read_line(&mut url);
        assert!(read.is_ok_and(|length| length > 0), "it has printed no address");
        let url = url.trim().to_owned();
        let (start, token) = url.split_once("/?token=").unwrap_or_else(|| panic!("no token: {url:?}"));
        let host = start.strip_prefix("http://").unwrap_or_else(|| panic!("no address: {url:?}")).to_owned();
        let token = token.to_owned();
        Self { process, url, host, token }
    }

    /// The first line of its standard error.
    #[track_caller]
    pub fn complaint(mut self) -> String {
        let mut line = String::new();
        let read = BufReader::new(self.process.stderr.take().expect("is piped")).read_line(&mut line);
        assert!(read.is_ok_and(|length| length > 0), "it does not complain");
        line
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
