//! `workerheal events`: what the daemon did, and does.

use std::time::SystemTime;

use clap::Args;

use super::Status;
use super::status::ago;
use super::term::{self, Style};
use crate::client::daemon::{DaemonClient, EventFilter, StreamItem};
use crate::core::event::{Event, Phase};
use crate::setup::Options;

#[derive(Debug, Args)]
pub(super) struct Events {
    /// Go on with what happens from now on
    #[arg(short, long)]
    follow: bool,
    /// Print each event as a line of JSON
    #[arg(long)]
    json: bool,
    /// How far to go back: a duration such as 1h, or a time as RFC 3339 [default: to the daemon's start]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The latest of them only
    #[arg(short = 'n', long, value_name = "NUMBER")]
    limit: Option<usize>,
}

impl Events {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        if !self.follow {
            return self.show_all(options, style).await;
        }
        tokio::select! {
            shown = self.show_all(options, style) => shown,
            () = term::closed() => Ok(Status::Done),
        }
    }

    async fn show_all(&self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let daemon = DaemonClient::connect(options).await?;
        let limit = self.limit.or_else(|| (self.since.is_none() && self.follow).then_some(10));
        let mut filter = EventFilter { after: None, since: self.since.clone(), limit, follow: self.follow };
        let mut shown = 0_usize;
        loop {
            let mut events = daemon.events(&filter).await?;
            while let Some(told) = events.next().await? {
                match told {
                    StreamItem::Event { id, event } => {
                        filter.after = Some(id);
                        self.show(&event, style)?;
                        shown += 1;
                    }
                    StreamItem::Gap(why) => term::complain(why),
                }
            }
            if !self.follow {
                break;
            }
            // Disconnected, or the daemon has ended: the next iteration finds out.
            (filter.since, filter.limit) = (None, None);
        }
        if shown == 0 && !self.json {
            term::print("No events.\n")?;
        }
        Ok(Status::Done)
    }

    fn show(&self, event: &Event, style: Style) -> anyhow::Result<()> {
        if self.json {
            return term::print(format!("{}\n", serde_json::to_string(event)?));
        }
        term::print(line(event, self.follow, SystemTime::now(), style, term::width()))
    }
}

/// An event as a line. While following, lines stay on the screen, so they have the time of day.
fn line(event: &Event, follow: bool, now: SystemTime, style: Style, width: Option<usize>) -> String {
    let time = match event.time {
        None => String::new(),
        Some(time) if follow => {
            humantime::format_rfc3339_seconds(time).to_string().get(11..).unwrap_or_default().to_owned()
        }
        Some(time) => ago(time, now),
    };
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(22).max(20));
    let sentence = term::fit(&event.to_string(), room);
    let phase = format!("{:9}", event.phase.as_str());
    let phase = match event.phase {
        Phase::Healed | Phase::Recovered => style.good(phase),
        Phase::Failed | Phase::GaveUp => style.bad(phase),
        Phase::Detected | Phase::Held | Phase::Scheduled => style.busy(phase),
        Phase::Starting | Phase::Done => phase,
        Phase::Stopped => style.faint(phase),
    };
    format!("{}  {phase}  {sentence}\n", style.faint(format!("{time:>9}")))
}
