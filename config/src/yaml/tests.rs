//! Text to trees: places, layouts, limits.

use super::read::{MAX_DEPTH, read};
use super::{Node, Plain, Value};
use crate::source::FileId;

/// A tree as compact text, each value followed by its line and column.
fn show(node: &Node) -> String {
    let at = format!("@{}:{}", node.span.line, node.span.column);
    match &node.value {
        Value::Null => format!("null{at}"),
        Value::Scalar { text, plain } => format!(
            "{}{at}",
            if *plain {
                text.to_string()
            } else {
                format!("{text:?}")
            }
        ),
        Value::Seq(items) => format!(
            "[{}]{at}",
            items.iter().map(show).collect::<Vec<_>>().join(", ")
        ),
        Value::Map(entries) => {
            let inner: Vec<_> = entries
                .iter()
                .map(|e| {
                    format!(
                        "{}@{}:{}: {}",
                        e.key,
                        e.key_span.line,
                        e.key_span.column,
                        show(&e.value)
                    )
                })
                .collect();
            format!("{{{}}}{at}", inner.join(", "))
        }
    }
}

/// Documents and findings of a text, one a line.
fn shown(text: &str) -> Vec<String> {
    let documents = read(FileId(0), text);
    let found = documents
        .list
        .iter()
        .flat_map(|d| &d.found)
        .chain(&documents.broken);
    let found = found.map(|d| {
        format!(
            "{} {}:{} {}",
            d.code,
            d.span.unwrap().line,
            d.span.unwrap().column,
            d.message
        )
    });
    documents
        .list
        .iter()
        .map(|d| show(&d.node))
        .chain(found)
        .collect()
}

#[test]
fn every_key_and_value_knows_its_place() {
    let cases: &[(&str, &[&str])] = &[
        (
            "a: 1\nb:\n  - x\n  - 'y'\n",
            &["{a@1:1: 1@1:4, b@2:1: [x@3:5, \"y\"@4:5]@3:3}@1:1"],
        ),
        (
            "{\n\t\"a\": [1, true],\n\t\"b\": {}\n}",
            &["{a@2:2: [1@2:8, true@2:11]@2:7, b@3:2: {}@3:7}@1:1"],
        ),
        (
            "a:\nb: ~\nc: null\n",
            &["{a@1:1: null@1:2, b@2:1: null@2:4, c@3:1: null@3:4}@1:1"],
        ),
        ("é: ü\nb: 2\n", &["{é@1:1: ü@1:4, b@2:1: 2@2:4}@1:1"]),
        ("a: 1\r\nb: 2\r\n", &["{a@1:1: 1@1:4, b@2:1: 2@2:4}@1:1"]),
        ("a: !!str 1\n", &["{a@1:1: \"1\"@1:10}@1:1"]),
        ("# only\n---\n# comments\n", &["null@2:4"]),
        (
            "x: 1\n---\ny: 2\n",
            &["{x@1:1: 1@1:4}@1:1", "{y@3:1: 2@3:4}@3:1"],
        ),
    ];
    for (text, want) in cases {
        assert_eq!(shown(text), *want, "{text:?}");
    }
}

/// What people write, Kubernetes' reader takes, and strict YAML 1.2 forbids.
#[test]
fn layouts_that_kubernetes_accepts_are_accepted() {
    let cases: &[(&str, &[&str])] = &[
        ("a: [\n  x\n]\n", &["{a@1:1: [x@2:3]@1:4}@1:1"]),
        (
            "a: [1.2.3.4, 001:db8::, ::]\n",
            &["{a@1:1: [1.2.3.4@1:5, 001:db8::@1:14, ::@1:25]@1:4}@1:1"],
        ),
        (
            "[a: , b: 1, c:]\n",
            &["[{a@1:2: null@1:3}@1:2, {b@1:7: 1@1:10}@1:7, c:@1:13]@1:1"],
        ),
        ("a: {\n  x: 1\n}\n", &["{a@1:1: {x@2:3: 1@2:6}@1:4}@1:1"]),
        (
            "a: [\n  x,\n]\nb: 1\n",
            &["{a@1:1: [x@2:3]@1:4, b@4:1: 1@4:4}@1:1"],
        ),
        ("l:\n- a\n- b\n", &["{l@1:1: [a@2:3, b@3:3]@2:3}@1:1"]),
        ("a: \"x\n  y\"\n", &["{a@1:1: \"x y\"@1:4}@1:1"]),
    ];
    for (text, want) in cases {
        assert_eq!(shown(text), *want, "{text:?}");
    }
}

