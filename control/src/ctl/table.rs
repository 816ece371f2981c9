//! Columns for people.

/// Widest a column is padded to; longer cells push their row.
const MAX_WIDTH: usize = 60;

/// A table with a heading, two spaces between columns, without trailing spaces.
pub(super) fn render(heading: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|h| h.len()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count().min(MAX_WIDTH));
        }
    }
    let mut out = String::new();
    let heading = heading.iter().map(|h| (*h).to_owned()).collect();
    for row in std::iter::once(heading).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let pad = width.saturating_sub(cell.chars().count());
            line.push_str(cell);
            line.push_str(&" ".repeat(pad + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
