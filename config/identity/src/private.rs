//! Files that only their owner may read: keys, tokens, state. They are replaced by a rename, so a
//! reader sees the old one or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Largest file that is read, in bytes: keys and certificates are far smaller.
const BYTES_MAX: u64 = 1024 * 1024;

/// Writes a file that only its owner reads (mode 0600).
///
/// # Errors
/// It cannot be written; the old one is still there.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = directory.join(format!(".{name}.new"));
    // left over from a crash, perhaps with other permissions
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

/// Reads a small file.
///
/// # Errors
/// It cannot be read, is larger than a mebibyte, or is not text.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    file.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(io::Error::other("it is larger than a mebibyte"));
    }
    Ok(text)
}