#[test]
fn spans_cover_the_text_of_their_values() {
    let text = "ä: {b: [1, 2]}\nlist:\n  - c: \"dé\"\n    e: f\nlast: z\n";
    let documents = read(FileId(0), text);
    let root = &documents.list[0].node;
    let under = |n: &Node| &text[n.span.start as usize..n.span.end as usize];
    assert_eq!(under(root.get("ä").unwrap()), "{b: [1, 2]}");
    assert_eq!(under(root.get("ä").unwrap().get("b").unwrap()), "[1, 2]");
    let item = &root.get("list").unwrap().items()[0];
    assert_eq!(under(item), "c: \"dé\"\n    e: f");
    assert_eq!(under(item.get("c").unwrap()), "\"dé\"");
    assert_eq!(under(root.get("last").unwrap()), "z");
}

#[test]
fn a_syntax_error_costs_one_document() {
    let got = shown("a: 1\n---\nb: [1\n---\nc: 3\n");
    assert_eq!(got.len(), 3, "{got:?}");
    assert_eq!(got[0], "{a@1:1: 1@1:4}@1:1");
    assert_eq!(got[1], "{c@5:1: 3@5:4}@5:1");
    assert!(got[2].starts_with("SP0001 "), "{got:?}");
}

#[test]
fn duplicate_keys_are_found_in_small_and_large_mappings() {
    assert_eq!(
        shown("a: 1\nb: 2\na: 3\n")[1],
        "SP0006 3:1 key `a` is given twice"
    );
    let mut large: String = (0..40).map(|i| format!("k{i}: {i}\n")).collect();
    large.push_str("k7: again\n");
    assert_eq!(shown(&large)[1], "SP0006 41:1 key `k7` is given twice");
}

#[test]
fn anchors_aliases_and_merge_keys() {
    let got = shown("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nlist: [*b]\n");
    let want = "{base@1:1: {x@1:11: 1@1:14, y@1:17: 2@1:20}@1:10, \
                use@2:1: {y@4:3: 3@4:6, x@1:11: 1@1:14}@3:3, \
                list@5:1: [{x@1:11: 1@1:14, y@1:17: 2@1:20}@1:10]@5:7}@1:1";
    assert_eq!(got, [want]);
}

#[test]
fn bombs_are_refused() {
    let deep = "[".repeat(MAX_DEPTH + 1) + &"]".repeat(MAX_DEPTH + 1);
    assert!(
        shown(&deep)[0].contains("deeper than"),
        "{:?}",
        shown(&deep)
    );
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..10 {
        let many = vec![format!("*a{}", i - 1); 10].join(", ");
        laughs.push_str(&format!("a{i}: &a{i} [{many}]\n"));
    }
    assert!(
        shown(&laughs)[0].contains("more than"),
        "{:?}",
        shown(&laughs)
    );
    let mut chain = String::from("a0: &a0 [x]\n");
    for i in 1..2 * MAX_DEPTH {
        chain.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
    }
    assert!(
        shown(&chain)[0].contains("deeper than"),
        "{:?}",
        shown(&chain)
    );
    assert!(
        shown("a: &a [*a]\n")[0].starts_with("SP0001"),
        "{:?}",
        shown("a: &a [*a]\n")
    );
}

#[test]
fn unquoted_scalars_mean_what_yaml_1_2_says() {
    let cases = [
        ("true", Plain::Bool(true)),
        ("False", Plain::Bool(false)),
        ("8080", Plain::Int(8080)),
        ("-3", Plain::Int(-3)),
        ("0x1F", Plain::Int(31)),
        ("0o17", Plain::Int(15)),
        ("50.0", Plain::Float(50.0)),
        ("1e3", Plain::Float(1000.0)),
        ("v1", Plain::Text),
        ("10.0.0.1", Plain::Text),
        ("30s", Plain::Text),
        ("yes", Plain::Text),
        ("inf", Plain::Text),
        ("-", Plain::Text),
        ("", Plain::Text),
    ];
    for (text, want) in cases {
        assert_eq!(Plain::of(text), want, "{text}");
    }
}
