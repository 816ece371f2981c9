//! What was good last, on disk, so that a restart with broken files serves what was served before.
//! It may hold secrets: only its owner reads it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use sallyport_config::retain::LastGood;

use crate::private;

/// Name of the file in the state directory.
const NAME: &str = "last-good";
/// Largest file that is read back, in bytes.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The state directory.
pub(super) struct State {
    directory: PathBuf,
}

impl State {
    /// Uses a directory, making it if it is missing.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory)?;
        let directory = directory.to_owned();
        Ok(Self { directory })
    }

    /// Reads what was saved; empty when nothing was yet.
    pub(super) fn load(&self) -> io::Result<LastGood> {
        let path = self.directory.join(NAME);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(LastGood::default());
            }
            Err(error) => return Err(error),
            Ok(metadata) if metadata.len() > BYTES_MAX => {
                return Err(io::Error::other("the last-good file is too large"));
            }
            Ok(_) => {}
        }
        let text = fs::read_to_string(&path)?;
        LastGood::from_text(&text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Replaces what is saved.
    pub(super) fn save(&self, last_good: &LastGood) -> io::Result<()> {
        private::write(&self.directory.join(NAME), last_good.to_text().as_bytes())
    }
}
