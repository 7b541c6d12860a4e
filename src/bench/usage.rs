//! What the system tells from outside: what a process has used, and on what machine.

use std::{collections::BTreeMap, fmt, fs};

use anyhow::{Context as _, Result};

/// What a process has used so far.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// By the kind of the threads that run now.
    pub threads: BTreeMap<&'static str, Spent>,
    /// CPU seconds of the whole process.
    pub cpu: f64,
    /// Bytes of memory that it holds.
    pub memory: u64,
    /// The most that it ever held.
    pub memory_max: u64,
    /// Bytes that it had written to storage.
    pub written: u64,
}

/// What threads of a kind have spent so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// CPU seconds.
    pub cpu: f64,
    /// Bytes that they had written to storage.
    pub written: u64,
}

/// Kinds of threads by the beginning of their names; those that HTTP and mail share are called `shared`.
const GROUPS: [(&str, &str); 8] = [
    ("tokio", "shared"),
    ("log-writer", "log"),
    ("store-writer", "store"),
    ("fulfilment", "states"),
    ("tracking", "tracking"),
    ("forwarding", "forwarding"),
    ("restore", "restore"),
    ("rdk:", "kafka"),
];

/// The bytes that went to storage, in the file `io`.
const WRITTEN: &str = "write_bytes";

impl Usage {
    /// What threads of a kind have spent.
    pub fn spent(&self, kind: &str) -> Spent {
        self.threads.get(kind).copied().unwrap_or_default()
    }

    /// Of several processes together.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        for (kind, spent) in other.threads {
            let ours = self.threads.entry(kind).or_default();
            (ours.cpu, ours.written) = (ours.cpu + spent.cpu, ours.written + spent.written);
        }
        Self {
            threads: self.threads,
            cpu: self.cpu + other.cpu,
            memory: self.memory + other.memory,
            memory_max: self.memory_max + other.memory_max,
            written: self.written + other.written,
        }
    }

    /// Of a process of this machine; an error when it is gone, or when the system has no `/proc`.
    pub fn of(process: u32) -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{process}/{name}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let (status, io) = (read("status")?, read("io").unwrap_or_default()); // of another user, io is not ours to read
        let field = |text: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|value| value.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let mut usage = Self {
            cpu: cpu(process)?,
            memory: field(&status, "VmRSS") << 10,
            memory_max: field(&status, "VmHWM") << 10,
            written: field(&io, WRITTEN),
            threads: BTreeMap::new(),
        };
        for thread in fs::read_dir(format!("/proc/{process}/task")).context("cannot list threads")?.flatten() {
            // a thread may end while it is looked at
            let part = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
            let nanoseconds = part("schedstat").split(' ').next().and_then(|text| text.parse::<f64>().ok());
            let spent = usage.threads.entry(group(&part("comm"))).or_default();
            spent.cpu += nanoseconds.unwrap_or(0.0) / 1e9;
            spent.written += field(&part("io"), WRITTEN);
        }
        Ok(usage)
    }
}

fn group(name: &str) -> &'static str {
    GROUPS.iter().find(|(start, _)| name.starts_with(start)).map_or("other", |(_, group)| group)
}

/// CPU seconds of a process so far, with those of its children that have ended.
fn cpu(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ')).into_iter().flatten();
    let ticks: f64 = fields.skip(11).take(4).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0) // the kernel tells user space of hundredths on every machine
}

/// CPU seconds of a program that works beside the system, such as a broker, so far; with those of its children, since
/// PostgreSQL has a process for each connection.
pub fn cpu_of_family(process: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|id| id.parse().ok());
    [process].into_iter().chain(children).filter_map(|id| cpu(id).ok()).sum()
}

/// Seconds that the cores of this machine have been idle, added up; 0 where the system does not tell.
pub fn idle() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().and_then(|line| line.split_ascii_whitespace().nth(4)?.parse::<f64>().ok());
    ticks.unwrap_or(0.0) / 100.0
}

/// What a figure was measured on.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The processor, as its maker calls it.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Gigabytes of memory.
    pub memory: f64,
    /// Operating system and kernel.
    pub system: String,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, memory, system } = self;
        write!(f, "{processor}, {cores} cores, {memory:.1} GB, {system}")
    }
}

/// This machine.
pub fn machine() -> Machine {
    let (cpus, memory) = (fs::read_to_string("/proc/cpuinfo"), fs::read_to_string("/proc/meminfo"));
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        line.map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kilobytes = field(&memory.unwrap_or_default(), "MemTotal").replace(" kB", "").parse::<f64>().unwrap_or(0.0);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let processor = field(&cpus.unwrap_or_default(), "model name");
    Machine { processor, cores, memory: kilobytes / 1e6, system: format!("{} {}", std::env::consts::OS, kernel.trim()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen_from_outside() {
        let usage = Usage::of(std::process::id()).unwrap();
        let two = usage.clone().with(usage.clone());
        assert_eq!((two.memory, two.spent("other").cpu), (usage.memory * 2, usage.spent("other").cpu * 2.0));
        assert!(usage.memory > 1 << 20 && usage.memory_max >= usage.memory, "{usage:?}");
        assert!(cpu_of_family(std::process::id()) >= 0.0 && Usage::of(u32::MAX).is_err());
        assert_eq!((group("log-writer\n"), group("tokio-rt-worker\n"), group("x")), ("log", "shared", "other"));
    }
}
