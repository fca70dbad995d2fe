//! Benchmarks on a real systemd: workerheal compared to its alternatives and to the limit. `make bench` runs them all,
//! `make bench BENCH="latency storm"` some, `make bench BENCH=idle=1000,5000` one with some of its sizes, `make
//! bench-compare` compares the last run with the one before. They have the requirements of the sandbox, and need monit.
//!
//! # Method
//!
//! - **One run, one sandbox**: a private systemd user manager with its own bus and journal. The contenders share it, so
//!   that each works under the same load; absolute figures depend on the machine, ratios hardly.
//! - **systemd's own clock**: times are differences of its timestamps, CPU time is the kernel's accounting. No process
//!   measures itself.
//! - **The limit** is a client of the session bus that knows the unit and can do nothing else ([`client`]).
//! - **workerheal** is the optimised program as users have it: its packaged unit, the default configuration, and the
//!   workers' sites in the registry.
//!
//! Everything that starts units on the machine shares a lock of the kernel with these benchmarks: run them on an
//! otherwise idle machine. A run that is killed leaves nothing behind: the sandbox ends with its owner, and figures are
//! kept only when a table is complete.
//!
//! One module for each table; [`stage`] provides the workers, [`contenders`] the alternatives, [`machine`] the resource
//! usage, [`report`] prints and keeps the results.

mod client;
mod contenders;
mod flapping;
mod idle;
mod latency;
mod machine;
mod micro;
mod process;
mod report;
mod stage;
mod storm;

use std::path::Path;

use anyhow::{Context, ensure};

const TABLES: [&str; 6] = ["latency", "storm", "idle", "process", "flapping", "micro"];

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` starts benches too, without this argument.
    let Some(at) = arguments.iter().position(|argument| argument == "--bench") else { return Ok(()) };
    arguments.remove(at);
    if arguments.first().is_some_and(|first| first == "compare") {
        return report::compare(arguments.get(1).map(Path::new));
    }
    // "none" selects no measurement, for a Makefile that has none to name.
    let wanted: Vec<&str> = match arguments.as_slice() {
        [] => TABLES.to_vec(),
        names => names.iter().map(String::as_str).filter(|name| *name != "none").collect(),
    };
    let wanted = wanted.into_iter().map(selection).collect::<anyhow::Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (name, sizes) in wanted {
        let machine = machine::description()?;
        match name {
            "latency" => runtime.block_on(latency::measure(&machine, &sizes))?,
            "storm" => runtime.block_on(storm::measure(&machine, &sizes))?,
            "idle" => runtime.block_on(idle::measure(&machine, &sizes))?,
            "process" => process::measure(&machine, &sizes)?,
            "flapping" => runtime.block_on(flapping::measure(&machine))?,
            _ => micro::measure(&machine)?,
        }
    }
    Ok(())
}

/// Sizes to measure; all sizes of a measurement if empty.
pub struct Sizes(Vec<usize>);

impl Sizes {
    /// Whether this size is selected.
    #[must_use]
    pub fn include(&self, size: usize) -> bool {
        self.0.is_empty() || self.0.contains(&size)
    }
}

/// Parses a measurement and its sizes after `=`.
fn selection(text: &str) -> anyhow::Result<(&str, Sizes)> {
    let (name, sizes) = text.split_once('=').unwrap_or((text, ""));
    ensure!(TABLES.contains(&name), "there is no measurement {name}; there are {}", TABLES.join(", "));
    let sizes = sizes.split(',').filter(|size| !size.is_empty()).map(str::parse).collect::<Result<_, _>>();
    Ok((name, Sizes(sizes.with_context(|| format!("not sizes: {text}"))?)))
}
