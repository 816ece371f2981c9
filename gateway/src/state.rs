//! The last good configuration on disk, so that a restart with broken files serves what was served
//! before.
//!
//! One file: a line with version, checksum and length, then the texts as JSON. It may hold secrets,
//! so only its owner reads it; it is replaced by a rename, so it is whole or it is the old one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Name of the file in the state directory.
const NAME: &str = "last-good";
/// First word of the file and its version: one that is not understood is not read.
const MAGIC: &str = "sallyport-last-good 1";
/// Largest file that is read back.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// One text with the name it had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Text {
    /// File name.
    pub(crate) name: String,
    /// Content.
    pub(crate) text: String,
}

/// The state directory.
#[derive(Debug)]
pub(crate) struct State {
    directory: PathBuf,
    saved: Option<String>,
}

impl State {
    /// Uses a directory, making it if it is missing.
    ///
    /// # Errors
    /// It cannot be made or is not a directory.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            saved: None,
        })
    }

    /// Reads the texts; `None` when there are none yet.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was written.
    pub(crate) fn load(&mut self) -> io::Result<Option<Vec<Text>>> {
        let path = self.directory.join(NAME);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(metadata) if metadata.len() > BYTES_MAX => return Err(damaged("too large")),
            Ok(_) => {}
        }
        let content = fs::read_to_string(&path)?;
        let (head, body) = content.split_once('\n').ok_or_else(|| damaged("no head"))?;
        if head != self::head(body) {
            let known = head.starts_with(MAGIC);
            let reason = if known {
                "wrong checksum"
            } else {
                "unknown version"
            };
            return Err(damaged(reason));
        }
        let texts = serde_json::from_str(body).map_err(|_| damaged("not JSON"))?;
        self.saved = Some(head.to_owned());
        Ok(Some(texts))
    }

    /// Replaces the texts; does nothing when they are the same.
    ///
    /// # Errors
    /// The file cannot be written; the old one is still there.
    pub(crate) fn save(&mut self, texts: &[Text]) -> io::Result<()> {
        let body = serde_json::to_string(texts).map_err(io::Error::other)?;
        let head = head(&body);
        if self.saved.as_ref() == Some(&head) {
            return Ok(());
        }
        let (new, path) = (
            self.directory.join(".last-good.new"),
            self.directory.join(NAME),
        );
        // Left over from a crash, perhaps with other permissions.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(format!("{head}\n{body}").as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.directory)?.sync_all()?;
        self.saved = Some(head);
        Ok(())
    }
}

fn head(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{MAGIC} {digest} {}", body.len())
}

fn damaged(reason: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the last good configuration is damaged: {reason}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::files::tests::Scratch;
    use std::os::unix::fs::PermissionsExt as _;

    fn texts(text: &str) -> Vec<Text> {
        vec![Text {
            name: "a.yaml".to_owned(),
            text: text.to_owned(),
        }]
    }

    #[test]
    fn what_was_saved_is_loaded_and_only_by_its_owner() {
        let scratch = Scratch::new("state");
        let directory = scratch.0.join("new/state");
        let mut state = State::open(&directory).unwrap();
        assert_eq!(state.load().unwrap(), None);
        state.save(&texts("one\n")).unwrap();
        state.save(&texts("two\n")).unwrap();
        assert_eq!(
            State::open(&directory).unwrap().load().unwrap(),
            Some(texts("two\n"))
        );
        let mode = fs::metadata(directory.join(NAME))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let scratch = Scratch::new("damage");
        let mut state = State::open(&scratch.0).unwrap();
        state.save(&texts("one\n")).unwrap();
        let path = scratch.0.join(NAME);
        let good = fs::read(&path).unwrap();
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(state.load().is_err(), "byte {index}");
            fs::write(&path, &good[..index]).unwrap();
            assert!(state.load().is_err(), "cut at {index}");
        }
    }
}
