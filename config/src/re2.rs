//! RE2's regexes, as Istio's users write them, in the syntax of the `regex` crate.
//!
//! The two differ where it hurts silently: RE2's `\d`, `\w`, `\s` and `\b` are ASCII, its classes
//! know neither nesting nor `&&`, and it has `\Q…\E`.

use regex::bytes::{Regex, RegexBuilder};

/// Bytes that a compiled program may take.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Compiles a pattern that must match a whole value.
///
/// # Errors
/// Not RE2's syntax, or larger than [`PATTERN_BYTES_MAX`].
pub fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    // checked alone first: `a)(b` must not become right by what stands around it
    compile(&translate(pattern))?;
    compile(&format!(r"\A(?:{})\z", translate(pattern)))
}

/// Compiles a pattern that may match anywhere.
///
/// # Errors
/// As [`whole`].
pub fn part(pattern: &str) -> Result<Regex, regex::Error> {
    compile(&translate(pattern))
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
}

/// Rewrites what means something else in the `regex` crate.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut class = None;
    while let Some(char) = rest.chars().next() {
        let at_start = class == Some(Class::Start);
        if class.is_some() {
            class = Some(Class::Inside);
        }
        if let Some((text, tail)) = quoted(rest) {
            out.push_str(&regex::escape(text));
            rest = tail;
            continue;
        }
        let taken = match (char, class) {
            ('\\', _) => escape(rest, class.is_some(), &mut out),
            ('[', Some(_)) => bracket(rest, &mut out),
            (']', Some(_)) if at_start => literal(char, &mut out),
            (']', Some(_)) => {
                class = None;
                plain(char, &mut out)
            }
            ('&' | '~', Some(_)) => literal(char, &mut out),
            // a range up to the dash, not a difference of classes
            ('-', Some(_)) if rest.starts_with("--") => {
                out.push_str(r"-\-");
                2
            }
            ('[', None) => {
                class = Some(Class::Start);
                let negated = rest.starts_with("[^");
                out.push_str(if negated { "[^" } else { "[" });
                if negated { 2 } else { 1 }
            }
            (char, _) => plain(char, &mut out),
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Right behind `[` or `[^`, where `]` is a character.
    Start,
    Inside,
}

fn plain(char: char, out: &mut String) -> usize {
    out.push(char);
    char.len_utf8()
}

fn literal(char: char, out: &mut String) -> usize {
    out.push('\\');
    plain(char, out)
}

/// `\Qtext\E`: what stands inside and what follows.
fn quoted(rest: &str) -> Option<(&str, &str)> {
    let inner = rest.strip_prefix(r"\Q")?;
    Some(inner.split_once(r"\E").unwrap_or((inner, "")))
}

/// `[` inside a class: a POSIX class, else a character.
fn bracket(rest: &str, out: &mut String) -> usize {
    match rest.find(":]") {
        Some(end) if rest.starts_with("[:") => {
            out.push_str(rest.get(..end + 2).unwrap_or_default());
            end + 2
        }
        _ => literal('[', out),
    }
}

/// A backslash and what belongs to it.
fn escape(rest: &str, class: bool, out: &mut String) -> usize {
    let mut chars = rest.chars();
    chars.next();
    let Some(letter) = chars.next() else {
        out.push('\\');
        return 1;
    };
    let set = match letter.to_ascii_lowercase() {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        's' => r"\t\n\f\r ",
        'b' if !class => {
            out.push_str(if letter == 'b' {
                r"(?-u:\b)"
            } else {
                r"(?-u:\B)"
            });
            return 2;
        }
        _ => {
            out.push('\\');
            return 1 + plain(letter, out);
        }
    };
    match (letter.is_ascii_uppercase(), class) {
        (false, true) => out.push_str(set),
        (false, false) => out.extend(["[", set, "]"]),
        (true, _) => out.extend(["[^", set, "]"]),
    }
    2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_re2_means() {
        for (pattern, value, want) in [
            ("a|b", "a", true),
            ("a|b", "ab", false),
            ("a$", "a", true),
            ("", "", true),
            (r"\d+", "12", true),
            (r"\d+", "١٢", false),
            (r"[\d.]+", "1.2", true),
            (r"[\d]", "١", false),
            (r"\D", "é", true),
            (r"[\W]", "é", true),
            (r"\w", "é", false),
            (r"\S\s", "x\u{b}", false),
            (r"x\b.*", "x/é", true),
            ("a.c", "aéc", true),
            ("[é]", "é", true),
            (r"\pL+", "éa", true),
            ("(?i)abc", "aBC", true),
            ("[[]", "[", true),
            ("[]a]+", "]a", true),
            ("[^]a]", "b", true),
            ("[[:digit:]x]+", "1x", true),
            ("[a&&b]+", "a&b", true),
            ("[+--]", ",", true),
            ("[a~~b]+", "a~b", true),
            (r"[\]]", "]", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"\Q.*", "x", false),
            ("a)(b", "ab", false),
            ("(", "(", false),
            (r"\", r"\", false),
            (r"\.", ".", true),
        ] {
            let found = whole(pattern).is_ok_and(|regex| regex.is_match(value.as_bytes()));
            assert_eq!(found, want, "{pattern} on {value}");
        }
    }

    #[test]
    fn large_programs_are_refused() {
        assert!(whole("((a{100}){100}){100}").is_err());
    }
}
