//! Memory: how much there may be, how much there is, and what to do about it.
//!
//! As with Envoy's overload manager, load is shed in steps, long before the kernel would end the
//! process: first connections are not kept, then requests are refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Load, Pressure};
use crate::log;

/// How often is looked: Envoy's `refresh_interval`.
const EVERY: Duration = Duration::from_millis(250);
/// Shares of the budget, in thousandths: where connections stop to be kept, and where requests are
/// refused (Envoy's example of an overload manager has 0.92 and 0.95).
const TIGHT: u64 = 920;
const FULL: u64 = 950;
/// A limit above this is none: cgroup v1 writes a huge number for it.
const LIMIT_MAX: u64 = 1 << 50;

/// How much memory there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Bytes.
    pub(crate) limit: u64,
    used: Used,
}

/// Where it says how much there is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Used {
    /// What the process has in memory.
    Process,
    /// A file of its cgroup, and one with the part that is only cache.
    Cgroup(PathBuf, PathBuf),
}

impl Budget {
    /// What the user said, else the limit of the cgroup that the process is in; `None` without
    /// either, and for a limit of 0.
    pub(crate) fn find(said: Option<u64>) -> Option<Self> {
        match said {
            Some(0) => None,
            Some(limit) => Some(Self {
                limit,
                used: Used::Process,
            }),
            None => Self::of_cgroup(Path::new("/sys/fs/cgroup"), &own_cgroups()),
        }
    }

    /// `own` are the lines of `/proc/self/cgroup`.
    fn of_cgroup(root: &Path, own: &str) -> Option<Self> {
        let groups = own.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let path = path.trim_start_matches('/');
            match controllers {
                "" => Some((root.join(path), "memory.max", "memory.current")),
                _ if controllers.split(',').any(|c| c == "memory") => Some((
                    root.join("memory").join(path),
                    "memory.limit_in_bytes",
                    "memory.usage_in_bytes",
                )),
                _ => None,
            }
        });
        let mut budgets = groups.filter_map(|(directory, limit, used)| {
            let limit = number(&directory.join(limit)).filter(|limit| *limit < LIMIT_MAX)?;
            let used = Used::Cgroup(directory.join(used), directory.join("memory.stat"));
            Some(Self { limit, used })
        });
        budgets.next()
    }

    /// Bytes that are used; `None` if the system does not say.
    fn used(&self) -> Option<u64> {
        match &self.used {
            Used::Process => resident(),
            Used::Cgroup(all, parts) => {
                let cache = fs::read_to_string(parts).ok();
                let cache = cache.and_then(|text| part(&text, "inactive_file"));
                Some(number(all)?.saturating_sub(cache.unwrap_or(0)))
            }
        }
    }

    fn pressure(&self, used: u64) -> Pressure {
        let share = |thousandths: u64| self.limit / 1_000 * thousandths;
        if used >= share(FULL) {
            Pressure::Full
        } else if used >= share(TIGHT) {
            Pressure::Tight
        } else {
            Pressure::None
        }
    }
}

/// Looks again and again, and tells the workers. Without a budget there is nothing to look at.
pub(crate) async fn watch(load: Arc<Load>) {
    let Some(budget) = load.memory.clone() else {
        return;
    };
    let mut before = Pressure::None;
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(used) = budget.used() else { continue };
        let now = budget.pressure(used);
        load.set_pressure(now, used);
        if now != before {
            let limit = budget.limit;
            let text = match now {
                Pressure::None => "load is not shed any more",
                Pressure::Tight => "connections end after their current request",
                Pressure::Full => "new connections and requests are refused",
            };
            log::warn(
                "overload",
                format_args!("{used} of {limit} bytes of memory are used: {text}"),
            );
            before = now;
        }
    }
}

fn own_cgroups() -> String {
    fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

/// Bytes of the process that are in memory.
fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

/// The number that a file consists of.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `name 123`
fn part(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(n, _)| *n == name)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::files::tests::Scratch;

    #[test]
    fn load_is_shed_in_steps() {
        let budget = Budget::find(Some(1_000_000)).unwrap();
        for (used, pressure) in [
            (0, Pressure::None),
            (919_999, Pressure::None),
            (920_000, Pressure::Tight),
            (949_999, Pressure::Tight),
            (950_000, Pressure::Full),
            (u64::MAX, Pressure::Full),
        ] {
            assert_eq!(budget.pressure(used), pressure, "{used}");
        }
        assert!(budget.used().unwrap() > 100_000);
        assert_eq!(Budget::find(Some(0)), None);
    }

    #[test]
    fn the_limit_of_the_container_counts() {
        let scratch = Scratch::new("cgroup");
        let write = |path: &str, text: &str| {
            let path = scratch.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let find = |own: &str| Budget::of_cgroup(&scratch.0, own);
        write("pod/memory.max", "268435456\n");
        write("pod/memory.current", "1000\n");
        write("pod/memory.stat", "anon 1\ninactive_file 300\n");
        write("free/memory.max", "max\n");
        write("memory/old/memory.limit_in_bytes", "1048576\n");
        write("memory/old/memory.usage_in_bytes", "700\n");
        write("memory/any/memory.limit_in_bytes", "9223372036854771712\n");
        let pod = find("0::/pod\n").unwrap();
        assert_eq!((pod.limit, pod.used()), (268_435_456, Some(700)));
        let old = find("9:cpu:/x\n4:memory:/old\n0::/\n").unwrap();
        assert_eq!((old.limit, old.used()), (1_048_576, Some(700)));
        for own in ["0::/free\n", "4:memory:/any\n", "0::/nowhere\n", "", "x"] {
            assert_eq!(find(own), None, "{own}");
        }
    }
}
