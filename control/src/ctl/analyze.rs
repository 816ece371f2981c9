//! `sallyctl analyze`: everything that is wrong with some files.

use std::io::{IsTerminal as _, Write as _};

use sallyport_config::diag::Diagnostic;
use sallyport_config::diag::codes::{self, CODES};
use sallyport_config::diag::render::{Format, render};
use sallyport_config::{Diagnostics, analyze, check, parse};

use super::args::{AnalyzeArgs, AnalyzeOutput, Color};
use super::{Outcome, Trouble, input, say, table, yaml};

/// Runs the command.
pub(super) fn run(args: &AnalyzeArgs, out: &mut Vec<u8>) -> Result<Outcome, Trouble> {
    if args.list_codes {
        list_codes(out);
        return Ok(Outcome::Clean);
    }
    let suppressed = args
        .suppress
        .iter()
        .map(|text| Suppression::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    let files = input::read(&args.paths)?;
    let parsed = parse(&files);
    let objects = parsed.set.len();
    let mut found = parsed.diagnostics;
    found.extend(check::check(&parsed.set));
    found.extend(analyze::analyze(&parsed.set));
    let found: Diagnostics = found
        .sorted()
        .into_iter()
        .filter(|d| !suppressed.iter().any(|s| s.covers(d)))
        .collect();
    let text = match args.output {
        AnalyzeOutput::Human => render(
            &found,
            &parsed.sources,
            Format::Human {
                color: colored(args.color),
            },
        ),
        AnalyzeOutput::Short => render(&found, &parsed.sources, Format::Short),
        AnalyzeOutput::Json => render(&found, &parsed.sources, Format::Json),
        AnalyzeOutput::Yaml => yaml::from_json(&render(&found, &parsed.sources, Format::Json)),
        AnalyzeOutput::Sarif => render(&found, &parsed.sources, Format::Sarif),
        AnalyzeOutput::Github => render(&found, &parsed.sources, Format::Github),
    };
    say(out, &text);
    if args.output == AnalyzeOutput::Human && found.is_empty() {
        nothing_found(objects, files.len());
    }
    Ok(if found.at_or_above(args.failure_threshold.level()) {
        Outcome::Findings
    } else {
        Outcome::Clean
    })
}

/// Silence could also mean that nothing was read. Said on standard error, not into pipes.
fn nothing_found(objects: usize, files: usize) {
    let many = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let line = format!(
        "nothing to complain about in {} of {}\n",
        many(objects, "object"),
        many(files, "file")
    );
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn colored(when: Color) -> bool {
    match when {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    }
}

fn list_codes(out: &mut Vec<u8>) {
    let rows = CODES.iter().map(|i| {
        vec![
            i.code.to_string(),
            i.level.to_string(),
            i.title.to_owned(),
            i.template.to_owned(),
        ]
    });
    say(
        out,
        &table::render(&["CODE", "LEVEL", "NAME", "MESSAGE"], rows.collect()),
    );
}

/// Findings that are not wanted: a code, perhaps on one object only.
#[derive(Debug, PartialEq, Eq)]
struct Suppression {
    code: &'static str,
    object: Option<String>,
}

impl Suppression {
    fn parse(text: &str) -> Result<Self, Trouble> {
        let (code, object) = text
            .split_once('=')
            .map_or((text, None), |(c, o)| (c, Some(o.trim().to_owned())));
        let known = codes::find(code.trim()).ok_or_else(|| {
            Trouble::new(format!(
                "--suppress: there is no code `{code}`; -L lists them"
            ))
        })?;
        if object.as_ref().is_some_and(|o| !o.contains(' ')) {
            return Err(Trouble::new(format!(
                "--suppress: write `{code}=Kind namespace/name`"
            )));
        }
        Ok(Self {
            code: known.code.0,
            object,
        })
    }

    fn covers(&self, finding: &Diagnostic) -> bool {
        let Some(object) = &self.object else {
            return finding.code.0 == self.code;
        };
        let name = finding
            .resource
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let matches = object
            .strip_suffix('*')
            .map_or_else(|| name == *object, |prefix| name.starts_with(prefix));
        finding.code.0 == self.code && matches
    }
}
