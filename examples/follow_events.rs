//! Prints the running daemon's events of the last hour, and new ones: `cargo run --example follow_events`.

use workerheal::client::daemon::{EventFilter, StreamItem};
use workerheal::{DaemonClient, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let daemon = DaemonClient::connect(&Options::default()).await?;
    let filter = EventFilter { since: Some("1h".to_owned()), ..EventFilter::default() };
    let mut events = daemon.events(&filter).await?;
    while let Some(item) = events.next().await? {
        match item {
            StreamItem::Event { event, .. } => println!("{event}"),
            StreamItem::Gap(why) => eprintln!("events are missing: {why}"),
        }
    }
    Ok(())
}
