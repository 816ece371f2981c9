//! Header operations, and format strings put together again.

use sallyport_config::ir::{HeaderEdits, Piece, Template};
use sallyport_wire::envoy::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use sallyport_wire::envoy::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use std::fmt::Write as _;

/// What is written, in order.
pub(super) fn written(edits: &HeaderEdits) -> Vec<HeaderValueOption> {
    let option = |write: &sallyport_config::ir::HeaderWrite| HeaderValueOption {
        header: Some(HeaderValue {
            key: write.name.clone(),
            value: template(&write.value),
            raw_value: Vec::new(),
        }),
        append_action: if write.append {
            HeaderAppendAction::AppendIfExistsOrAdd.into()
        } else {
            HeaderAppendAction::OverwriteIfExistsOrAdd.into()
        },
        ..HeaderValueOption::default()
    };
    edits.write.iter().map(option).collect()
}

/// A format string as it was before it was taken apart.
fn template(template: &Template) -> String {
    let mut text = String::new();
    for piece in &template.0 {
        match piece {
            Piece::Literal(literal) => text.push_str(&literal.replace('%', "%%")),
            Piece::Operator {
                name,
                argument,
                max_length,
            } => {
                text.push('%');
                text.push_str(name);
                if let Some(argument) = argument {
                    let _ = write!(text, "({argument})");
                }
                if let Some(length) = max_length {
                    let _ = write!(text, ":{length}");
                }
                text.push('%');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_string_survives_being_taken_apart() {
        let operator = |name: &str, argument: Option<&str>, max_length| Piece::Operator {
            name: name.to_owned(),
            argument: argument.map(str::to_owned),
            max_length,
        };
        let pieces = vec![
            Piece::Literal("100% ".to_owned()),
            operator("REQ", Some("x-a?x-b"), Some(3)),
            operator("PROTOCOL", None, None),
        ];
        let text = template(&Template(pieces));
        assert_eq!(text, "100%% %REQ(x-a?x-b):3%%PROTOCOL%");
    }
}
