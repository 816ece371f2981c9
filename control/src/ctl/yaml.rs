//! JSON as YAML: block style, strings quoted as JSON quotes them, which YAML reads.

use serde_json::Value;

/// Rewrites a JSON text; text that is not JSON stays as it is.
pub(super) fn from_json(text: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    let mut out = String::new();
    block(&value, 0, &mut out);
    out
}

fn block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                block(item, depth + 1, &mut inner);
                indent(depth, out);
                out.push_str("- ");
                // the first line of the item stands beside the dash
                out.push_str(inner.trim_start());
            }
        }
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                indent(depth, out);
                out.push_str(key);
                out.push(':');
                let nested = matches!(value, Value::Array(a) if !a.is_empty())
                    || matches!(value, Value::Object(o) if !o.is_empty());
                out.push(if nested { '\n' } else { ' ' });
                block(value, depth + 1, out);
            }
        }
        scalar => {
            out.push_str(&scalar.to_string());
            out.push('\n');
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

#[cfg(test)]
mod tests {
    use super::from_json;

    #[test]
    fn json_becomes_block_style() {
        let json = r#"[{"code":"IST0101","span":{"line":3,"of":[]},"labels":[{"a":1},"b"]},{"code":null}]"#;
        let yaml = "- code: \"IST0101\"\n  span:\n    line: 3\n    of: []\n  labels:\n    - a: 1\n    - \"b\"\n- code: null\n";
        assert_eq!(from_json(json), yaml);
        assert_eq!(from_json("[]"), "[]\n");
    }
}
