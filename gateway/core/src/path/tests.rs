//! Istio's table, byte for byte, in four modes; then the properties behind it.

use proptest::prelude::*;

use super::*;

const MODES: [(&str, PathPolicy); 5] = [
    ("NONE", PathPolicy::NONE),
    ("BASE", PathPolicy::BASE),
    ("MERGE_SLASHES", PathPolicy::MERGE_SLASHES),
    (
        "DECODE_AND_MERGE_SLASHES",
        PathPolicy::DECODE_AND_MERGE_SLASHES,
    ),
    ("EDGE", PathPolicy::EDGE),
];

/// The path that goes on, or why none does.
fn outcome(path: &str, policy: PathPolicy) -> String {
    let mut scratch = b"left over".to_vec();
    let text = |scratch: Vec<u8>| String::from_utf8(scratch).unwrap();
    match normalize(path.as_bytes(), policy, &mut scratch) {
        PathAction::Unchanged => path.to_owned(),
        PathAction::Rewritten => text(scratch),
        PathAction::Redirect => format!("307 {}", text(scratch)),
        PathAction::Reject { status } => status.to_string(),
    }
}

/// Checks a path in the first four modes.
fn check(path: &str, expected: [&str; 4]) {
    for ((name, policy), expected) in MODES.iter().zip(expected) {
        assert_eq!(outcome(path, *policy), expected, "{path} in {name}");
    }
}

#[test]
fn istio_table() {
    check("/app#foo", ["/app", "/app", "/app", "/app"]);
    check(
        "/app/../admin",
        ["/app/../admin", "/admin", "/admin", "/admin"],
    );
    check("/app//", ["/app//", "/app//", "/app/", "/app/"]);
    check("/app/%2f", ["/app/%2f", "/app/%2f", "/app/%2f", "/app/"]);
    check(
        "/xyz%30..//abc",
        [
            "/xyz%30..//abc",
            "/xyz0..//abc",
            "/xyz0../abc",
            "/xyz0../abc",
        ],
    );
    check(
        "/app/%2E./admin",
        ["/app/%2E./admin", "/admin", "/admin", "/admin"],
    );
    check(
        r"/app/\/\/\admin",
        [
            r"/app/\/\/\admin",
            "/app//////admin",
            "/app/admin",
            "/app/admin",
        ],
    );
    let kept = "/%2Fapp%5cadmin%5Cabc";
    check(kept, [kept, kept, kept, "/app/admin/abc"]);
    let mixed = r"/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\abc";
    let base = "/%5Capp%2f%5c%2F..%2fadmin%5c/abc";
    check(mixed, [mixed, base, base, "/app/admin/abc"]);
    check(
        "/app//../admin",
        ["/app//../admin", "/app/admin", "/app/admin", "/app/admin"],
    );
    check(
        "/app//../../admin",
        ["/app//../../admin", "/admin", "/admin", "/admin"],
    );
    check("/admin%00", ["/admin%00", "400", "400", "400"]);
}

#[test]
fn overlong_utf8_is_not_decoded() {
    let decode = PathPolicy::DECODE_AND_MERGE_SLASHES;
    assert_eq!(outcome("/%c0%2e%c0%2e/admin", decode), "/%c0.%c0./admin");
    assert_eq!(outcome("/%c0%2fadmin", decode), "/%c0/admin");
}

#[test]
fn only_unreserved_bytes_and_slashes_are_decoded() {
    for byte in 1..=255_u8 {
        for path in [format!("/admin%{byte:02x}"), format!("/admin%{byte:02X}")] {
            let expected = match byte {
                b'/' | b'\\' => "/admin/".to_owned(),
                b'-' | b'.' | b'_' | b'~' => format!("/admin{}", char::from(byte)),
                _ if byte.is_ascii_alphanumeric() => format!("/admin{}", char::from(byte)),
                _ => path.clone(),
            };
            assert_eq!(
                outcome(&path, PathPolicy::DECODE_AND_MERGE_SLASHES),
                expected,
                "{path}"
            );
            let base = if matches!(byte, b'/' | b'\\') {
                path.clone()
            } else {
                expected
            };
            assert_eq!(outcome(&path, PathPolicy::BASE), base, "{path}");
            assert_eq!(outcome(&path, PathPolicy::MERGE_SLASHES), base, "{path}");
            assert_eq!(outcome(&path, PathPolicy::NONE), path);
        }
    }
}

#[test]
fn never_changed() {
    let rows = [
        "/%252e%252e/admin",
        "/%c0%afadmin",
        "/..;/admin",
        "/.../admin",
        "/;/admin",
        "/admin;a=b",
        "/Admin",
        "/",
        "/a?b=/../c//d%2f",
        "/.well-known/x",
        "/a%zz",
        "/100%",
    ];
    for path in rows {
        check(path, [path; 4]);
    }
    for target in ["*", "a.example:443", ""] {
        check(target, [target; 4]);
        assert_eq!(outcome(target, PathPolicy::EDGE), target);
    }
}

