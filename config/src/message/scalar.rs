//! Scalars by protobuf's JSON rules, with the leniency Istio's users are used to.

use std::time::Duration;

use super::{Cx, FromNode, Shape};
use crate::diag::codes;
use crate::yaml::{Node, Plain, Value};

impl FromNode for String {
    fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self> {
        match &node.value {
            Value::Scalar { text, plain } if !plain || Plain::of(text) == Plain::Text => {
                Some(text.to_string())
            }
            Value::Scalar { text, .. } if !cx.quiet => {
                let message = format!("expected a string, found {} `{text}`", node.describe());
                cx.report(
                    codes::SP0003,
                    node,
                    message,
                    Some(format!("quote it: \"{text}\"")),
                );
                None
            }
            _ => {
                cx.mismatch(node, "a string");
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::Scalar("string")
    }
}

impl FromNode for bool {
    fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self> {
        // yes, no, on and off are YAML 1.1, which Kubernetes still reads
        match (&node.value, node.scalar().unwrap_or_default()) {
            (
                Value::Scalar { plain: true, .. },
                "true" | "True" | "TRUE" | "yes" | "Yes" | "on" | "On",
            ) => Some(true),
            (
                Value::Scalar { plain: true, .. },
                "false" | "False" | "FALSE" | "no" | "No" | "off" | "Off",
            ) => Some(false),
            (Value::Scalar { plain: false, .. }, text @ ("true" | "false")) => {
                let message = format!("expected a boolean, found the string \"{text}\"");
                cx.report(
                    codes::SP0003,
                    node,
                    message,
                    Some(format!("write {text} without quotes")),
                );
                None
            }
            _ => {
                cx.mismatch(node, "a boolean");
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::Scalar("bool")
    }
}

/// The number in a scalar, quoted or not.
fn number(node: &Node) -> Option<Plain> {
    match Plain::of(node.scalar()?) {
        Plain::Bool(_) | Plain::Text => None,
        number => Some(number),
    }
}

/// Whole numbers: also as a string, and also with a zero fraction (`1e3`).
fn integer(node: &Node) -> Option<i128> {
    match number(node)? {
        Plain::Int(i) => Some(i),
        Plain::Float(f) if f.fract() == 0.0 && f.abs() < 9_007_199_254_740_992.0 => {
            format!("{f:.0}").parse().ok()
        }
        _ => None,
    }
}

macro_rules! integers {
    ($($ty:ident $name:literal;)*) => {$(
        impl FromNode for $ty {
            fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self> {
                let Some(value) = integer(node) else {
                    cx.mismatch(node, "a whole number");
                    return None;
                };
                let fits = Self::try_from(value).ok();
                if fits.is_none() {
                    let message = format!("{value} is out of range, {} to {}", Self::MIN, Self::MAX);
                    cx.report(codes::SP0003, node, message, None);
                }
                fits
            }
            fn shape() -> Shape {
                Shape::Scalar($name)
            }
        }
    )*};
}

integers! {
    u16 "port";
    i32 "int32";
    u32 "uint32";
    i64 "int64";
    u64 "uint64";
}

impl FromNode for f64 {
    fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self> {
        match number(node) {
            Some(Plain::Float(f)) => Some(f),
            // the decimal text is the exact way from an integer to the nearest float
            Some(Plain::Int(i)) => i.to_string().parse().ok(),
            _ => {
                cx.mismatch(node, "a number");
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::Scalar("double")
    }
}

impl FromNode for Duration {
    fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self> {
        let parsed = node.scalar().map(go_duration);
        match parsed {
            Some(Ok(duration)) => Some(duration),
            Some(Err(why)) => {
                let message = format!(
                    "`{}` is not a duration: {why}",
                    node.scalar().unwrap_or_default()
                );
                cx.report(
                    codes::SP0003,
                    node,
                    message,
                    Some("write it like 30s, 250ms or 1h30m".to_owned()),
                );
                None
            }
            None => {
                cx.mismatch(node, "a duration like 30s");
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::Scalar("duration")
    }
}

/// Parses Go's `time.ParseDuration` syntax; negative durations are refused because no field of
/// Istio takes one.
pub(crate) fn go_duration(text: &str) -> Result<Duration, &'static str> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.starts_with('-') {
        return Err("it is negative");
    }
    if rest.is_empty() {
        return Err("it is empty");
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or("it has no unit")?;
        let (amount, after) = rest.split_at(digits);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        nanos = nanos
            .checked_add(part(amount, unit)?)
            .ok_or("it is too long")?;
        rest = next;
    }
    let nanos = i64::try_from(nanos).map_err(|_| "it is longer than 292 years")?;
    Ok(Duration::from_nanos(nanos.unsigned_abs()))
}

/// One amount with its unit, in nanoseconds.
fn part(amount: &str, unit: &str) -> Result<u128, &'static str> {
    let scale: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err("the units are h, m, s, ms, us and ns"),
    };
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err("a number is missing");
    }
    let digits = |text: &str| {
        if text.is_empty() {
            Ok(0)
        } else {
            text.parse::<u128>().map_err(|_| "it is too long")
        }
    };
    // beyond 18 digits a fraction is below a nanosecond of an hour
    let fraction = fraction.get(..fraction.len().min(18)).unwrap_or_default();
    let exponent = u32::try_from(fraction.len()).unwrap_or(0);
    let below = digits(fraction)?
        .checked_mul(scale)
        .ok_or("it is too long")?
        / 10u128.pow(exponent);
    digits(whole)?
        .checked_mul(scale)
        .and_then(|n| n.checked_add(below))
        .ok_or("it is too long")
}

/// A port by number or by name (Kubernetes' `IntOrString`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntOrString {
    /// By number.
    Int(u32),
    /// By name.
    Name(String),
}

impl FromNode for IntOrString {
    fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self> {
        match &node.value {
            Value::Scalar { text, plain: true } if Plain::of(text) != Plain::Text => {
                u32::from_node(node, cx).map(Self::Int)
            }
            _ => String::from_node(node, cx).map(Self::Name),
        }
    }
    fn shape() -> Shape {
        Shape::Scalar("int or string")
    }
}

/// Bytes, written in base64. Debug shows only the length, because secrets are made of them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({} bytes)", self.0.len())
    }
}

