//! The last good configuration on disk, so that a restart with broken files serves what was served
//! before.
//!
//! It may hold secrets, so only its owner reads the file; it is replaced by a rename, so it is
//! whole or it is the old one. The text carries a checksum of its own.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sallyport_config::retain::LastGood;

/// Name of the file in the state directory.
const NAME: &str = "last-good";
/// Largest file that is read back, in bytes.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The state directory.
#[derive(Debug)]
pub(crate) struct State {
    directory: PathBuf,
    saved: LastGood,
}

impl State {
    /// Uses a directory, making it if it is missing.
    ///
    /// # Errors
    /// It cannot be made or is not a directory.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            saved: LastGood::default(),
        })
    }

    /// Reads what was saved; empty when nothing was yet.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was written.
    pub(crate) fn load(&mut self) -> io::Result<LastGood> {
        let path = self.directory.join(NAME);
        let text = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(LastGood::default());
            }
            Err(error) => return Err(error),
            Ok(metadata) if metadata.len() > BYTES_MAX => {
                return Err(io::Error::other("the last-good file is too large"));
            }
            Ok(_) => fs::read_to_string(&path)?,
        };
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        self.saved = LastGood::from_text(&text).map_err(invalid)?;
        Ok(self.saved.clone())
    }

    /// Replaces what is saved; does nothing when it is the same.
    ///
    /// # Errors
    /// The file cannot be written; the old one is still there.
    pub(crate) fn save(&mut self, last_good: &LastGood) -> io::Result<()> {
        if self.saved == *last_good {
            return Ok(());
        }
        let new = self.directory.join(".last-good.new");
        // Left over from a crash, perhaps with other permissions.
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
        file.write_all(last_good.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.directory.join(NAME))?;
        File::open(&self.directory)?.sync_all()?;
        self.saved = last_good.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::files::tests::Scratch;
    use std::os::unix::fs::PermissionsExt as _;

    fn last_good(port: u16) -> LastGood {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec:\n  ports: [{{port: {port}}}]\n"
        );
        let mut last_good = LastGood::default();
        let parsed = sallyport_config::parse(&[("a.yaml".to_owned(), text)]);
        last_good.merge(parsed, &[]);
        assert_eq!(last_good.len(), 1);
        last_good
    }

    #[test]
    fn what_was_saved_is_loaded_and_only_by_its_owner() {
        let scratch = Scratch::new("state");
        let directory = scratch.0.join("new/state");
        let mut state = State::open(&directory).unwrap();
        assert!(state.load().unwrap().is_empty());
        state.save(&last_good(80)).unwrap();
        state.save(&last_good(81)).unwrap();
        let loaded = State::open(&directory).unwrap().load().unwrap();
        assert_eq!(loaded.to_text(), last_good(81).to_text());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory.join(NAME)), 0o600);
        assert_eq!(mode(&directory), 0o700);
    }

    #[test]
    fn damage_is_noticed() {
        let scratch = Scratch::new("damage");
        let mut state = State::open(&scratch.0).unwrap();
        state.save(&last_good(80)).unwrap();
        let path = scratch.0.join(NAME);
        let good = fs::read(&path).unwrap();
        fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert_eq!(state.load().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
