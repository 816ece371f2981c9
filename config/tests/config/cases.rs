//! The list of cases and the tests that they are: every name in it exists.

use std::fs;
use std::path::Path;

/// All Rust of the crates that the list is about.
fn sources(directory: &Path, out: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" {
            sources(&path, out);
        } else if name.ends_with(".rs") {
            out.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Whether a golden case, or a call of it, is there: `case` or `case / id`.
fn is_golden(name: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let (case, call) = name.split_once(" / ").unwrap_or((name, ""));
    let text = fs::read_to_string(root.join(case).join("calls.yaml"));
    text.is_ok_and(|text| call.is_empty() || text.contains(&format!("- id: \"{call}\"\n")))
}

#[test]
fn every_case_of_the_list_is_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut code = String::new();
    for directory in ["config", "gateway"] {
        sources(&root.join(directory), &mut code);
    }
    let list = fs::read_to_string(root.join("gateway/tests/CASES.md")).unwrap();
    let rows = list.lines().filter(|line| line.starts_with("| "));
    let mut names = 0;
    for row in rows {
        let tests = row.rsplit(" | ").next().unwrap();
        for name in tests.split('`').skip(1).step_by(2) {
            let is_function = code.contains(&format!("fn {name}("));
            assert!(is_function || is_golden(name), "{name} is no test: {row}");
            names += 1;
        }
    }
    assert!(names > 60, "only {names} names");
}
