//! Tables ≡ model: small hostile worlds made of bytes, and the two answers compared.
//!
//! One generator for the property test and for the fuzzer: any bytes are a world and its calls.

mod calls;
mod dice;
mod verdict;
mod worlds;

pub use verdict::verdict;

use crate::tables::Tables;
use dice::Bytes;
use sallyport_config::model;
use std::sync::Arc;

/// Calls made into one world.
const CALLS_MAX: usize = 8;

/// Makes a world and calls out of bytes, and compares what the tables and the model say. Says how
/// many calls were compared.
///
/// # Panics
/// When they disagree; the message has the call, both verdicts and the snapshot.
#[doc(hidden)]
pub fn fuzz_decide_vs_model(data: &[u8]) -> usize {
    let mut bytes = Bytes::new(data);
    let snapshot = Arc::new(worlds::snapshot(&mut bytes));
    let tables = Tables::build(Arc::clone(&snapshot));
    let mut compared = 0;
    while compared < CALLS_MAX && !bytes.is_empty() {
        let call = calls::call(&mut bytes);
        let want = model::decide(&snapshot, &call);
        let have = verdict(&tables, &call);
        assert!(
            have == want,
            "tables and model disagree on {call:#?}\nmodel: {want:#?}\ntables: {have:#?}\n{snapshot:#?}"
        );
        compared += 1;
    }
    compared
}
