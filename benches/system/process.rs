//! The time of a call of the program, the time until the daemon is ready, and its size.
//!
//! Calls take turns with those of alternatives, in one shell in the sandbox that reads the clock before and after each.
//! The time until the daemon is ready is measured by systemd: from the start of its process
//! (`ExecMainStartTimestampMonotonic`) to its `READY=1` (`ActiveEnterTimestampMonotonic`).

use std::fs;

use anyhow::Context;
use rustix::process::{Signal, kill_process};

use crate::Sizes;
use crate::machine::threads;
use crate::report::{Table, figure, median, quantile};
use crate::stage::{DEFAULTS, HEALER, Stage, program, units};

const SIZES: [usize; 3] = [10, 1000, 5000];
const CALLS: usize = 40;
const STARTS: usize = 20;
const FAILED: usize = 3;
const SYSTEMCTL: &str = "systemctl --user list-units --failed";
/// Commands that show as much about failed units as `detect` does: how each ended, whether it was stopped on request,
/// and its last line.
const BY_HAND: &str = "for unit in $(systemctl --user list-units --failed --plain --no-legend | cut -d ' ' -f 1); do \
    run=$(systemctl --user show --property=Result,Restart,BindsTo,InvocationID $unit | sed -n s/InvocationID=//p); \
    journalctl --quiet --lines=100 USER_INVOCATION_ID=$run; journalctl --quiet --lines=1 _SYSTEMD_USER_UNIT=$unit; done";
/// The target for a call that a daemon answers.
const ASKED: f64 = 0.7;
const READY_MS: f64 = 50.0;
const BINARY_MIB: f64 = 8.0;

pub fn measure(machine: &str, sizes: &Sizes) -> anyhow::Result<()> {
    let mut table = Table::new("process", "Processes: calls, the daemon's start, the program's size", machine);
    for size in SIZES.into_iter().filter(|size| sizes.include(*size)) {
        let stage = Stage::with_workers(size)?;
        calls(&stage, &mut table, &format!("{size} workers, none failed"), &[SYSTEMCTL], &[""], 1.0)?;
        starts(&stage, &mut table, size)?;
        stage.start_healer(DEFAULTS)?;
        calls(&stage, &mut table, &format!("{size} workers, none failed, with a daemon"), &[SYSTEMCTL], &[""], ASKED)?;
        stage.stop_healer()?;
        let failed = units("lerd", FAILED);
        stage.processes(&failed)?.into_iter().try_for_each(|process| kill_process(process, Signal::KILL))?;
        for unit in &failed {
            stage.sandbox.wait_for_state(unit, "failed", std::time::Duration::from_secs(20));
        }
        calls(
            &stage,
            &mut table,
            &format!("{size} workers, {FAILED} failed"),
            &[BY_HAND, SYSTEMCTL],
            &["", " --no-errors"],
            1.0,
        )?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a file")]
    let size = fs::metadata(program()).context("the program is gone")?.len() as f64 / 1024.0 / 1024.0;
    table.row("program", "workerheal", [figure("MiB", size, 2).at_most(BINARY_MIB)]);
    table.finish()
}

/// The first of the others is the yardstick.
fn calls(
    stage: &Stage,
    table: &mut Table,
    group: &str,
    others: &[&str],
    options: &[&str],
    target: f64,
) -> anyhow::Result<()> {
    let program = program();
    let ours = options.iter().map(|option| format!("{program} detect --json{option}"));
    let commands: Vec<String> = others.iter().map(|other| (*other).to_owned()).chain(ours).collect();
    let mut script = format!("for call in $(seq {}); do\n", CALLS + 1);
    for (number, command) in commands.iter().enumerate() {
        script.push_str(&format!(
            "begin=$EPOCHREALTIME; {command} >/dev/null || exit 1; end=$EPOCHREALTIME; echo {number} $((${{end/./}} - ${{begin/./}}))\n"
        ));
    }
    script.push_str("done");
    let output = stage.sandbox.command("bash").args(["-c", &script]).output()?;
    anyhow::ensure!(output.status.success(), "a call failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let figures = |number: usize| -> Vec<f64> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(&format!("{number} ")));
        // The first call reads programs from the disk.
        lines.filter_map(|time| Some(time.parse::<f64>().ok()? / 1000.0)).skip(1).collect()
    };
    let limit = median(&figures(0));
    for (number, command) in commands.iter().enumerate() {
        let figures = figures(number);
        let label = if command == BY_HAND {
            "systemctl and journalctl for each".to_owned()
        } else {
            command.replace(&program, "workerheal")
        };
        let target = (number >= others.len() && !label.contains("no-errors")).then_some(target);
        let columns = [
            figure("median ms", median(&figures), 2),
            figure("p95 ms", quantile(&figures, 0.95), 2),
            figure("ratio", median(&figures) / limit, 2).at_most_if(target),
        ];
        table.row(group, &label, columns);
        table.raw(&format!("{group}, {label}, ms"), figures);
    }
    Ok(())
}

fn starts(stage: &Stage, table: &mut Table, size: usize) -> anyhow::Result<()> {
    let mut figures = Vec::new();
    for start in 0..=STARTS {
        let daemon = stage.start_healer(DEFAULTS)?;
        let stamps = ["ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"];
        let [begin, ready] = stage.timestamps(HEALER, stamps)?[0];
        if start > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a short time")]
            figures.push((ready - begin) as f64 / 1000.0);
        }
        anyhow::ensure!(!threads(daemon)?.is_empty(), "the daemon is gone");
        stage.stop_healer()?;
    }
    let columns = [
        figure("median ms", median(&figures), 1).at_most_if((size == 1000).then_some(READY_MS)),
        figure("p95 ms", quantile(&figures, 0.95), 1),
    ];
    table.row(&format!("{size} workers, start"), "from exec to READY=1", columns);
    table.raw(&format!("{size} workers, start, ms"), figures);
    Ok(())
}
