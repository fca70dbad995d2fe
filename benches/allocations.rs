//! The number of memory allocations on the two most frequent paths: a signal, and a refresh without changes. `make
//! bench BENCH=allocations`.

#[expect(dead_code, reason = "it has more than this needs")]
#[path = "system/machine.rs"]
mod machine;
#[expect(dead_code, reason = "it has more than this needs")]
#[path = "system/report.rs"]
mod report;
#[expect(dead_code, reason = "it has more than this needs")]
#[path = "samples.rs"]
mod samples;

use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use report::{Table, figure};
use workerheal::core::healer::{Fact, Timestamp};
use workerheal::manager::systemd::{listed, signalled};

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];

fn main() -> anyhow::Result<()> {
    // `cargo test --all-targets` starts benches too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let title = "Allocations: a signal, and a refresh that finds all as it was";
    let mut table = Table::new("allocations", title, &machine::description()?);
    for size in SIZES {
        let units = samples::units(size);
        let mut healer = samples::healer(&Arc::new(samples::sites(size)));
        let known = measure(|| drop(healer.observe(Timestamp::default(), Fact::Units(units.clone()))));
        let (signal, reply) = (samples::signal(&units[0].name), samples::list(size));
        // The setup does not count.
        drop((signalled(&signal), listed(&reply)));

        let mut group = |what: &str, info: AllocationInfo| {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let (count, bytes, kept, units) =
                (info.count_total as f64, info.bytes_total as f64, info.bytes_current as f64, size as f64);
            let columns = [
                figure("allocations", count, 0),
                figure("KiB", bytes / 1024.0, 1),
                figure("a unit", count / units, 2),
                figure("bytes kept a unit", kept / units, 0),
            ];
            table.row(&format!("{size} units"), what, columns);
        };
        group("first list, decided", known);
        let mut status = None;
        group("signal, read", measure(|| status = signalled(&signal)));
        let fact = status.map(Fact::Changed);
        group(
            "signal, decided",
            measure(|| {
                drop(fact.map(|fact| healer.observe(Timestamp::default(), fact)));
            }),
        );
        let mut list = None;
        group("refresh, read", measure(|| list = listed(&reply).ok()));
        group(
            "refresh, decided",
            measure(|| {
                drop(list.take().map(|list| healer.observe(Timestamp::default(), Fact::Units(list))));
            }),
        );
    }
    table.finish()
}
