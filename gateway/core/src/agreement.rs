//! Tables ≡ model: small hostile worlds made of bytes, and the two answers compared.
//!
//! One generator for the property test and for the fuzzer: any bytes are a world and its calls.

mod calls;
mod dice;
mod meter;
mod verdict;
mod worlds;

pub use verdict::verdict;

use crate::tables::Tables;
use dice::Bytes;
use sallyport_config::ir::Snapshot;
use sallyport_config::model::{self, Verdict};
use std::sync::Arc;
use verdict::judge;

/// Calls made into one world.
const CALLS_MAX: usize = 16;

/// Makes a world and calls out of bytes, and compares what the tables and the model say.
///
/// # Panics
/// When they disagree; the message has the snapshot, the call and both verdicts.
#[doc(hidden)]
pub fn fuzz_decide_vs_model(data: &[u8]) {
    agree(data, &mut |_| ());
}

/// As [`fuzz_decide_vs_model`], in a world of policies: the index and the naive evaluator.
///
/// # Panics
/// When they disagree.
#[doc(hidden)]
pub fn fuzz_authz_vs_naive(data: &[u8]) {
    agree_on_policies(data, &mut |_| ());
}

/// As [`fuzz_decide_vs_model`]; shows every verdict that both agreed on.
///
/// # Panics
/// When they disagree.
#[doc(hidden)]
pub fn agree(data: &[u8], agreed: &mut dyn FnMut(&Verdict)) {
    let mut bytes = Bytes::new(data);
    let snapshot = worlds::snapshot(&mut bytes);
    compare(snapshot, bytes, agreed);
}

/// As [`agree`], in a world of policies with one route behind them.
///
/// # Panics
/// When they disagree.
#[doc(hidden)]
pub fn agree_on_policies(data: &[u8], agreed: &mut dyn FnMut(&Verdict)) {
    let mut bytes = Bytes::new(data);
    let snapshot = worlds::guarded(&mut bytes);
    compare(snapshot, bytes, agreed);
}

fn compare(snapshot: Snapshot, mut bytes: Bytes<'_>, agreed: &mut dyn FnMut(&Verdict)) {
    let snapshot = Arc::new(snapshot);
    let tables = Tables::build(Arc::clone(&snapshot));
    for _ in 0..CALLS_MAX {
        if bytes.is_empty() {
            return;
        }
        let call = calls::call(&mut bytes);
        let want = model::decide(&snapshot, &call);
        let mut noted = None;
        let have = judge(&tables, &call, &mut noted);
        assert!(
            have == want,
            "{}\ntables and model disagree on {call:#?}\nmodel: {want:#?}\ntables: {have:#?}",
            sallyport_config::print::snapshot(&snapshot)
        );
        if let Some(noted) = noted {
            let of_bytes = matches!(have, Verdict::Tcp(_) | Verdict::Closed);
            let want = match of_bytes {
                true => model::observe_connection(&snapshot, &call),
                false => model::observe(&snapshot, &call),
            };
            assert!(
                noted == want,
                "{}\ntables and model disagree on {call:#?}\nmodel: {want:#?}\ntables: {noted:#?}",
                sallyport_config::print::snapshot(&snapshot)
            );
        }
        agreed(&want);
    }
}
