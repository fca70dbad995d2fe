//! The machine, and the resources used by processes, as the kernel accounts for them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rustix::process::Pid;
use workerheal_sandbox::Sandbox;

/// The machine, its load, and the date.
pub fn description() -> anyhow::Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let systemd = std::process::Command::new("systemctl").arg("--version").output()?;
    let systemd = String::from_utf8_lossy(&systemd.stdout).lines().next().unwrap_or_default().to_owned();
    Ok(format!(
        "{} × {}, Linux {}, {}, load {} at the start, {}",
        std::thread::available_parallelism()?,
        model.map_or("processor", |(_, name)| name),
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        systemd.split(" (").next().unwrap_or_default(),
        fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default(),
        humantime::format_rfc3339_seconds(SystemTime::now()),
    ))
}

/// The processes of the sandbox's units in this program's pid namespace, by unit; the oldest if a unit has several.
pub fn processes(sandbox: &Sandbox) -> anyhow::Result<HashMap<String, Pid>> {
    let mut found = HashMap::new();
    for_each_process(sandbox, |pid, cgroup| {
        let unit = cgroup.rsplit('/').next().unwrap_or_default().to_owned();
        keep_oldest(&mut found, unit, pid);
    })?;
    Ok(found)
}

fn keep_oldest(found: &mut HashMap<String, Pid>, of: String, pid: Pid) {
    let oldest = found.entry(of).or_insert(pid);
    if pid.as_raw_nonzero() < oldest.as_raw_nonzero() {
        *oldest = pid;
    }
}

fn for_each_process(sandbox: &Sandbox, mut each: impl FnMut(Pid, &str)) -> anyhow::Result<()> {
    let name = name(sandbox)?;
    for entry in fs::read_dir("/proc")? {
        let directory = entry?.file_name();
        let Some(pid) = directory.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else { continue };
        // A process that has ended by now is irrelevant.
        let cgroups = fs::read_to_string(Path::new("/proc").join(&directory).join("cgroup")).unwrap_or_default();
        if let Some(line) = cgroups.lines().find(|line| line.contains(&name)) {
            each(pid, line);
        }
    }
    Ok(())
}

/// The name of the sandbox's directory, which its control groups have too.
fn name(sandbox: &Sandbox) -> anyhow::Result<String> {
    let directory = sandbox.home().parent().and_then(Path::file_name).context("the sandbox has no directory")?;
    Ok(directory.to_string_lossy().into_owned())
}

/// The processes beside the units in a sandbox: the manager, the bus, the journal.
pub struct Staff {
    pub manager: Pid,
    pub bus: Pid,
    pub journal: Pid,
    cgroup: PathBuf,
}

impl Staff {
    pub fn of(sandbox: &Sandbox) -> anyhow::Result<Self> {
        let mut by_program = HashMap::new();
        for_each_process(sandbox, |pid, _| {
            let program = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).unwrap_or_default();
            // The manager has a helper with the same name.
            keep_oldest(&mut by_program, program.trim().to_owned(), pid);
        })?;
        let pid = |program: &str| by_program.get(program).copied().with_context(|| format!("{program} does not run"));
        let name = name(sandbox)?;
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(|root| Path::new(root).join(&name));
        let cgroup = roots.into_iter().find(|root| root.join("cpu.stat").exists());
        Ok(Self {
            manager: pid("systemd")?,
            bus: pid("dbus-daemon")?,
            journal: pid("systemd-journal")?,
            cgroup: cgroup.context("the sandbox has no control group of version 2, whose accounting is needed")?,
        })
    }

    /// The CPU time of everything that ever ran in the sandbox as a unit, or runs the sandbox.
    pub fn all(&self) -> anyhow::Result<Duration> {
        cpu_of_cgroup(&self.cgroup)
    }

    /// The CPU time of all processes of a unit, including past ones.
    pub fn unit(&self, unit: &str) -> anyhow::Result<Duration> {
        cpu_of_cgroup(&self.cgroup.join("user.slice/user-0.slice/user@0.service/app.slice").join(unit))
    }
}

fn cpu_of_cgroup(cgroup: &Path) -> anyhow::Result<Duration> {
    let path = cgroup.join("cpu.stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
    usage.map(Duration::from_micros).with_context(|| format!("{} says nothing of usage", path.display()))
}

/// The CPU time of all threads of a process.
pub fn cpu(pid: Pid) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    for thread in threads(pid)? {
        let stat = fs::read_to_string(thread.join("schedstat"))?;
        nanoseconds += stat.split(' ').next().and_then(|time| time.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// How often a process was woken: its threads gave up the processor to wait.
pub fn wake_ups(pid: Pid) -> anyhow::Result<u64> {
    let mut count = 0;
    for thread in threads(pid)? {
        count += status(&thread, "voluntary_ctxt_switches")?;
    }
    Ok(count)
}

/// Resident memory in KiB: all of it, and the part that is not mapped from the program's file.
pub fn memory(pid: Pid) -> anyhow::Result<(u64, u64)> {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    Ok((status(&process, "VmRSS")?, status(&process, "RssAnon")?))
}

pub fn threads(pid: Pid) -> anyhow::Result<Vec<PathBuf>> {
    let directory = PathBuf::from(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let threads = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    Ok(threads.filter_map(|entry| Some(entry.ok()?.path())).collect())
}

fn status(directory: &Path, key: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(directory.join("status"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("{} does not say {key}", directory.display()))
}

/// CPU time of this program's children that have ended.
pub fn cpu_of_children() -> anyhow::Result<Duration> {
    /// The kernel reports in units of 10 ms on every architecture of Debian.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // cutime and cstime, proc(5).
    let ticks = [13, 14].into_iter().filter_map(|at| fields.get(at)?.parse::<u32>().ok()).sum::<u32>();
    Ok(TICK * ticks)
}

/// The time of the monotonic clock in microseconds.
pub fn monotonic() -> anyhow::Result<u64> {
    let now = Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))?;
    Ok(u64::try_from(now.as_micros())?)
}
