//! Fetched keys on disk, one file a URL, so that a restart while the issuer is away locks nobody
//! out. Only the owner may read and write them; each carries a checksum of its own, and what is
//! damaged counts as never fetched.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sallyport_core::admit::JWKS_BYTES_MAX;
use sha2::{Digest as _, Sha256};

/// Name of the directory in the state directory.
const DIRECTORY: &str = "jwks";
/// First line of a file.
const MAGIC: &str = "sallyport-jwks 1";
/// Largest file: a set, and lines about it.
const FILE_MAX: usize = JWKS_BYTES_MAX + 16 * 1024;

/// Keys of one URL, as they were fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Text of the set.
    pub text: String,
    /// When it was fetched.
    pub fetched: SystemTime,
}

/// The directory.
#[derive(Debug, Clone)]
pub struct Store(PathBuf);

impl Store {
    /// Uses the state directory, making what is missing.
    ///
    /// # Errors
    /// It cannot be made, or somebody else may write to it.
    pub fn open(state: &Path) -> io::Result<Self> {
        let directory = state.join(DIRECTORY);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&directory)?;
        if fs::metadata(&directory)?.mode() & 0o022 != 0 {
            return Err(io::Error::other(format!(
                "others may write to {}: keys from there would be anybody's",
                directory.display()
            )));
        }
        Ok(Self(directory))
    }

    /// What is kept of a URL.
    pub fn load(&self, url: &str) -> Option<Stored> {
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(libc::O_NOFOLLOW);
        let file = file.open(self.path(url)).ok()?;
        let mut text = String::new();
        let most = u64::try_from(FILE_MAX).ok()?;
        file.take(most).read_to_string(&mut text).ok()?;
        let rest = text.strip_prefix(MAGIC)?.strip_prefix('\n')?;
        let (sum, rest) = rest.split_once('\n')?;
        if sum != digest(rest) {
            return None;
        }
        let (named, rest) = rest.split_once('\n')?;
        let (seconds, text) = rest.split_once('\n')?;
        let fetched = UNIX_EPOCH + Duration::from_secs(seconds.parse().ok()?);
        (named == url).then(|| Stored {
            text: text.to_owned(),
            fetched: fetched.min(SystemTime::now()),
        })
    }

    /// Keeps the keys of a URL; whole, or the old ones stay.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, url: &str, stored: &Stored) -> io::Result<()> {
        let path = self.path(url);
        let new = path.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let since = stored.fetched.duration_since(UNIX_EPOCH);
        let seconds = since.unwrap_or_default().as_secs();
        let content = format!("{url}\n{seconds}\n{}", stored.text);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&new)?;
        let sum = digest(&content);
        file.write_all(format!("{MAGIC}\n{sum}\n{content}").as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.0)?.sync_all()
    }

    /// Removes what is kept of other URLs than these.
    pub fn keep_only<'u>(&self, urls: impl Iterator<Item = &'u str>) {
        let kept: BTreeSet<PathBuf> = urls.map(|url| self.path(url)).collect();
        let Ok(entries) = fs::read_dir(&self.0) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if !kept.contains(&path) {
                // What cannot be removed is asked for by nobody.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn path(&self, url: &str) -> PathBuf {
        self.0.join(digest(url))
    }
}

fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text.as_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    const URL: &str = "https://a.test/keys";

    /// A directory that is removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("sallyport-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn stored(text: &str) -> Stored {
        Stored {
            text: text.to_owned(),
            fetched: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        }
    }

    #[test]
    fn what_was_kept_comes_back_and_only_its_owner_can_read_it() {
        let scratch = Scratch::new("jwks");
        let store = Store::open(&scratch.0).unwrap();
        assert_eq!(store.load(URL), None);
        store.save(URL, &stored("{}")).unwrap();
        store.save(URL, &stored("{\"keys\":[]}\n")).unwrap();
        store.save("https://b.test/", &stored("b")).unwrap();
        assert_eq!(store.load(URL), Some(stored("{\"keys\":[]}\n")));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&store.path(URL)), 0o600);
        assert_eq!(mode(&store.0), 0o700);
        store.keep_only([URL].into_iter());
        assert_eq!(store.load("https://b.test/"), None);
        assert!(store.load(URL).is_some());
    }

    #[test]
    fn damage_and_other_peoples_files_count_as_nothing() {
        let scratch = Scratch::new("jwks-damage");
        let store = Store::open(&scratch.0).unwrap();
        store.save(URL, &stored("{\"keys\":[]}")).unwrap();
        let path = store.path(URL);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert_eq!(store.load(URL), None, "byte {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert_eq!(store.load(URL), None, "cut at {at}");
        }
        fs::write(store.path("https://b.test/"), &good).unwrap();
        assert_eq!(store.load("https://b.test/"), None, "of another URL");
        fs::remove_file(&path).unwrap();
        fs::write(scratch.0.join("elsewhere"), &good).unwrap();
        symlink(scratch.0.join("elsewhere"), &path).unwrap();
        assert_eq!(store.load(URL), None, "a link");
        fs::set_permissions(&store.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Store::open(&scratch.0).is_err());
    }
}