impl FromNode for Bytes {
    fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self> {
        let Some(text) = node.scalar() else {
            cx.mismatch(node, "base64 text");
            return None;
        };
        let decoded = base64(text);
        if decoded.is_none() {
            // the text may be a key: say what is wrong, never what it is
            cx.report(codes::SP0003, node, "expected base64 text".to_owned(), None);
        }
        decoded.map(Self)
    }
    fn shape() -> Shape {
        Shape::Scalar("bytes")
    }
}

/// Text that Debug and diagnostics never show.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SecretText(pub String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretText({} bytes)", self.0.len())
    }
}

impl FromNode for SecretText {
    fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self> {
        if let Value::Scalar { text, .. } = &node.value {
            return Some(Self(text.to_string()));
        }
        cx.mismatch(node, "a string");
        None
    }
    fn shape() -> Shape {
        Shape::Scalar("string")
    }
}

/// Decodes base64, standard or URL-safe, padded or not; line breaks are allowed (RFC 4648, MIME).
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    let text = text.trim_end_matches(['\n', '\r', ' ']);
    let body = text.trim_end_matches('=');
    if text.len() - body.len() > 2 {
        return None;
    }
    for b in body.bytes() {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'\n' | b'\r' | b' ' => continue,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    // six bits over are half a byte: the text was cut
    (held < 6 && bits == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::{base64, go_duration};
    use std::time::Duration;

    #[test]
    fn durations_are_go_durations() {
        let ms = Duration::from_millis;
        let cases = [
            ("30s", Ok(ms(30_000))),
            ("1h30m", Ok(ms(5_400_000))),
            ("100ms", Ok(ms(100))),
            ("1.5s", Ok(ms(1_500))),
            (".5s", Ok(ms(500))),
            ("0", Ok(ms(0))),
            ("0s", Ok(ms(0))),
            ("1h0m0.25s", Ok(ms(3_600_250))),
            ("250us", Ok(Duration::from_micros(250))),
            ("-1s", Err("it is negative")),
            ("30", Err("it has no unit")),
            ("30 s", Err("the units are h, m, s, ms, us and ns")),
            ("s", Err("a number is missing")),
            ("1.2.3s", Err("a number is missing")),
            ("", Err("it is empty")),
            ("9999999999h", Err("it is longer than 292 years")),
            (
                "99999999999999999999999999999999999999999h",
                Err("it is too long"),
            ),
        ];
        for (text, want) in cases {
            assert_eq!(go_duration(text), want, "{text}");
        }
    }

    #[test]
    fn base64_is_strict_about_content_and_lenient_about_layout() {
        let cases: [(&str, Option<&[u8]>); 9] = [
            ("aGVsbG8=", Some(b"hello")),
            ("aGVsbG8", Some(b"hello")),
            ("aGVs\nbG8=\n", Some(b"hello")),
            ("_-8=", Some(b"\xff\xef")),
            ("", Some(b"")),
            ("a", None),
            ("aGVsbG9=", None),
            ("aGV*", None),
            ("====", None),
        ];
        for (text, want) in cases {
            assert_eq!(base64(text).as_deref(), want, "{text}");
        }
    }
}
