//! The table of criterion's last results (`benches/micro.rs`), with targets.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::report::{Table, figure};

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];
/// The measurements, in words, with the maximum in milliseconds for 10,000.
const STEPS: [(&str, &str, Option<f64>); 8] = [
    ("list", "list decoded", None),
    ("refresh", "refresh decided: all as it was", None),
    ("detection", "detection from nothing", Some(5.0)),
    ("resolution", "resolution of all names", None),
    ("worktrees", "resolution of workers of worktrees", None),
    ("registry", "registry parsed", Some(100.0)),
    ("signal", "one signal read and decided", None),
    ("healing", "one incident decided, from failure to health", None),
];

pub fn measure(machine: &str) -> anyhow::Result<()> {
    let mut table = Table::new("micro", "Single steps, with as many sites as units; in ms", machine);
    let criterion = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("criterion");
    for (step, label, target) in STEPS {
        let mut columns = Vec::new();
        for size in SIZES {
            let path = criterion.join(step).join(size.to_string()).join("new/estimates.json");
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}; run `cargo bench --bench micro` first", path.display()))?;
            let estimates: serde_json::Value = serde_json::from_str(&text)?;
            let nanoseconds = estimates["median"]["point_estimate"].as_f64().context("criterion says no median")?;
            ensure!(nanoseconds > 0.0, "{step} took no time");
            let target = target.filter(|_| size == 10_000);
            columns.push(figure(&size.to_string(), nanoseconds / 1e6, 4).at_most_if(target));
        }
        table.row("units", label, columns);
    }
    table.finish()
}
