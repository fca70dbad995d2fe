//! Prints and keeps the results: one table for each benchmark, with its targets, and the same as JSON.
//!
//! The files are in `bench/` in Cargo's target directory. The previous run is kept in `bench/before/`, for [`compare`].
//! A file is written completely or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A table of results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Table {
    /// Its name on the command line.
    pub name: String,
    /// What it shows, in one line.
    pub title: String,
    /// The machine, its state, and the date.
    pub machine: String,
    rows: Vec<Row>,
    /// Sentences below it.
    notes: Vec<String>,
    /// The single figures that those in the table were computed from.
    raw: BTreeMap<String, Value>,
}

/// The results of one contender under one condition.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// The condition; rows with the same condition are adjacent.
    group: String,
    label: String,
    figures: Vec<Figure>,
}

/// One figure, and its target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// The heading of its column, with the unit of measurement.
    column: String,
    value: f64,
    decimals: usize,
    /// The maximum that meets the target.
    at_most: Option<f64>,
}

/// A figure without a target.
pub fn figure(column: &str, value: f64, decimals: usize) -> Figure {
    Figure { column: column.to_owned(), value, decimals, at_most: None }
}

impl Figure {
    /// The same with a target.
    pub fn at_most(mut self, target: f64) -> Self {
        self.at_most = Some(target);
        self
    }

    /// The same with a target, if there is one.
    pub fn at_most_if(mut self, target: Option<f64>) -> Self {
        self.at_most = target;
        self
    }

    fn is_met(&self) -> Option<bool> {
        // Judged as printed.
        let scale = 10f64.powi(i32::try_from(self.decimals).unwrap_or(0));
        self.at_most.map(|target| (self.value * scale).round() / scale <= target)
    }

    fn print(&self) -> String {
        let value = format!("{:.*}", self.decimals, self.value);
        match (self.at_most, self.is_met()) {
            (Some(target), Some(met)) => format!("{value} {} ≤ {target}", if met { '✓' } else { '✗' }),
            _ => value,
        }
    }
}

impl Table {
    pub fn new(name: &str, title: &str, machine: &str) -> Self {
        let (name, title, machine) = (name.to_owned(), title.to_owned(), machine.to_owned());
        Self { name, title, machine, rows: Vec::new(), notes: Vec::new(), raw: BTreeMap::new() }
    }

    pub fn row(&mut self, group: &str, label: &str, figures: impl IntoIterator<Item = Figure>) {
        let figures = figures.into_iter().collect();
        self.rows.push(Row { group: group.to_owned(), label: label.to_owned(), figures });
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub fn raw(&mut self, key: &str, figures: impl Into<Value>) {
        self.raw.insert(key.to_owned(), figures.into());
    }

    /// Prints the table, and keeps it.
    pub fn finish(&self) -> anyhow::Result<()> {
        println!("\n## {}\n\n{}\n", self.title, self.machine);
        print!("{}", self.text());
        for note in &self.notes {
            println!("\n{note}");
        }
        let path = self.keep()?;
        println!("\nRaw figures: {}", path.display());
        Ok(())
    }

    /// As Markdown, with a heading wherever the condition or the columns change.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut rest = self.rows.as_slice();
        while let Some(first) = rest.first() {
            let columns = |row: &Row| row.figures.iter().map(|figure| figure.column.clone()).collect::<Vec<_>>();
            let alike = |row: &&Row| row.group == first.group && columns(row) == columns(first);
            let count = rest.iter().take_while(alike).count();
            let (rows, others) = rest.split_at(count);
            let heading = std::iter::once(first.group.clone()).chain(columns(first)).collect();
            let lines = rows.iter().map(|row| {
                std::iter::once(row.label.clone()).chain(row.figures.iter().map(Figure::print)).collect::<Vec<_>>()
            });
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&aligned(&std::iter::once(heading).chain(lines).collect::<Vec<_>>()));
            rest = others;
        }
        text
    }

    fn keep(&self) -> anyhow::Result<PathBuf> {
        let path = directory().join(format!("{}.json", self.name));
        if path.exists() {
            let before = directory().join("before");
            fs::create_dir_all(&before)?;
            fs::rename(&path, before.join(format!("{}.json", self.name)))?;
        }
        fs::create_dir_all(directory())?;
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, serde_json::to_string_pretty(self)?)?;
        fs::rename(&unfinished, &path)?;
        Ok(path)
    }

    fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is of another version", path.display()))
    }
}

/// The rows of a table in Markdown, aligned as plain text; the first is the heading.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text.push_str(&if column == 0 { format!("| {cell:<width$} |") } else { format!(" {cell:>width$} |") });
        }
        text.push('\n');
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let line = "-".repeat(width + 1);
                text.push_str(&if column == 0 { format!("|{line}-|") } else { format!("{line}:|") });
            }
            text.push('\n');
        }
    }
    text
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench")
}

/// Prints each figure of an earlier run, kept in `before`, and of the last one.
pub fn compare(before: Option<&Path>) -> anyhow::Result<()> {
    let now = directory();
    let before = before.map_or_else(|| now.join("before"), Path::to_owned);
    let mut names: Vec<_> = fs::read_dir(&before)
        .with_context(|| format!("there is no earlier run in {}; run `make bench` twice", before.display()))?
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "json"))
        .collect();
    names.sort_unstable();
    for name in names {
        if !now.join(&name).exists() {
            continue;
        }
        let (old, new) = (Table::load(&before.join(&name))?, Table::load(&now.join(&name))?);
        println!("\n## {}\n\nbefore: {}\nnow:    {}\n", new.title, old.machine, new.machine);
        let mut lines = vec![["", "", "before", "now", "ratio"].map(str::to_owned).to_vec()];
        for row in &new.rows {
            let Some(earlier) = old.rows.iter().find(|old| old.group == row.group && old.label == row.label) else {
                continue;
            };
            for figure in &row.figures {
                let Some(earlier) = earlier.figures.iter().find(|old| old.column == figure.column) else { continue };
                let ratio =
                    if earlier.value == 0.0 { String::new() } else { format!("{:.2}", figure.value / earlier.value) };
                let what = format!("{}, {}", row.group, row.label);
                lines.push(vec![what, figure.column.clone(), earlier.print(), figure.print(), ratio]);
            }
        }
        print!("{}", aligned(&lines));
    }
    Ok(())
}

/// The quantile of some figures: 0.5 is the median.
pub fn quantile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a short list"
    )]
    let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

pub fn median(figures: &[f64]) -> f64 {
    quantile(figures, 0.5)
}
