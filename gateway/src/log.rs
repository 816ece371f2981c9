//! What the process says about itself, on standard error; the access log is [`access`].
//!
//! One line an event: a level, what it is about, a message, and named values. A line is written
//! with a single call, so that lines of several threads do not mix.

mod access;

pub(crate) use access::{AccessLog, LogWriter};

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Something that was asked for does not happen.
    Error,
    /// Somebody should look at this.
    Warn,
    /// What the process does.
    Info,
    /// What the process does in detail.
    Debug,
}

impl Level {
    const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// `error`, `warn`, `info` or `debug`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl FromStr for Level {
    type Err = String;
    /// Envoy's further names are understood: `critical`, `warning`, `trace`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "error" | "critical" | "off" => Ok(Self::Error),
            "warn" | "warning" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" | "trace" => Ok(Self::Debug),
            _ => Err("expected error, warn, info or debug".to_owned()),
        }
    }
}

/// Form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json".to_owned()),
        }
    }
}

// Process-wide on purpose: a logger is no part of anything's input or output. Read relaxed: a line
// more or less while the level changes does not matter.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static JSON: AtomicBool = AtomicBool::new(false);

/// Sets the least level that is written.
pub(crate) fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// The least level that is written.
pub(crate) fn level() -> Level {
    let number = usize::from(LEVEL.load(Ordering::Relaxed));
    Level::ALL.get(number).copied().unwrap_or(Level::Debug)
}

/// Sets the form of lines.
pub(crate) fn set_format(format: Format) {
    JSON.store(format == Format::Json, Ordering::Relaxed);
}

/// Writes a line: `about` is one word (`config`, `listener`), `values` are named details.
pub(crate) fn write(
    level: Level,
    about: &'static str,
    message: fmt::Arguments<'_>,
    values: &[(&str, &dyn fmt::Display)],
) {
    if level > self::level() {
        return;
    }
    let line = if JSON.load(Ordering::Relaxed) {
        json_line(SystemTime::now(), level, about, message, values)
    } else {
        text_line(SystemTime::now(), level, about, message, values)
    };
    // Nobody is left to be told when standard error is gone.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// An error line without details.
pub(crate) fn error(about: &'static str, message: impl fmt::Display) {
    write(Level::Error, about, format_args!("{message}"), &[]);
}

/// A warning line without details.
pub(crate) fn warn(about: &'static str, message: impl fmt::Display) {
    write(Level::Warn, about, format_args!("{message}"), &[]);
}

/// An information line without details.
pub(crate) fn info(about: &'static str, message: impl fmt::Display) {
    write(Level::Info, about, format_args!("{message}"), &[]);
}

/// A debug line without details.
pub(crate) fn debug(about: &'static str, message: impl fmt::Display) {
    write(Level::Debug, about, format_args!("{message}"), &[]);
}

fn text_line(
    now: SystemTime,
    level: Level,
    about: &str,
    message: fmt::Arguments<'_>,
    values: &[(&str, &dyn fmt::Display)],
) -> String {
    let mut line = format!("{} {:5} {about}: {message}", Stamp(now), level.as_str());
    for (name, value) in values {
        // Writing to a string cannot fail.
        let _ = write!(line, " {name}={value}");
    }
    line.push('\n');
    line
}

fn json_line(
    now: SystemTime,
    level: Level,
    about: &str,
    message: fmt::Arguments<'_>,
    values: &[(&str, &dyn fmt::Display)],
) -> String {
    let mut object = serde_json::Map::new();
    object.insert("time".to_owned(), Stamp(now).to_string().into());
    object.insert("level".to_owned(), level.as_str().into());
    object.insert("scope".to_owned(), about.into());
    object.insert("msg".to_owned(), message.to_string().into());
    for (name, value) in values {
        object.insert((*name).to_owned(), value.to_string().into());
    }
    format!("{}\n", serde_json::Value::Object(object))
}

/// A time as RFC 3339 in UTC with milliseconds: `2026-01-02T03:04:05.678Z`.
pub(crate) struct Stamp(pub(crate) SystemTime);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        let (second, milli) = (second % 60, since.subsec_millis());
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"
        )
    }
}

/// Year, month and day of a number of days since 1970-01-01. Years are counted from March, so that
/// the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Lets one line through in a while and counts the others: for what any client can cause. One for
/// each place that logs, as a `static`.
#[derive(Debug)]
pub(crate) struct Throttle {
    next_ms: AtomicU64,
    held_back: AtomicU64,
}

impl Throttle {
    /// Time between two lines.
    const EVERY: Duration = Duration::from_secs(1);

    /// One that lets the next line through.
    pub(crate) const fn new() -> Self {
        Self {
            next_ms: AtomicU64::new(0),
            held_back: AtomicU64::new(0),
        }
    }

    /// Whether to write now, and how many lines were held back since the last one.
    pub(crate) fn permit(&self) -> Option<u64> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.permit_at(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }

    fn permit_at(&self, now_ms: u64) -> Option<u64> {
        let next = self.next_ms.load(Ordering::Relaxed);
        let later = now_ms.saturating_add(1_000 * Self::EVERY.as_secs());
        // Two threads at the same moment: one of them writes. A clock set back by more than the
        // interval must not silence the place for long.
        let due = now_ms >= next || next > later;
        if due
            && self
                .next_ms
                .compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Writes a line if it is time for one.
    pub(crate) fn warn(&self, about: &'static str, message: impl fmt::Display) {
        match self.permit() {
            Some(0) => warn(about, message),
            Some(held_back) => write(
                Level::Warn,
                about,
                format_args!("{message}"),
                &[("more_like_this", &held_back)],
            ),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.250Z"),
            (951_782_399, "2000-02-28T23:59:59.250Z"),
            (951_782_400, "2000-02-29T00:00:00.250Z"),
            (4_107_542_400, "2100-03-01T00:00:00.250Z"),
            (1_767_323_045, "2026-01-02T03:04:05.250Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(seconds * 1_000 + 250);
            assert_eq!(Stamp(time).to_string(), text);
        }
    }

    #[test]
    fn both_forms_carry_the_values() {
        let values: &[(&str, &dyn fmt::Display)] = &[("port", &80), ("owner", &"n\"x")];
        let text = text_line(
            UNIX_EPOCH,
            Level::Warn,
            "listener",
            format_args!("taken"),
            values,
        );
        assert_eq!(
            text,
            "1970-01-01T00:00:00.000Z warn  listener: taken port=80 owner=n\"x\n"
        );
        let json = json_line(
            UNIX_EPOCH,
            Level::Warn,
            "listener",
            format_args!("taken"),
            values,
        );
        assert_eq!(
            json,
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"warn\",\"scope\":\"listener\",\
             \"msg\":\"taken\",\"port\":\"80\",\"owner\":\"n\\\"x\"}\n"
        );
    }

    #[test]
    fn noise_is_held_back_and_counted() {
        let throttle = Throttle::new();
        assert_eq!(throttle.permit_at(5_000), Some(0));
        assert_eq!(throttle.permit_at(5_001), None);
        assert_eq!(throttle.permit_at(5_999), None);
        assert_eq!(throttle.permit_at(6_000), Some(2));
        assert_eq!(throttle.permit_at(1_000), Some(0), "the clock was set back");
    }
}
