//! "Did you mean": the nearest of some names, by edit distance.

/// Longest name that is compared, in bytes; bounds the quadratic distance.
const MAX_NAME: usize = 64;

/// The nearest candidate, if it is near enough to be a slip of the pen: a third of its length.
/// Letter case and separators count little, so `per_try_time_out` finds `perTryTimeout`.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.len() > MAX_NAME {
        return None;
    }
    let folded = fold(name);
    candidates
        .filter(|c| c.len() <= MAX_NAME)
        .map(|c| (distance(&folded, &fold(c)), c))
        .filter(|(d, c)| *d <= (c.len().max(name.len()) / 3).max(1) && *d < c.len())
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

fn fold(name: &str) -> Vec<u8> {
    name.bytes()
        .filter(|b| !matches!(b, b'_' | b'-'))
        .map(|b| b.to_ascii_lowercase())
        .collect()
}

/// Edit distance with transpositions (optimal string alignment).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let at = |v: &[usize], k: usize| v.get(k).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&last, j) + usize::from(x != y))
                .min(at(&last, j + 1) + 1)
                .min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(&y) && b.get(j - 1) == Some(&x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_of_the_pen_are_found_and_strangers_are_not() {
        let names = [
            "match",
            "route",
            "redirect",
            "perTryTimeout",
            "retryOn",
            "prefix",
            "regex",
        ];
        let cases = [
            ("matches", Some("match")),
            ("ruote", Some("route")),
            ("per_try_time_out", Some("perTryTimeout")),
            ("retryon", Some("retryOn")),
            ("prefx", Some("prefix")),
            ("securityContext", None),
            ("x", None),
        ];
        for (name, want) in cases {
            assert_eq!(nearest(name, names.into_iter()), want, "{name}");
        }
    }
}
