//! Every case of the corpus has one verdict, however its bytes are cut.

use std::collections::HashSet;

use crate::corpus::{Case, Expect, cases};
use crate::server::Server;

fn run(case: &Case, segments: &[&[u8]]) -> Expect {
    let mut server = Server::new(case.profile);
    for segment in segments {
        server.push(segment);
    }
    server.verdict()
}

#[test]
fn corpus_is_large_and_its_ids_are_unique() {
    let cases = cases();
    let ids: HashSet<_> = cases.iter().map(|case| &case.id).collect();
    assert_eq!(ids.len(), cases.len());
    let rejected = cases
        .iter()
        .filter(|case| matches!(case.expect, Expect::Reject { .. }))
        .count();
    assert!(rejected >= 250, "{rejected} must be refused");
    assert!(
        cases.len() - rejected >= 75,
        "{} must pass",
        cases.len() - rejected
    );
}

#[test]
fn whole() {
    let wrong: Vec<_> = cases()
        .iter()
        .filter_map(|case| {
            let verdict = run(case, &[&case.bytes]);
            (verdict != case.expect).then(|| (case.id.clone(), format!("{verdict:.200?}")))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where to cut: everywhere in a short input, at the ends and now and then in a long one.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (1..len).filter(move |at| len < 2_000 || *at < 80 || at + 80 > len || at % 3_989 == 0)
}

#[test]
fn cut_in_two_at_every_byte() {
    for case in cases() {
        for at in cuts(case.bytes.len()) {
            let (head, tail) = case.bytes.split_at(at);
            assert_eq!(
                run(&case, &[head, tail]),
                case.expect,
                "{} cut at {at}",
                case.id
            );
        }
    }
}

#[test]
fn byte_by_byte() {
    for case in cases() {
        let segments: Vec<&[u8]> = case.bytes.chunks(1).collect();
        assert_eq!(run(&case, &segments), case.expect, "{}", case.id);
    }
}
