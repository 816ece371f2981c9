//! COVERAGE.md: every field that is read, and what becomes of it. Written from the field lists
//! themselves, so it cannot name a field that is not read or miss one that is.

use std::fmt::Write as _;

use crate::message::{Disposition, FieldInfo, MessageInfo, Shape};
use crate::resource::Kind;

/// Deepest nesting of messages; Istio's schema has none that nest without end.
const MAX_DEPTH: usize = 24;

/// One leaf of the schema.
struct Row {
    path: String,
    ty: String,
    disposition: Disposition,
}

/// The whole text of COVERAGE.md.
#[must_use]
pub fn render() -> String {
    let kinds: Vec<(Kind, Vec<Row>)> = Kind::ALL.iter().map(|k| (*k, rows(*k))).collect();
    let mut out = String::from(HEAD);
    out.push_str(
        "| kind | fields | honoured | partly | refused | no effect | later |\n|---|---|---|---|---|---|---|\n",
    );
    for (kind, rows) in &kinds {
        let count =
            |want: fn(&Disposition) -> bool| rows.iter().filter(|r| want(&r.disposition)).count();
        let _ = writeln!(
            out,
            "| {kind} | {} | {} | {} | {} | {} | {} |",
            rows.len(),
            count(|d| matches!(d, Disposition::Honoured)),
            count(|d| matches!(d, Disposition::Partly(_))),
            count(|d| matches!(d, Disposition::Refused(_))),
            count(|d| matches!(d, Disposition::NoEffect(_))),
            count(|d| matches!(d, Disposition::Later(_))),
        );
    }
    for (kind, rows) in &kinds {
        let _ = write!(
            out,
            "\n## {kind}\n\n| field | type | here |\n|---|---|---|\n"
        );
        for row in rows {
            let _ = writeln!(
                out,
                "| `{}` | {} | {} |",
                row.path,
                row.ty,
                words(row.disposition)
            );
        }
    }
    out.push('\n');
    out.push_str(WIRES);
    out
}

/// What passes between the wires: written by the gateway's test that tries it.
const WIRES: &str = include_str!("coverage/wires.md");

const HEAD: &str = "\
# Coverage of Istio's schema

Every field that is read, and what becomes of it. Generated from the field lists under `src/api/`;
do not edit, run `UPDATE=1 cargo test -p sallyport-config coverage`.

- **honoured**: does what Istio says;
- **partly**: some values do what Istio says, the note says which;
- **refused**: the object is refused with the code;
- **no effect**: accepted, and means nothing here;
- **later**: read and checked, not yet acted upon.

A field of Istio's kinds that is not listed is refused as unknown (SP0002), in MeshConfig ignored
with a warning (SP0010); other fields of Kubernetes' kinds are not read.

";

fn rows(kind: Kind) -> Vec<Row> {
    let mut rows = Vec::new();
    let root = match kind {
        _ if kind.is_istio() => "spec",
        Kind::MeshConfig => "mesh",
        _ => "",
    };
    expand(root, kind.schema(), Disposition::Honoured, 0, &mut rows);
    rows
}

fn expand(
    prefix: &str,
    message: &'static MessageInfo,
    above: Disposition,
    depth: usize,
    out: &mut Vec<Row>,
) {
    for field in message.fields {
        let name = field.json_name();
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        leaf_or_message(path, field, above, depth, out);
    }
}

fn leaf_or_message(
    path: String,
    field: &FieldInfo,
    above: Disposition,
    depth: usize,
    out: &mut Vec<Row>,
) {
    // what is below a field that is not honoured is not either, whatever it says of itself
    let passes = matches!(above, Disposition::Honoured | Disposition::Partly(_));
    let disposition = if passes { field.disposition } else { above };
    let (suffix, inner) = unwrap((field.shape)());
    let path = path + suffix;
    match inner {
        Shape::Message(message) if let Some(kind) = own_section(message) => {
            out.push(Row {
                path,
                ty: format!("[{kind}](#{})", kind.as_str().to_lowercase()),
                disposition,
            });
        }
        Shape::Message(message) if !message.fields.is_empty() && depth < MAX_DEPTH => {
            expand(&path, message, disposition, depth + 1, out);
        }
        shape => out.push(Row {
            path,
            ty: type_name(&shape),
            disposition,
        }),
    }
}

/// Kinds that occur inside other kinds are described once.
fn own_section(message: &'static MessageInfo) -> Option<Kind> {
    let inside = [Kind::MeshConfig, Kind::WorkloadEntry];
    inside.into_iter().find(|k| k.schema().name == message.name)
}

fn unwrap(shape: Shape) -> (&'static str, Shape) {
    match shape {
        Shape::List(inner) => ("[]", *inner),
        Shape::Map(inner) => (".*", *inner),
        other => ("", other),
    }
}

fn type_name(shape: &Shape) -> String {
    match shape {
        Shape::Scalar(name) => (*name).to_owned(),
        Shape::Enum(values) => values.join(", "),
        Shape::Message(_) => "empty message".to_owned(),
        Shape::Raw => "anything".to_owned(),
        Shape::List(inner) | Shape::Map(inner) => type_name(inner),
    }
}

fn words(disposition: Disposition) -> String {
    match disposition {
        Disposition::Honoured => "honoured".to_owned(),
        Disposition::Partly(which) => format!("partly: {which}"),
        Disposition::Refused(code) => format!("refused ({code})"),
        Disposition::NoEffect(why) => format!("no effect: {why}"),
        Disposition::Later(what) => format!("later: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Disposition, Kind, render, rows};

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that writes a file of the repository, and only when asked"
    )]
    fn the_committed_file_is_up_to_date() {
        let want = render();
        if std::env::var_os("UPDATE").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/COVERAGE.md");
            std::fs::write(path, &want).unwrap();
            return;
        }
        assert!(
            include_str!("../COVERAGE.md") == want,
            "COVERAGE.md is stale: UPDATE=1 cargo test -p sallyport-config coverage"
        );
    }

    #[test]
    fn refusals_name_codes_of_the_table_and_reasons_are_given() {
        for row in Kind::ALL.iter().flat_map(|k| rows(*k)) {
            match row.disposition {
                Disposition::Refused(code) => {
                    assert!(crate::diag::codes::find(code).is_some(), "{code}")
                }
                Disposition::NoEffect(why) | Disposition::Later(why) | Disposition::Partly(why) => {
                    assert!(!why.is_empty(), "{}", row.path)
                }
                Disposition::Honoured => {}
            }
        }
    }

    #[test]
    fn paths_are_those_of_diagnostics() {
        let paths: Vec<_> = rows(Kind::VirtualService)
            .into_iter()
            .map(|r| r.path)
            .collect();
        for want in [
            "spec.hosts[]",
            "spec.http[].match[].uri.prefix",
            "spec.http[].retries.perTryTimeout",
            "spec.http[].headers.request.set.*",
        ] {
            assert!(paths.iter().any(|p| p == want), "{want} in {paths:?}");
        }
    }
}
