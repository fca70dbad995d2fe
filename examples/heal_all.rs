//! Heals every unhealthy worker, without a daemon: `cargo run --example heal_all`.

use workerheal::{Options, connect};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = connect(&Options::default()).await?;
    let report = client.heal_all(|event| println!("{event}")).await?;
    println!("{report}");
    for failure in &report.failed {
        eprintln!("{}: {}", failure.worker.name(), failure.error);
    }
    Ok(())
}
