//! The form on disk: a line with a checksum, then JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Good, LastGood};
use crate::resource::{Key, Kind};

/// First word of the file; a new form gets a new word.
const MAGIC: &str = "sallyport-last-good-1";

/// Why a stored state cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// Not a file of this form, or of another version.
    NotOurs,
    /// The checksum does not match: cut short or altered.
    Corrupt,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOurs => "not a last-good file of this version",
            Self::Corrupt => "the last-good file is cut short or altered",
        })
    }
}

impl std::error::Error for StoreError {}

/// One document with the objects that come from it.
#[derive(Serialize, Deserialize)]
struct Stored {
    file: String,
    line: u32,
    text: String,
    objects: Vec<StoredObject>,
}

#[derive(Serialize, Deserialize)]
struct StoredObject {
    kind: String,
    namespace: String,
    name: String,
    ordinal: u32,
}

impl LastGood {
    /// The state as text, for a file. It holds the text of Secrets: keep the file private.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut documents: BTreeMap<(&Arc<str>, u32, usize), Stored> = BTreeMap::new();
        for (key, good) in &self.objects {
            let place = (&good.file, good.line, good.start);
            let stored = documents.entry(place).or_insert_with(|| Stored {
                file: good.file.to_string(),
                line: good.line,
                text: good.document().to_owned(),
                objects: Vec::new(),
            });
            stored.objects.push(StoredObject {
                kind: key.kind.as_str().to_owned(),
                namespace: key.namespace.to_string(),
                name: key.name.to_string(),
                ordinal: good.ordinal,
            });
        }
        let documents: Vec<Stored> = documents.into_values().collect();
        let body = serde_json::to_string(&documents).unwrap_or_default();
        format!("{MAGIC} {:016x}\n{body}\n", checksum(body.as_bytes()))
    }

    /// Reads the state back. Objects of kinds that this version does not know are dropped.
    ///
    /// # Errors
    /// When the text is not ours, or its checksum does not match.
    pub fn from_text(text: &str) -> Result<Self, StoreError> {
        let (head, body) = text.split_once('\n').ok_or(StoreError::NotOurs)?;
        let sum = head
            .strip_prefix(MAGIC)
            .map(str::trim)
            .ok_or(StoreError::NotOurs)?;
        let sum = u64::from_str_radix(sum, 16).map_err(|_| StoreError::NotOurs)?;
        let body = body.trim_end_matches('\n');
        if checksum(body.as_bytes()) != sum {
            return Err(StoreError::Corrupt);
        }
        let documents: Vec<Stored> = serde_json::from_str(body).map_err(|_| StoreError::Corrupt)?;
        let mut out = Self::default();
        for stored in documents {
            out.take(stored);
        }
        Ok(out)
    }

    fn take(&mut self, stored: Stored) {
        let (file, text): (Arc<str>, Arc<str>) = (stored.file.into(), stored.text.into());
        for object in stored.objects {
            let Some(kind) = Kind::ALL
                .iter()
                .copied()
                .find(|k| k.as_str() == object.kind)
            else {
                continue;
            };
            let key = Key {
                kind,
                namespace: object.namespace.into(),
                name: object.name.into(),
            };
            let good = Good {
                file: Arc::clone(&file),
                text: Arc::clone(&text),
                start: 0,
                end: text.len(),
                line: stored.line,
                ordinal: object.ordinal,
            };
            self.objects.insert(key, good);
        }
    }
}

/// FNV-1a. It finds torn writes and bad disks; whoever can write the file may write what they like.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, b| {
        (sum ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    })
}
