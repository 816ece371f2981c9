//! Cuts a file into documents before any is parsed, so that a syntax error costs one document.
//!
//! YAML forbids a line that begins with `---` or `...` anywhere inside a document, even inside
//! quotes (YAML 1.2.2 §9.1.2, production c-forbidden), so the cut needs no parser.

/// One document's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// First byte in the file.
    pub(crate) start: usize,
    /// One past the last byte.
    pub(crate) end: usize,
    /// Line of the first byte, from 1.
    pub(crate) line: u32,
}

/// The documents of a text; blank and comment-only ones among them.
pub(crate) fn split(text: &str) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    // a byte order mark is not part of the first document
    let mut offset = if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    let mut current = Chunk {
        start: offset,
        end: offset,
        line: 1,
    };
    // comments and directives in front of `---` belong to the document that follows
    let mut content = false;
    let lines = text.get(offset..).unwrap_or_default().split_inclusive('\n');
    for (line, raw) in (1..).zip(lines) {
        if is_marker(raw, "---") {
            if content {
                chunks.push(current);
                current = Chunk {
                    start: offset,
                    end: offset,
                    line,
                };
            }
            content = true;
        } else if !is_blank(raw) {
            content = true;
        }
        offset += raw.len();
        current.end = offset;
        if is_marker(raw, "...") {
            chunks.push(current);
            current = Chunk {
                start: offset,
                end: offset,
                line: line + 1,
            };
            content = false;
        }
    }
    if content {
        chunks.push(current);
    }
    chunks
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with(['#', '%'])
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn documents_are_cut_at_their_markers() {
        let cases: [(&str, &[(u32, &str)]); 9] = [
            ("", &[]),
            ("# nothing\n\n", &[]),
            ("a: 1\n", &[(1, "a: 1\n")]),
            ("a: 1\n---\nb: 2", &[(1, "a: 1\n"), (2, "---\nb: 2")]),
            (
                "---\na: 1\n---\nb: 2\n",
                &[(1, "---\na: 1\n"), (3, "---\nb: 2\n")],
            ),
            (
                "# c\n%YAML 1.2\n--- # x\na: 1\n",
                &[(1, "# c\n%YAML 1.2\n--- # x\na: 1\n")],
            ),
            (
                "a: 1\n...\n# c\nb: 2\n",
                &[(1, "a: 1\n...\n"), (3, "# c\nb: 2\n")],
            ),
            ("a: |\n  ---\n  x\n", &[(1, "a: |\n  ---\n  x\n")]),
            (
                "\u{feff}a: 1\r\n---\r\nb: 2\r\n",
                &[(1, "a: 1\r\n"), (2, "---\r\nb: 2\r\n")],
            ),
        ];
        for (text, want) in cases {
            let got: Vec<_> = split(text)
                .iter()
                .map(|c| (c.line, &text[c.start..c.end]))
                .collect();
            assert_eq!(got, want, "{text:?}");
        }
    }
}
