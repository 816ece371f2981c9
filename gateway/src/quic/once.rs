//! What a client may use once, and keeps us from serving the same early data twice: sessions to
//! resume, and tokens that show where a client is.
//!
//! A session is taken out when it is resumed, so that early data that was captured opens nothing
//! (RFC 8446 §8.1); other processes, and this one after a restart, do not know it. Both tables
//! are the process's: a connection may come to any worker. They are locked for one look a
//! handshake, never for a request.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use quinn_proto::{TokenLog, TokenReuseError};
use rustls::server::StoresServerSessions;

/// Entries of one half. A session is about 400 bytes: 13 MiB at most.
const HALF_MAX: usize = 16_384;
/// A half is closed at this age, so that no session outlives the day that clients are told.
const HALF_LIFE: Duration = Duration::from_secs(12 * 60 * 60);
/// How long a token shows where a client is.
pub(super) const TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

static SESSIONS: LazyLock<Arc<Sessions>> = LazyLock::new(Arc::default);
static TOKENS: LazyLock<Arc<Tokens>> = LazyLock::new(Arc::default);

/// The process's sessions that can be resumed with early data.
pub(crate) fn sessions() -> Arc<dyn StoresServerSessions> {
    Arc::clone(&*SESSIONS) as _
}

/// The process's memory of tokens.
pub(super) fn tokens() -> Arc<dyn TokenLog> {
    Arc::clone(&*TOKENS) as _
}

/// A table in two halves: when the younger is full, or old, the older is forgotten.
#[derive(Debug)]
struct Halves<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// When the younger half was begun, when the older was, and when what is forgotten ended.
    begun: SystemTime,
    closed: SystemTime,
    forgotten: SystemTime,
}

impl<K, V> Default for Halves<K, V> {
    fn default() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            begun: SystemTime::UNIX_EPOCH,
            closed: SystemTime::UNIX_EPOCH,
            forgotten: SystemTime::UNIX_EPOCH,
        }
    }
}

impl<K: Eq + Hash, V> Halves<K, V> {
    fn put(&mut self, key: K, value: V, now: SystemTime) {
        let aged = now
            .duration_since(self.begun)
            .is_ok_and(|age| age >= HALF_LIFE);
        if aged || self.young.len() >= HALF_MAX {
            self.old = std::mem::take(&mut self.young);
            self.forgotten = std::mem::replace(&mut self.closed, now);
            self.begun = now;
        }
        self.young.insert(key, value);
    }

    fn take(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    fn has(&self, key: &K) -> bool {
        self.young.contains_key(key) || self.old.contains_key(key)
    }
}

/// A panic elsewhere leaves the table as good as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sessions by the name that their ticket is.
#[derive(Debug, Default)]
struct Sessions(Mutex<Halves<Vec<u8>, Vec<u8>>>);

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        lock(&self.0).put(key, value, SystemTime::now());
        true
    }

    /// TLS 1.2 would look without taking.
    fn get(&self, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        lock(&self.0).take(&key.to_vec())
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Tokens that were used.
#[derive(Debug, Default)]
struct Tokens(Mutex<Halves<u128, ()>>);

impl Tokens {
    /// Whether a token is used for the first time, as far as that is known for certain.
    fn is_first(&self, nonce: u128, issued: SystemTime, now: SystemTime) -> bool {
        let mut used = lock(&self.0);
        // What was issued before the end of a half that is forgotten may have been used in it.
        if issued <= used.forgotten || used.has(&nonce) {
            return false;
        }
        used.put(nonce, (), now);
        true
    }
}

impl TokenLog for Tokens {
    fn check_and_insert(
        &self,
        nonce: u128,
        issued: SystemTime,
        _lifetime: Duration,
    ) -> Result<(), TokenReuseError> {
        let first = self.is_first(nonce, issued, SystemTime::now());
        first.then_some(()).ok_or(TokenReuseError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn a_session_is_taken_once() {
        let sessions = Sessions::default();
        assert!(sessions.put(b"ticket".to_vec(), b"session".to_vec()));
        assert_eq!(sessions.take(b"ticket").as_deref(), Some(&b"session"[..]));
        assert_eq!(sessions.take(b"ticket"), None);
    }

    #[test]
    fn the_oldest_sessions_are_forgotten() {
        let mut halves = Halves::default();
        for key in 0..3 * HALF_MAX {
            halves.put(key, (), at(1_000_000));
        }
        assert!(halves.young.len() + halves.old.len() <= 2 * HALF_MAX);
        assert_eq!(halves.take(&0), None);
        assert_eq!(halves.take(&(3 * HALF_MAX - 1)), Some(()));
        let day = 24 * 60 * 60;
        halves.put(1, (), at(1_000_000 + day));
        halves.put(2, (), at(1_000_000 + 2 * day));
        assert_eq!(halves.young.len() + halves.old.len(), 2);
    }

    #[test]
    fn a_token_is_good_once_even_when_it_is_forgotten() {
        let tokens = Tokens::default();
        let issued = at(1_000_000);
        assert!(tokens.is_first(7, issued, at(1_000_001)));
        assert!(!tokens.is_first(7, issued, at(1_000_002)));
        for nonce in 0..2 * HALF_MAX as u128 {
            tokens.is_first(1_000 + nonce, at(1_000_003), at(1_000_004));
        }
        assert!(!lock(&tokens.0).has(&7), "it is forgotten");
        assert!(!tokens.is_first(7, issued, at(1_000_005)));
        assert!(tokens.is_first(8, at(1_000_010), at(1_000_011)));
    }
}
