//! Time of day without asking for it: the worker's monotonic clock plus an offset that is measured
//! a few times a second.

use std::cell::{Cell, RefCell};
use std::time::{SystemTime, UNIX_EPOCH};

use sallyport_core::time::Now;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Time of day of a worker.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Microseconds between 1970 and the start of the monotonic clock.
    offset: Cell<u64>,
    date: RefCell<(u64, [u8; 29])>,
}

impl Clock {
    /// A clock that is right at `now`.
    pub(super) fn new(now: Now) -> Self {
        let clock = Self {
            offset: Cell::new(0),
            date: RefCell::new((u64::MAX, [b' '; 29])),
        };
        clock.adjust(now);
        clock
    }

    /// Makes the clock right again after the system's was set.
    pub(super) fn adjust(&self, now: Now) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = since.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(0));
        self.offset.set(wall.saturating_sub(now.0));
    }

    /// Microseconds since 1970.
    pub(crate) fn unix_micros(&self, now: Now) -> u64 {
        self.offset.get().saturating_add(now.0)
    }

    /// The value of a `date` field (RFC 9110 §5.6.7), made once a second.
    pub(crate) fn date(&self, now: Now) -> [u8; 29] {
        let second = self.unix_micros(now) / 1_000_000;
        let mut date = self.date.borrow_mut();
        if date.0 != second {
            *date = (second, imf_fixdate(second));
        }
        date.1
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(unix: u64) -> [u8; 29] {
    let (days, second) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    let name = |table: &[&'static str], at: u64| {
        let at = usize::try_from(at).unwrap_or(0);
        table.get(at).copied().unwrap_or("???")
    };
    let text = format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(&DAYS, days % 7),
        name(&MONTHS, month - 1),
        second / 3_600,
        second / 60 % 60,
        second % 60
    );
    text.as_bytes().try_into().unwrap_or([b'0'; 29])
}

/// Year, month and day of a day since 1970, by whole 400-year eras that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + carry, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_imf_fixdates() {
        let cases = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"),
        ];
        for (unix, text) in cases {
            assert_eq!(imf_fixdate(unix), *text.as_bytes(), "{text}");
        }
    }
}
