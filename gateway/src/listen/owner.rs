//! Who holds a port: `/proc/net/tcp` knows the socket, `/proc/*/fd` the process that has it.
//!
//! Best effort, asked only when binding has failed: other users' processes hide their descriptors.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// State "listening" in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The process that listens on the address's port, e.g. `nginx (pid 812)`.
pub(crate) fn of(address: SocketAddr) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening(&table, address.port()))
        .collect();
    process(&inodes)
}

/// Inodes of the sockets that listen on this port.
fn listening(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    let lines = table.lines().skip(1);
    lines
        .filter_map(|line| {
            let mut columns = line.split_ascii_whitespace();
            let local = columns.nth(1)?;
            let state = columns.nth(1)?;
            let inode = columns.nth(5)?;
            (local.ends_with(&suffix) && state == LISTEN).then(|| inode.to_owned())
        })
        .collect()
}

fn process(inodes: &[String]) -> Option<String> {
    if inodes.is_empty() {
        return None;
    }
    let wanted: Vec<String> = inodes.iter().map(|i| format!("socket:[{i}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|n| n.parse::<u32>().is_ok())
        })
        .find(|entry| holds(&entry.path(), &wanted))
        .map(|entry| {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            format!("{} (pid {})", name.trim(), entry.file_name().display())
        })
}

fn holds(process: &Path, wanted: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| wanted.iter().any(|w| target.as_os_str() == w.as_str()))
}
