//! Files and directories of configuration, read in a stable order.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::Trouble;

/// Deepest directory below a given path.
const MAX_DEPTH: usize = 32;
/// Most files of a run.
const MAX_FILES: usize = 100_000;
/// Largest input of a run, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// Reads everything, as name and text. A directory gives its files with names in `.yaml`, `.yml`
/// and `.json`, sorted, without hidden ones; a file is read whatever its name is.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Trouble> {
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            files.push(None);
        } else {
            collect(path, 0, &mut files)?;
        }
    }
    let mut left = MAX_BYTES;
    files
        .into_iter()
        .map(|file| one(file.as_deref(), &mut left))
        .collect()
}

fn one(path: Option<&Path>, left: &mut u64) -> Result<(String, String), Trouble> {
    let name = path.map_or_else(|| "<stdin>".to_owned(), |p| p.display().to_string());
    let mut text = String::new();
    let read = match path {
        None => std::io::stdin()
            .lock()
            .take(*left)
            .read_to_string(&mut text),
        Some(path) => {
            fs::File::open(path).and_then(|file| file.take(*left).read_to_string(&mut text))
        }
    };
    let size = read.map_err(|error| Trouble::new(format!("cannot read {name}: {error}")))?;
    *left = left.saturating_sub(u64::try_from(size).unwrap_or(u64::MAX));
    if *left == 0 {
        return Err(Trouble::new(format!(
            "more than {MAX_BYTES} bytes of configuration"
        )));
    }
    Ok((name, text))
}

fn collect(path: &Path, depth: usize, files: &mut Vec<Option<PathBuf>>) -> Result<(), Trouble> {
    let trouble =
        |error: std::io::Error| Trouble::new(format!("cannot read {}: {error}", path.display()));
    if files.len() >= MAX_FILES || depth > MAX_DEPTH {
        return Err(Trouble::new(format!(
            "{}: more than {MAX_FILES} files, or deeper than {MAX_DEPTH} directories",
            path.display()
        )));
    }
    if !fs::metadata(path).map_err(trouble)?.is_dir() {
        files.push(Some(path.to_owned()));
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(trouble)? {
        entries.push(entry.map_err(trouble)?.path());
    }
    entries.sort();
    for entry in entries {
        let hidden = entry
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with('.'));
        let known = entry
            .extension()
            .is_some_and(|e| ["yaml", "yml", "json"].iter().any(|k| e == *k));
        if !hidden && (known || entry.is_dir()) {
            collect(&entry, depth + 1, files)?;
        }
    }
    Ok(())
}
