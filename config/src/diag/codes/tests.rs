//! Every code has a page, and the example of every page triggers its code.

use super::{CODES, CodeInfo};
use crate::retain::LastGood;
use crate::{View, pipeline};

const SECTIONS: [&str; 5] = [
    "What it means",
    "Example",
    "Why it matters",
    "Fix",
    "Reference",
];

#[test]
fn every_page_has_its_sections() {
    for info in CODES {
        assert!(
            info.page.starts_with(&format!("# {}\n", info.code)),
            "{}: title",
            info.code
        );
        let headings: Vec<&str> = info
            .page
            .lines()
            .filter_map(|l| l.strip_prefix("## "))
            .collect();
        assert_eq!(headings, SECTIONS, "{}", info.code);
        for section in SECTIONS {
            assert!(
                !body(info, section).trim().is_empty(),
                "{}: {section} is empty",
                info.code
            );
        }
    }
}

#[test]
fn every_example_triggers_its_code() {
    let mut silent = Vec::new();
    for info in CODES {
        let example = body(info, "Example");
        let yaml = example
            .split("```yaml\n")
            .nth(1)
            .and_then(|t| t.split("```").next());
        let text = yaml
            .unwrap_or_else(|| panic!("{}: no example", info.code))
            .to_owned();
        let files = [("example.yaml".to_owned(), text)];
        let built = pipeline::build(&files, &View::default(), &mut LastGood::default());
        let found: Vec<_> = built.diagnostics.iter().map(|d| d.code).collect();
        if !found.contains(&info.code) {
            silent.push(format!("{}: {found:?}", info.code));
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn codes_are_sorted_and_unique() {
    let names: Vec<&str> = CODES.iter().map(|i| i.code.0).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert!(names.windows(2).all(|w| w[0] != w[1]));
}

fn body<'a>(info: &'a CodeInfo, section: &str) -> &'a str {
    let after = info
        .page
        .split(&format!("## {section}\n"))
        .nth(1)
        .unwrap_or_default();
    after.split("\n## ").next().unwrap_or_default()
}
