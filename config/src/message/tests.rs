//! Every rule of decoding.

#![expect(unreachable_pub, reason = "the macros write pub")]

use super::{Cx, FromNode, Map, Unknown};
use crate::source::FileId;
use crate::yaml::read::read;

message! {
    /// One of everything.
    pub struct Sample [Honoured] {
        match_: String,
        http2_max: u32,
        mesh_id as "meshID" also "mesh": String,
        flag: Option<bool>,
        ratio: f64,
        wide: Option<u64>,
        color: Color,
        inner: Option<Inner>,
        list: Vec<Inner>,
        labels: Map<String>,
        loose: Option<Loose>,
    }

    /// A oneof.
    pub struct Inner [Later("someday")] {
        left: Option<String>,
        right_side: Option<u32>,
    }
    oneof [left, right_side]

    /// Lenient in a strict message.
    pub struct Loose [Honoured] unknown Warn {
        inner: Option<Inner>,
    }
}

enumeration! {
    /// An enum.
    pub enum Color { Red = "RED", DarkBlue = "DARK_BLUE" }
}

/// Decodes YAML and returns the findings beside the value.
fn decode(text: &str, unknown: Unknown) -> (Sample, Vec<String>) {
    let document = read(FileId(0), text).list.remove(0);
    let mut cx = Cx::new("", unknown);
    let sample = Sample::from_node(&document.node, &mut cx).unwrap_or_default();
    let found = cx
        .finish()
        .into_iter()
        .map(|d| format!("{} {}: {}", d.code, d.path, d.message));
    (sample, found.collect())
}

#[test]
fn names_are_accepted_in_every_spelling_and_no_other() {
    for text in [
        "match: a",
        "{http2Max: 1}",
        "http2_max: 1",
        "meshID: a",
        "mesh_id: a",
        "mesh: a",
    ] {
        let (sample, found) = decode(text, Unknown::Refuse);
        assert!(
            found.is_empty() && sample != Sample::default(),
            "{text}: {found:?}"
        );
    }
    for text in [
        "match_: a",
        "Http2Max: 1",
        "http2max: 1",
        "meshId: a",
        "Match: a",
    ] {
        let (_, found) = decode(text, Unknown::Refuse);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
}

#[test]
fn unknown_fields_are_refused_reported_or_passed_over() {
    let text = "{x: 1, inner: {y: 2}, loose: {z: 3, inner: {w: 4}}, list: [{left: a, v: 5}]}";
    let strict = decode(text, Unknown::Refuse).1;
    let want = [
        "SP0002 x: unknown field `x`",
        "SP0002 inner.y: unknown field `y`",
        "SP0010 loose.z: unknown field `z` is ignored",
        "SP0010 loose.inner.w: unknown field `w` is ignored",
        "SP0002 list[0].v: unknown field `v`",
    ];
    assert_eq!(strict, want);
    assert_eq!(
        decode(text, Unknown::Ignore).1.len(),
        2,
        "the lenient part speaks for itself"
    );
}

#[test]
fn scalars_follow_protobuf_json() {
    let good = [
        "flag: yes",
        "flag: true",
        "http2Max: '7'",
        "http2Max: 0x10",
        "http2Max: 7.0",
        "ratio: 1",
        "ratio: '1.5'",
        "wide: 18446744073709551615",
        "color: DARK_BLUE",
        "match: \"1\"",
        "match: 10.0.0.1",
        "labels: {a: b, c: d}",
    ];
    for text in good {
        let (sample, found) = decode(text, Unknown::Refuse);
        assert!(
            found.is_empty() && sample != Sample::default(),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn values_of_the_wrong_type_say_what_was_found() {
    let bad = [
        (
            "flag: 1",
            "SP0003 flag: expected a boolean, found a number `1`",
        ),
        (
            "flag: 'true'",
            "SP0003 flag: expected a boolean, found the string \"true\"",
        ),
        (
            "http2Max: -1",
            "SP0003 http2Max: -1 is out of range, 0 to 4294967295",
        ),
        (
            "http2Max: 1.5",
            "SP0003 http2Max: expected a whole number, found a number `1.5`",
        ),
        (
            "http2Max: []",
            "SP0003 http2Max: expected a whole number, found a list",
        ),
        (
            "match: 1",
            "SP0003 match: expected a string, found a number `1`",
        ),
        (
            "match: {}",
            "SP0003 match: expected a string, found a mapping",
        ),
        ("color: BLUE", "SP0003 color: unknown value `BLUE`"),
        (
            "color: [RED]",
            "SP0003 color: expected one of RED, DARK_BLUE, found a list",
        ),
        (
            "labels: [a]",
            "SP0003 labels: expected a mapping, found a list",
        ),
        (
            "labels: {a: 1}",
            "SP0003 labels.a: expected a string, found a number `1`",
        ),
        (
            "inner: {left: a, rightSide: 1}",
            "SP0009 inner: only one of `left`, `rightSide` may be set",
        ),
    ];
    for (text, want) in bad {
        assert_eq!(decode(text, Unknown::Refuse).1, [want], "{text}");
    }
}

#[test]
fn enums_know_their_names_and_begin_at_zero() {
    assert_eq!(
        (Color::default().as_str(), Color::DarkBlue.as_str()),
        ("RED", "DARK_BLUE")
    );
}

#[test]
fn null_is_unset_and_maps_keep_their_order() {
    let (sample, found) = decode(
        "{match: null, inner: ~, list: null, labels: null}",
        Unknown::Refuse,
    );
    assert_eq!((sample, found), (Sample::default(), vec![]));
    let (sample, _) = decode("labels: {z: '1', a: '2', m: '3'}", Unknown::Refuse);
    assert_eq!(sample.labels.keys().collect::<Vec<_>>(), ["z", "a", "m"]);
    assert_eq!(sample.labels.get("a").map(String::as_str), Some("2"));
}
