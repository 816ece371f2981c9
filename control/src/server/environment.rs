//! Names in the environment that look like Istio's settings and are none of ours: a setting that
//! does nothing should say so.

use std::collections::BTreeSet;

/// Settings that are read.
const KNOWN: [&str; 5] = [
    "PILOT_DEBOUNCE_AFTER",
    "PILOT_DEBOUNCE_MAX",
    "PILOT_MAX_REQUESTS_PER_SECOND",
    "PILOT_PUSH_THROTTLE",
    "PILOT_WORKLOAD_ENTRY_GRACE_PERIOD",
];

/// A sentence for each name that is not read, with the known one that is most like it.
pub(super) fn unknown(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let names = names.into_iter().filter(|name| name.starts_with("PILOT_"));
    let unknown: BTreeSet<String> = names.filter(|name| !KNOWN.contains(&&**name)).collect();
    let sentence = |name: String| match nearest(&name) {
        Some(near) => format!("{name} is not a setting here; is {near} meant?"),
        None => format!("{name} is not a setting here"),
    };
    unknown.into_iter().map(sentence).collect()
}

/// The known name with the most words in common, if that is more than half of them.
fn nearest(name: &str) -> Option<&'static str> {
    let words: BTreeSet<&str> = name.split('_').skip(1).collect();
    let common = |known: &str| {
        known
            .split('_')
            .skip(1)
            .filter(|w| words.contains(w))
            .count()
    };
    let best = KNOWN.into_iter().max_by_key(|known| common(known))?;
    (2 * common(best) > words.len()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_does_nothing_is_said() {
        let names = [
            "PILOT_DEBOUNCE_AFTER_TIME",
            "PILOT_PUSH_THROTTLE",
            "HOME",
            "PILOT_X",
        ];
        assert_eq!(
            unknown(names.map(str::to_owned)),
            [
                "PILOT_DEBOUNCE_AFTER_TIME is not a setting here; is PILOT_DEBOUNCE_AFTER meant?",
                "PILOT_X is not a setting here",
            ]
        );
    }
}
