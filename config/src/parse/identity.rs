//! Which kind a document is of, and what to say when it is of none.

use crate::diag::{Diagnostic, Level, codes};
use crate::message::nearest;
use crate::resource::Kind;
use crate::yaml::{Node, Value};

/// What a document claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A kind that is read.
    Known(Kind),
    /// Something else; what there is to say about it has been said.
    Other,
}

impl Identity {
    /// Looks at `apiVersion` and `kind`.
    pub(crate) fn of(node: &Node, out: &mut Vec<Diagnostic>) -> Self {
        if !matches!(node.value, Value::Map(_)) {
            let message = format!("the document is {}, not an object", node.describe());
            out.push(Diagnostic::new(codes::SP0007, message).at(node.span));
            return Self::Other;
        }
        let word = |key| {
            node.get(key)
                .and_then(Node::scalar)
                .filter(|t| !t.is_empty())
        };
        let (Some(version), Some(kind)) = (word("apiVersion"), word("kind")) else {
            let missing = if word("kind").is_none() {
                "kind"
            } else {
                "apiVersion"
            };
            let at = node
                .entry(missing)
                .map_or_else(|| node.span.point(), |e| e.key_span);
            let help = "a document begins with apiVersion and kind";
            out.push(
                Diagnostic::new(codes::SP0007, format!("the document has no {missing}"))
                    .at(at)
                    .help(help),
            );
            return Self::Other;
        };
        // core objects have a version only
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let named = Kind::ALL
            .iter()
            .copied()
            .find(|k| k.as_str() == kind && k.group().name == group);
        match named {
            Some(known) if known.group().versions.contains(&version) => Self::Known(known),
            Some(known) if !known.group().versions.is_empty() => {
                out.push(unserved(node, known, version));
                Self::Other
            }
            _ => {
                out.push(unknown(node, group, kind));
                Self::Other
            }
        }
    }
}

fn unserved(node: &Node, kind: Kind, version: &str) -> Diagnostic {
    let group = kind.group();
    let message = format!("{kind} has no version `{version}`");
    let at = node.get("apiVersion").map_or(node.span, |n| n.span);
    let prefix = if group.name.is_empty() {
        String::new()
    } else {
        format!("{}/", group.name)
    };
    let versions: Vec<String> = group
        .versions
        .iter()
        .map(|v| format!("{prefix}{v}"))
        .collect();
    Diagnostic::new(codes::SP0004, message)
        .at(at)
        .path("apiVersion")
        .help(format!("write {}", versions.join(" or ")))
}

/// Istio's groups, and slips of the pen in them, are errors; other groups are other people's.
fn unknown(node: &Node, group: &str, kind: &str) -> Diagnostic {
    let groups = Kind::ALL
        .iter()
        .map(|k| k.group().name)
        .filter(|g| g.ends_with(".istio.io"));
    let near_group = nearest(group, groups);
    let same_kind = Kind::ALL
        .iter()
        .copied()
        .find(|k| k.as_str() == kind && k.is_istio());
    let (at_kind, at_group) = (node.get("kind"), node.get("apiVersion"));
    if group.ends_with("istio.io") && EXTENSIONS.contains(&kind) {
        return ignored(node, kind, group).level(Level::Warning);
    }
    // `networking.k8s.io` is near too, but not by mistake
    let istios =
        group.contains("istio") || Kind::ALL.iter().any(|k| k.is_istio() && k.as_str() == kind);
    let near_group =
        near_group.filter(|near| *near != group && istios && !group.ends_with(".k8s.io"));
    if let Some(near) = near_group {
        let message = format!("unknown API group `{group}`");
        let at = at_group.map_or(node.span, |n| n.span);
        return Diagnostic::new(codes::SP0004, message)
            .at(at)
            .path("apiVersion")
            .help(format!("did you mean `{near}`?"));
    }
    if !group.ends_with("istio.io") && group != "sallyport.io" {
        return ignored(node, kind, group);
    }
    let message = format!("`{group}` has no kind `{kind}`");
    let at = at_kind.map_or(node.span, |n| n.span);
    let diagnostic = Diagnostic::new(codes::SP0004, message).at(at).path("kind");
    if let Some(kind) = same_kind {
        return diagnostic.help(format!("{kind} is of `{}`", kind.group().name));
    }
    let kinds = Kind::ALL
        .iter()
        .filter(|k| k.is_istio())
        .map(|k| k.as_str());
    match nearest(kind, kinds) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}

/// Istio's kinds that load code into Envoy.
const EXTENSIONS: [&str; 2] = ["WasmPlugin", "TrafficExtension"];

fn ignored(node: &Node, kind: &str, group: &str) -> Diagnostic {
    let at = node.get("kind").map_or(node.span, |n| n.span);
    let of = if group.is_empty() {
        String::new()
    } else {
        format!(" of `{group}`")
    };
    Diagnostic::new(codes::SP0011, format!("kind `{kind}`{of} is not read here"))
        .at(at)
        .path("kind")
}
