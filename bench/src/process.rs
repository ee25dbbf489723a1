//! What the kernel knows of a process: CPU time and memory, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// `/proc/PID/stat` counts in these, on every Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A process that is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn new(id: u32) -> Self {
        Self(id)
    }

    /// This program.
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    pub(crate) fn id(self) -> u32 {
        self.0
    }

    /// CPU time since its start, of all its threads, in the kernel and outside.
    pub(crate) fn cpu_time(self) -> anyhow::Result<Duration> {
        let path = format!("/proc/{}/stat", self.0);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let Stat { own, .. } = Stat::parse(&text).with_context(|| format!("strange {path}"))?;
        Ok(own)
    }

    /// CPU time of the process and its children, those that ended included.
    pub(crate) fn family_cpu_time(self) -> anyhow::Result<Duration> {
        let mut total = Duration::ZERO;
        for entry in fs::read_dir("/proc")?.flatten() {
            // Processes come and go while they are being listed.
            let Ok(text) = fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            let is_self = entry.file_name().to_str() == Some(&self.0.to_string());
            if let Some(stat) = Stat::parse(&text) {
                if is_self {
                    total += stat.own + stat.ended_children;
                } else if stat.parent == self.0 {
                    total += stat.own;
                }
            }
        }
        Ok(total)
    }

    /// The most memory it ever held at a time, in octets.
    pub(crate) fn peak_memory(self) -> anyhow::Result<u64> {
        self.kibibytes("status", "VmHWM:")
    }

    /// The memory that the process and its children hold now. What several of them share is
    /// counted once.
    pub(crate) fn family_memory(self) -> anyhow::Result<Memory> {
        let mut anonymous = self.kibibytes("smaps_rollup", "Pss_Anon:")?;
        for entry in fs::read_dir("/proc")?.flatten() {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let id = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let (Some(stat), Some(id)) = (Stat::parse(&stat), id)
                && stat.parent == self.0
            {
                // A child may have ended since; it then has no memory.
                anonymous += Self(id).kibibytes("smaps_rollup", "Pss_Anon:").unwrap_or(0);
            }
        }
        // Children of these servers have the program and its libraries in common with it.
        let files =
            self.kibibytes("status", "RssFile:")? + self.kibibytes("status", "RssShmem:")?;
        Ok(Memory {
            anonymous,
            all: anonymous + files,
        })
    }

    /// A number of kibibytes from a file of `/proc/PID`, in octets.
    fn kibibytes(self, file: &str, label: &str) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/{file}", self.0);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(label));
        let kibibytes = line
            .and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
            .with_context(|| format!("no {label} in {path}"))?;
        Ok(kibibytes * 1024)
    }
}

/// What a process holds, in octets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Its own data.
    pub(crate) anonymous: u64,
    /// That, and what is resident of its program and of other files.
    pub(crate) all: u64,
}

/// CPU time of the calling thread, up to the last tick of the clock: some milliseconds too little.
pub(crate) fn thread_cpu_time() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")
        .context("cannot read the CPU time of a thread")?;
    let nanoseconds = text
        .split_whitespace()
        .next()
        .and_then(|field| field.parse().ok());
    Ok(Duration::from_nanos(
        nanoseconds.context("strange schedstat")?,
    ))
}

/// CPU time that all cores together have spent on something, since the machine was started; what a
/// hypervisor took away is part of it.
pub(crate) fn machine_cpu_time() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("cpu "));
    let fields: Vec<u32> = line
        .into_iter()
        .flat_map(str::split_whitespace)
        .map_while(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guests are part of user.
    let busy = [0, 1, 2, 5, 6, 7].map(|at| fields.get(at).copied());
    let ticks = busy.into_iter().sum::<Option<u32>>();
    Ok(TICK * ticks.context("strange /proc/stat")?)
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    own: Duration,
    ended_children: Duration,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name before may hold anything, parentheses too.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| -> Option<Duration> {
            let count: u32 = fields.get(at)?.parse().ok()?;
            Some(TICK * count)
        };
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            ended_children: ticks(13)? + ticks(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_past_a_strange_name() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 20 10 20 0 1 0 99 0 0";
        let stat = Stat::parse(line).unwrap();
        let expected = Stat {
            parent: 7,
            own: Duration::from_secs(2),
            ended_children: Duration::from_millis(300),
        };
        assert_eq!(stat, expected);
        assert_eq!(Stat::parse("42 (a"), None);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        assert!(Process::own().peak_memory().unwrap() > 100_000);
        let memory = Process::own().family_memory().unwrap();
        assert!(memory.anonymous > 100_000 && memory.all > memory.anonymous);
        let earlier = Process::own().cpu_time().unwrap();
        assert!(Process::own().family_cpu_time().unwrap() >= earlier);
        assert!(thread_cpu_time().is_ok());
        assert!(machine_cpu_time().unwrap() >= earlier);
    }
}
