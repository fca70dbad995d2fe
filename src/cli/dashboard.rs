//! `workerheal dashboard`: a page on this machine that shows the workers, and heals them.

use std::net::SocketAddr;

use clap::Args;

use super::Status;
use super::term::{self, Style};
use crate::client::daemon::DaemonClient;
use crate::dashboard::Dashboard as Page;
use crate::setup::Options;

#[derive(Debug, Args)]
pub(super) struct Dashboard {
    /// Where to listen, on this machine only [default: 127.0.0.1:9478, or any free port]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Only print the address, and open no browser
    #[arg(long)]
    no_open: bool,
}

impl Dashboard {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let page = Page::listen(options, self.listen).await?;
        let url = page.url();
        let note = "Anyone with this address can heal and pause: keep it private. Press Ctrl-C to stop.";
        term::print(format!("{}\n{}\n", style.strong(&url), style.faint(note)))?;
        if let Err(error) = DaemonClient::connect(options).await {
            term::complain(format!("{error}; the page goes on once it runs"));
        }
        if !self.no_open {
            page.open();
        }
        page.serve().await;
        Ok(Status::Done)
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.replace("localhost:", "127.0.0.1:").parse().map_err(|_| "write an address and a port, such as 127.0.0.1:9478")
}
