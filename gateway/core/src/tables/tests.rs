//! Small snapshots for tests, and the questions that are asked of whole tables.

use sallyport_config::ir::*;
use std::sync::Arc;

/// A rule that forwards to the first cluster.
pub(crate) fn route(path: PathMatch) -> Route {
    Route {
        name: String::new(),
        origin: Origin {
            kind: "VirtualService",
            namespace: Arc::from("ns"),
            name: Arc::from("vs"),
            path: "spec.http[0]".to_owned(),
            location: String::new(),
        },
        matcher: Matcher {
            path,
            ..Matcher::default()
        },
        action: Action::Fail {
            status: 500,
            why: String::new(),
        },
        headers: HeaderOps::default(),
        fault: None,
        cors: None,
    }
}
