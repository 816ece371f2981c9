//! `%START_TIME(format)%`: strftime's common letters and Envoy's fractions, in UTC.

use std::io::Write as _;

/// A time format with its letters resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeFormat(Box<[Token]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(Box<[u8]>),
    Year,
    ShortYear,
    Month,
    MonthName,
    Day,
    DaySpaced,
    DayOfYear,
    DayName,
    Hour,
    Minute,
    Second,
    /// `%3f`: that many digits of the second's fraction.
    Fraction(u32),
    /// `%E3S`: seconds with that many digits of fraction.
    SecondFraction(u32),
    /// `%s`
    Epoch,
}

/// Envoy's default.
const DEFAULT: &str = "%Y-%m-%dT%H:%M:%E3SZ";

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

impl TimeFormat {
    /// Reads a format; none is `2026-01-02T03:04:05.678Z`. Unknown letters stay as they are.
    #[must_use]
    pub fn new(format: Option<&str>) -> Self {
        let mut tokens = Vec::new();
        let mut rest = format.filter(|f| !f.is_empty()).unwrap_or(DEFAULT);
        while let Some(char) = rest.chars().next() {
            match rest.strip_prefix('%').and_then(letter) {
                Some((found, tail)) => {
                    tokens.extend(found);
                    rest = tail;
                }
                None => {
                    let (text, tail) = rest.split_at(char.len_utf8());
                    tokens.push(Token::Text(text.as_bytes().into()));
                    rest = tail;
                }
            }
        }
        Self(tokens.into())
    }

    /// Appends a time given in microseconds since 1970.
    pub fn write(&self, at_us: u64, out: &mut Vec<u8>) {
        let seconds = at_us / 1_000_000;
        let micros = at_us % 1_000_000;
        let date = Date::of(seconds / 86_400);
        let second = seconds % 60;
        for token in &self.0 {
            // Writing to a vector cannot fail.
            let _: std::io::Result<()> = match token {
                Token::Text(text) => out.write_all(text),
                Token::Year => write!(out, "{:04}", date.year),
                Token::ShortYear => write!(out, "{:02}", date.year % 100),
                Token::Month => write!(out, "{:02}", date.month),
                Token::MonthName => write!(out, "{}", name(&MONTHS, date.month - 1)),
                Token::Day => write!(out, "{:02}", date.day),
                Token::DaySpaced => write!(out, "{:2}", date.day),
                Token::DayOfYear => write!(out, "{:03}", date.day_of_year),
                Token::DayName => write!(out, "{}", name(&DAYS, date.weekday)),
                Token::Hour => write!(out, "{:02}", seconds / 3_600 % 24),
                Token::Minute => write!(out, "{:02}", seconds / 60 % 60),
                Token::Second => write!(out, "{second:02}"),
                Token::Fraction(digits) => fraction(micros, *digits, out),
                Token::SecondFraction(digits) => {
                    write!(out, "{second:02}.").and_then(|()| fraction(micros, *digits, out))
                }
                Token::Epoch => write!(out, "{seconds}"),
            };
        }
    }
}

/// The tokens of a letter behind `%`, and what follows it.
fn letter(text: &str) -> Option<(Vec<Token>, &str)> {
    let mut chars = text.chars();
    let separator = |byte: &[u8]| Token::Text(byte.into());
    let tokens = match chars.next()? {
        'Y' => vec![Token::Year],
        'y' => vec![Token::ShortYear],
        'm' => vec![Token::Month],
        'b' | 'h' => vec![Token::MonthName],
        'd' => vec![Token::Day],
        'e' => vec![Token::DaySpaced],
        'j' => vec![Token::DayOfYear],
        'a' => vec![Token::DayName],
        'H' => vec![Token::Hour],
        'M' => vec![Token::Minute],
        'S' => vec![Token::Second],
        's' => vec![Token::Epoch],
        'f' => vec![Token::Fraction(9)],
        'z' => vec![separator(b"+0000")],
        'Z' => vec![separator(b"UTC")],
        '%' => vec![separator(b"%")],
        'F' => vec![
            Token::Year,
            separator(b"-"),
            Token::Month,
            separator(b"-"),
            Token::Day,
        ],
        'T' => vec![
            Token::Hour,
            separator(b":"),
            Token::Minute,
            separator(b":"),
            Token::Second,
        ],
        'E' => {
            let digits = chars.next()?.to_digit(10)?;
            chars.next().filter(|char| *char == 'S')?;
            vec![Token::SecondFraction(digits.clamp(1, 9))]
        }
        digit => {
            let digits = digit.to_digit(10)?;
            chars.next().filter(|char| *char == 'f')?;
            vec![Token::Fraction(digits.clamp(1, 9))]
        }
    };
    Some((tokens, chars.as_str()))
}

/// The first `digits` (1..=9) digits of a fraction given in microseconds.
fn fraction(micros: u64, digits: u32, out: &mut Vec<u8>) -> std::io::Result<()> {
    let value = micros * 1_000 / 10_u64.pow(9 - digits.min(9));
    let width = usize::try_from(digits).unwrap_or_default();
    write!(out, "{value:0width$}")
}

fn name(names: &[&'static str], index: u64) -> &'static str {
    let index = usize::try_from(index).unwrap_or_default();
    names.get(index).copied().unwrap_or("?")
}

/// A day of the Gregorian calendar.
struct Date {
    year: u64,
    month: u64,
    day: u64,
    day_of_year: u64,
    weekday: u64,
}

impl Date {
    /// Days since 1970, by counting eras of 400 years from 1 March of the year 0.
    fn of(days: u64) -> Self {
        const TO_1970: u64 = 719_468;
        const ERA: u64 = 146_097;
        let shifted = days + TO_1970;
        let in_era = shifted % ERA;
        let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
        let from_march = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * from_march + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = shifted / ERA * 400 + year_of_era + u64::from(month <= 2);
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let january_first = if month > 2 {
            from_march + 60 + u64::from(leap)
        } else {
            from_march - 305
        };
        Self {
            year,
            month,
            day: from_march - (153 * month_from_march + 2) / 5 + 1,
            day_of_year: january_first,
            weekday: (days + 4) % 7,
        }
    }
}
