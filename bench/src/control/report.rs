//! The figures of a run as a table: printed, and written into `bench/CONTROL.md`.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Between these lines a run writes its table.
const BEGIN: &str = "<!-- a run begins -->";
const END: &str = "<!-- a run ends -->";

/// What was measured, so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    title: String,
    rows: Vec<[String; 3]>,
}

impl Report {
    /// A report about a mesh like this.
    pub(super) fn new(title: String) -> Self {
        println!("{title}");
        Self {
            title,
            rows: Vec::new(),
        }
    }

    /// A figure, and what it should be; shown at once.
    pub(super) fn row(&mut self, what: &str, value: String, target: &str) {
        println!("  {what}: {value}");
        self.rows.push([what.to_owned(), value, target.to_owned()]);
    }

    /// All of it as a table.
    fn table(&self) -> String {
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel = kernel.trim();
        let mut text = format!("{}; {cpus} CPUs, Linux {kernel}.\n\n", self.title);
        text.push_str("| | measured | target |\n|---|---|---|\n");
        for [what, value, target] in &self.rows {
            // writing to a String cannot fail
            let _ = writeln!(text, "| {what} | {value} | {target} |");
        }
        text
    }

    /// Puts the table where the last one was in a file.
    pub(super) fn write(&self, file: &Path) -> Result<(), Box<dyn Error>> {
        let text = fs::read_to_string(file)?;
        let place = text.split_once(BEGIN).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(END)?;
            Some((before, after))
        });
        let (before, after) = place.ok_or("the file has no place for a run")?;
        let table = self.table();
        fs::write(file, format!("{before}{BEGIN}\n{table}{END}{after}"))?;
        println!("written to {}", file.display());
        Ok(())
    }
}
