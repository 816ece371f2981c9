//! What routes do, in every combination that the compiler could emit, and some that it does not.

use super::CLUSTERS;
use crate::agreement::dice::Bytes;
use sallyport_config::ir::*;
use std::sync::Arc;

pub(super) fn action(path: &PathMatch, bytes: &mut Bytes<'_>) -> Action {
    match bytes.below(10) {
        0 => Action::Fail {
            status: 500,
            why: "SP0000".to_owned(),
        },
        1 => Action::Direct(DirectResponse {
            status: bytes.pick(&[200, 404, 503]),
            body: Arc::from(bytes.text(&["", "hello"]).as_bytes()),
        }),
        2 | 3 => Action::Redirect(Box::new(redirect(path, bytes))),
        _ => Action::Forward(Box::new(forward(path, bytes))),
    }
}

fn redirect(path: &PathMatch, bytes: &mut Bytes<'_>) -> Redirect {
    Redirect {
        status: bytes.pick(&[301, 302, 303, 307, 308]),
        path: bytes.maybe(60, |bytes| rewrite(path, bytes)),
        authority: bytes.maybe(40, |bytes| bytes.text(&["new.com", "new.com:81"])),
        scheme: bytes.maybe(40, |bytes| bytes.text(&["http", "https"])),
        port: match bytes.below(5) {
            0 => RedirectPort::Default,
            1 => RedirectPort::Number(bytes.pick(&[80, 443, 8443])),
            _ => RedirectPort::Keep,
        },
    }
}

fn rewrite(path: &PathMatch, bytes: &mut Bytes<'_>) -> PathRewrite {
    let to = bytes.text(&["/", "/new", "/new/", "", "//n", "n", "/n?q=1"]);
    match (path, bytes.below(4)) {
        (PathMatch::Prefix { prefix, .. }, 0..=2) => PathRewrite::Prefix {
            from: prefix.clone(),
            to,
        },
        (_, 3) => PathRewrite::Regex {
            pattern: bytes.text(&["/a(b)?", "[0-9]+", "(", "^/", "b"]),
            to: bytes.text(&[r"/\1", r"<\0>", "", r"\\", r"\9x", "c"]),
        },
        _ => PathRewrite::Full(to),
    }
}

fn forward(path: &PathMatch, bytes: &mut Bytes<'_>) -> Forward {
    let several = bytes.chance(40);
    let targets = if several {
        bytes.some(3, target)
    } else {
        vec![target(bytes)]
    };
    Forward {
        targets,
        rewrite: Rewrite {
            path: bytes.maybe(30, |bytes| rewrite(path, bytes)),
            authority: bytes.maybe(15, |bytes| bytes.text(&["up.com", "a.com"])),
        },
        timeout: bytes.maybe(30, |bytes| Millis(bytes.below(9).into())),
        retry: Retry {
            attempts: bytes.below(4).into(),
            ..Retry::default()
        },
        mirrors: bytes
            .maybe(20, |bytes| {
                bytes.some(3, |bytes| Mirror {
                    cluster: cluster(bytes),
                    share: share(bytes),
                })
            })
            .unwrap_or_default(),
    }
}

fn target(bytes: &mut Bytes<'_>) -> Target {
    Target {
        cluster: cluster(bytes),
        weight: bytes.pick(&[1, 50, 3, 0]),
        // the rule's values may look at what is written here only if it is literal
        headers: header_ops(&["x-t"], bytes),
        authority: bytes.maybe(20, |bytes| bytes.text(&["t.com", "a.com"])),
    }
}

fn cluster(bytes: &mut Bytes<'_>) -> ClusterRef {
    match bytes.below(CLUSTERS + 2) {
        0 => ClusterRef::Missing("outbound|80||none".to_owned()),
        id => ClusterRef::Known(ClusterId(u32::from(id) - 1)),
    }
}

fn share(bytes: &mut Bytes<'_>) -> Ppm {
    Ppm(bytes.pick(&[1_000_000, 0, 500_000]))
}

pub(super) fn header_ops(dynamic: &[&'static str], bytes: &mut Bytes<'_>) -> HeaderOps {
    HeaderOps {
        request: bytes
            .maybe(30, |bytes| edits(dynamic, bytes))
            .unwrap_or_default(),
        response: bytes
            .maybe(30, |bytes| edits(dynamic, bytes))
            .unwrap_or_default(),
    }
}

/// Names in `dynamic` may get values with operators; the others only literal sets.
fn edits(dynamic: &[&'static str], bytes: &mut Bytes<'_>) -> HeaderEdits {
    HeaderEdits {
        remove: bytes.some(2, |bytes| bytes.text(&["x-a", "x-b", "x-c"])),
        write: bytes.some(3, |bytes| {
            if bytes.chance(50) {
                HeaderWrite {
                    name: bytes.text(&["x-a", "x-b"]),
                    value: Template(vec![Piece::Literal(bytes.text(&["v", "", "w w"]))]),
                    append: false,
                }
            } else {
                HeaderWrite {
                    name: bytes.text(dynamic),
                    value: template(bytes),
                    append: bytes.chance(50),
                }
            }
        }),
    }
}

fn template(bytes: &mut Bytes<'_>) -> Template {
    Template(bytes.some(3, |bytes| match bytes.below(4) {
        0 => Piece::Literal(bytes.text(&["l", "%", " "])),
        1 => Piece::Operator {
            name: "UPSTREAM_HOST".to_owned(),
            argument: None,
            max_length: None,
        },
        _ => Piece::Operator {
            name: "REQ".to_owned(),
            argument: Some(bytes.text(&["x-a", "X-B?x-c", ":path", "x-d?:authority", ":METHOD"])),
            max_length: bytes.maybe(20, |bytes| bytes.below(3).into()),
        },
    }))
}

pub(super) fn fault(bytes: &mut Bytes<'_>) -> Fault {
    Fault {
        delay: bytes.maybe(50, |bytes| FaultDelay {
            duration: Millis(bytes.below(200).into()),
            share: share(bytes),
        }),
        abort: bytes.maybe(50, |bytes| FaultAbort {
            status: if bytes.chance(30) {
                AbortStatus::Grpc(bytes.below(17))
            } else {
                AbortStatus::Http(bytes.pick(&[503, 200, 418]))
            },
            share: share(bytes),
        }),
    }
}

pub(super) fn cors(bytes: &mut Bytes<'_>) -> Cors {
    Cors {
        allow_origins: bytes.some(2, |bytes| match bytes.below(5) {
            0 => ValueMatch::Exact("http://a.com".to_owned()),
            1 => ValueMatch::Prefix("http".to_owned()),
            2 => ValueMatch::Regex(bytes.text(&[r"https?://.*\.a\.com", ".*", "("])),
            3 => ValueMatch::Exact("*".to_owned()),
            _ => ValueMatch::Exact("null".to_owned()),
        }),
        allow_methods: bytes.text(&["", "GET,POST"]),
        allow_headers: bytes.text(&["", "x-a"]),
        expose_headers: bytes.text(&["", "x-b"]),
        max_age_seconds: bytes.maybe(50, |bytes| bytes.below(100).into()),
        allow_credentials: bytes.chance(50),
        forward_unmatched_preflights: bytes.chance(50),
    }
}
