//! The time of single steps of the decisions, without an operating system: `make bench BENCH=micro`.
//!
//! Each at 10 to 10,000 units, with as many sites. `benches/system/micro.rs` makes the table of the results, with
//! targets, from criterion's files.

#[path = "samples.rs"]
mod samples;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use workerheal::core::healer::{Fact, Timestamp};
use workerheal::core::selector::Selector;
use workerheal::core::units::{ActiveState, UnitName};
use workerheal::files::sites_yaml;
use workerheal::manager::systemd::{listed, signalled};

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];

fn registry(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registry");
    for size in SIZES {
        let text = samples::registry(size);
        group.bench_function(BenchmarkId::from_parameter(size), |b| b.iter(|| sites_yaml::parse(text.as_bytes())));
    }
}

fn resolution(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resolution");
    let selector = Selector::default();
    for size in SIZES {
        let registry = samples::sites(size);
        let units = samples::units(size);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| units.iter().for_each(|unit| drop(black_box(selector.resolve(&registry, &unit.name)))));
        });
    }
}

/// The same for workers of worktrees, where the directory decides.
fn worktrees(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("worktrees");
    let selector = Selector::default();
    let directory = std::path::Path::new("/home/me/worktrees/feature-x");
    for size in SIZES {
        let registry = samples::sites(size);
        let units: Vec<UnitName> = samples::units(size)
            .iter()
            .filter_map(|unit| UnitName::parse(&format!("{}-feature-x", unit.name.short())).ok())
            .collect();
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                for unit in &units {
                    drop(black_box(selector.resolve_in(&registry, unit, Some(directory))));
                }
            });
        });
    }
}

/// From nothing: resolves all units, and finds the one in a hundred to inspect.
fn detection(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("detection");
    for size in SIZES {
        let registry = Arc::new(samples::sites(size));
        let mut units = samples::units(size);
        units.iter_mut().step_by(100).for_each(|unit| unit.active = ActiveState::Failed);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_batched(
                || (samples::healer(&registry), units.clone()),
                |(mut healer, units)| (healer.observe(Timestamp::default(), Fact::Units(units)), healer),
                BatchSize::LargeInput,
            );
        });
    }
}

/// A refresh without changes.
fn refresh(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refresh");
    for size in SIZES {
        let mut healer = samples::healer(&Arc::new(samples::sites(size)));
        let units = samples::units(size);
        drop(healer.observe(Timestamp::default(), Fact::Units(units.clone())));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_batched(
                || units.clone(),
                |units| healer.observe(Timestamp::default(), Fact::Units(units)),
                BatchSize::LargeInput,
            );
        });
    }
}

/// A worker fails, is inspected, started, proven and healthy again: everything that the healer does for it.
fn healing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("healing");
    for size in SIZES {
        let registry = Arc::new(samples::sites(size));
        let units = samples::units(size);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_batched(
                || {
                    let mut healer = samples::healer(&registry);
                    drop(healer.observe(Timestamp::default(), Fact::Units(units.clone())));
                    healer
                },
                |mut healer| {
                    samples::heal(&mut healer, &units[0].name);
                    healer
                },
                BatchSize::LargeInput,
            );
        });
    }
}

fn signal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("signal");
    for size in SIZES {
        let mut healer = samples::healer(&Arc::new(samples::sites(size)));
        drop(healer.observe(Timestamp::default(), Fact::Units(samples::units(size))));
        let message = samples::signal(&samples::units(1)[0].name);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| signalled(&message).map(|status| healer.observe(Timestamp::default(), Fact::Changed(status))));
        });
    }
}

fn list(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("list");
    for size in SIZES {
        let message = samples::list(size);
        group.bench_function(BenchmarkId::from_parameter(size), |b| b.iter(|| listed(&message)));
    }
}

criterion_group! {
    name = micro;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .without_plots();
    targets = registry, resolution, worktrees, detection, refresh, healing, signal, list
}
criterion_main!(micro);