#[test]
fn what_a_uri_cannot_hold_is_escaped() {
    for byte in b'!'..=b'~' {
        let path = format!("/x{}", char::from(byte));
        let expected = match byte {
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => format!("/x%{byte:02X}"),
            b'#' => "/x".to_owned(),
            b'\\' => "/x/".to_owned(),
            _ => path.clone(),
        };
        assert_eq!(outcome(&path, PathPolicy::BASE), expected);
        let kept = if byte == b'#' { "/x" } else { &path };
        assert_eq!(outcome(&path, PathPolicy::NONE), kept);
    }
    assert_eq!(outcome("/a?{b}|#c", PathPolicy::EDGE), "/a?{b}|");
}

#[test]
fn ends_of_paths() {
    let base = |path| outcome(path, PathPolicy::BASE);
    for (path, expected) in [
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/..", "/"),
        ("/.", "/"),
        ("/../../a", "/a"),
        ("/./a/./b/.", "/a/b/"),
        ("/a/../?x#y", "/?x"),
        ("/?x#y/../z", "/?x"),
        ("/#", "/"),
        ("//", "//"),
        ("/a/b/../../..", "/"),
        ("/x;/../deny", "/deny"),
    ] {
        assert_eq!(base(path), expected, "{path}");
    }
}

/// Sixteen spellings of `/deny`: none may reach the origin under another name.
#[test]
fn edge_leaves_no_way_around_a_prefix_rule() {
    let rows = [
        ("/a/../deny", "/deny"),
        ("/./deny", "/deny"),
        ("//deny", "/deny"),
        ("/%2e/deny", "/deny"),
        ("/a/%2e%2e/deny", "/deny"),
        ("/a/.%2E/deny", "/deny"),
        ("/%64eny", "/deny"),
        ("/den%79", "/deny"),
        (r"/\deny", "/deny"),
        (r"/a\..\deny", "/deny"),
        ("/a%2f..%2fdeny", "307 /deny"),
        ("/%2Fdeny", "307 /deny"),
        ("/%5Cdeny", "307 /deny"),
        ("/deny#/../a", "/deny"),
        ("/..;/deny", "403"),
        ("/x;/../deny", "/deny"),
        ("/%2e%2e;a=b/deny", "403"),
        ("/%2f%2fevil.example", "307 /evil.example"),
        ("/a%2f?b=%2f", "307 /a/?b=%2f"),
    ];
    for (path, expected) in rows {
        assert_eq!(outcome(path, PathPolicy::EDGE), expected, "{path}");
    }
    let reject = PathPolicy {
        escaped_slashes: EscapedSlashes::Reject,
        ..PathPolicy::BASE
    };
    assert_eq!(outcome("/a%2fb", reject), "400");
    assert_eq!(outcome("/a%41b", reject), "/aAb");
}

fn spelling() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("/"), 2 => Just("."), 1 => Just(".."), 1 => Just("\\"), 1 => Just("%"),
        1 => Just("%2e"), 1 => Just("%2F"), 1 => Just("%5c"), 1 => Just("%41"), 1 => Just("%25"),
        1 => Just("%3"), 1 => Just("4"), 1 => Just("1"), 1 => Just("a"), 1 => Just(";"),
        1 => Just("?"), 1 => Just("#"), 1 => Just("%34"), 1 => Just("%31"), 1 => Just("%32"),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn normal_forms_are_stable(path in spelling()) {
        for (name, policy) in MODES {
            let once = outcome(&path, policy);
            let once = once.strip_prefix("307 ").unwrap_or(&once);
            if once.starts_with('/') {
                prop_assert_eq!(outcome(once, policy), once, "{} in {}", path, name);
            }
        }
    }

    #[test]
    fn a_mode_leaves_nothing_that_it_removes(path in spelling()) {
        for (name, policy) in MODES {
            let result = outcome(&path, policy);
            let result = result.strip_prefix("307 ").unwrap_or(&result);
            prop_assert!(!result.contains('#'));
            let path_only = result.split('?').next().unwrap_or_default();
            if !path_only.starts_with('/') {
                continue;
            }
            if policy.normalize {
                let dots = path_only.split('/').any(|s| s == "." || s == "..");
                prop_assert!(!dots && !path_only.contains('\\'), "{path} in {name}: {result}");
            }
            if policy.merge_slashes {
                prop_assert!(!path_only.contains("//"), "{path} in {name}: {result}");
            }
            if !matches!(policy.escaped_slashes, EscapedSlashes::Keep) {
                prop_assert!(!has_escaped_slash(path_only.as_bytes()), "{path} in {name}: {result}");
            }
        }
    }
}
