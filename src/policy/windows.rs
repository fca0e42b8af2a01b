//! When a row is in force: `mon-fri 08:00-18:00 Europe/Berlin`, as clocks on the wall show it there.
//!
//! The zone data is part of the program, so that replicas agree whatever their machines know.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::time::{Lifetime, Time};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY: u32 = 86_400;
const WEEK: u32 = 7 * DAY;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A stretch of the week in seconds since Monday 00:00; the end is not part of it.
type Stretch = std::ops::Range<u32>;

/// One entry of `when`.
#[derive(Clone, Debug)]
pub(super) struct Window {
    zone: TimeZone,
    stretches: Vec<Stretch>,
}

impl Window {
    /// Reads days, times and a time zone. A window whose end is not after its begin ends on the next
    /// day.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let &[days, times, zone] = words.as_slice() else {
            return Err(
                "write days, times and a time zone, as in mon-fri 08:00-18:00 Europe/Berlin".to_owned()
            );
        };
        let days = read_days(days)?;
        let (begin, end) = read_times(times)?;
        let end = if end > begin { end } else { end.saturating_add(DAY) };
        let at = |day: u32, second: u32| day.saturating_mul(DAY).saturating_add(second);
        let stretches = days.into_iter().flat_map(|day| within_week(at(day, begin), at(day, end)));
        Ok(Self { zone: read_zone(zone)?, stretches: stretches.collect() })
    }
}

/// All entries of one row's `when`.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    /// As they are written.
    texts: Vec<String>,
    zone: TimeZone,
    /// Sorted, none empty, and none touches another.
    stretches: Vec<Stretch>,
}

impl Windows {
    /// Windows that touch become one.
    ///
    /// # Errors
    /// A sentence where they are not all of one time zone.
    pub(super) fn joined(texts: &[String], windows: Vec<Window>) -> Result<Self, String> {
        let zone = windows.first().map_or(TimeZone::UTC, |window| window.zone.clone());
        if windows.iter().any(|window| window.zone != zone) {
            return Err("all windows of a row are of one time zone: write a row for each".to_owned());
        }
        let mut all: Vec<Stretch> = windows.into_iter().flat_map(|window| window.stretches).collect();
        all.sort_by_key(|stretch| stretch.start);
        let mut stretches: Vec<Stretch> = Vec::with_capacity(all.len());
        for stretch in all {
            match stretches.last_mut() {
                Some(last) if stretch.start <= last.end => last.end = last.end.max(stretch.end),
                _ => stretches.push(stretch),
            }
        }
        Ok(Self { texts: texts.to_vec(), zone, stretches })
    }

    /// As they are written.
    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// How long they stay open from `now` on, ten years at most; `None` where they are closed.
    pub(super) fn open_for(&self, now: Time) -> Option<Lifetime> {
        if !self.is_open(instant(now)) {
            return None;
        }
        let left = self.next_change(now).and_then(|end| u32::try_from(end.seconds_since(now)).ok());
        Some(left.map_or(Lifetime::MOST, Lifetime::from_seconds).min(Lifetime::MOST))
    }

    /// When they open, where they are closed at `now`.
    pub(super) fn opens_at(&self, now: Time) -> Option<Time> {
        if self.is_open(instant(now)) { None } else { self.next_change(now) }
    }

    /// The first instant after `now` at which the clock on the wall passes an end of a window or
    /// jumps over one.
    fn next_change(&self, now: Time) -> Option<Time> {
        let mut at = instant(now);
        let open = self.is_open(at);
        loop {
            let change = after(at, self.until_change(self.second_of_week(at), open)?);
            let jump = self.zone.following(at).next().map(|jump| jump.timestamp());
            match jump.filter(|jump| *jump <= change) {
                Some(jump) if self.is_open(jump) == open => at = jump,
                Some(jump) => return Some(Time::from_unix(jump.as_second())),
                None => return Some(Time::from_unix(change.as_second())),
            }
        }
    }

    /// Seconds from `second` on until the week is no longer `open`, or is again, on a clock that
    /// never jumps.
    fn until_change(&self, second: u32, open: bool) -> Option<u32> {
        let first = self.stretches.first()?;
        if !open {
            let next = self.stretches.iter().find(|stretch| stretch.start > second);
            let start = next.map_or(first.start.saturating_add(WEEK), |stretch| stretch.start);
            return start.checked_sub(second);
        }
        let end = self.stretches.iter().find(|stretch| stretch.contains(&second))?.end;
        match (end, first.start) {
            (WEEK, 0) if first.end == WEEK => None,
            (WEEK, 0) => WEEK.saturating_add(first.end).checked_sub(second),
            _ => end.checked_sub(second),
        }
    }

    fn is_open(&self, at: Timestamp) -> bool {
        let second = self.second_of_week(at);
        self.stretches.iter().any(|stretch| stretch.contains(&second))
    }

    fn second_of_week(&self, at: Timestamp) -> u32 {
        let local = self.zone.to_datetime(at);
        let of = |field: i8, seconds: u32| u32::try_from(field).unwrap_or(0).saturating_mul(seconds);
        let day = of(local.weekday().to_monday_zero_offset(), DAY);
        [of(local.hour(), 3_600), of(local.minute(), 60), of(local.second(), 1)]
            .into_iter()
            .fold(day, u32::saturating_add)
    }
}

fn instant(time: Time) -> Timestamp {
    let furthest = if time.unix() < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(time.unix()).unwrap_or(furthest)
}

fn after(at: Timestamp, seconds: u32) -> Timestamp {
    Timestamp::from_second(at.as_second().saturating_add(i64::from(seconds))).unwrap_or(Timestamp::MAX)
}

/// From `start` to `end`, and what of it lies in the next week at the beginning of this one.
fn within_week(start: u32, end: u32) -> impl Iterator<Item = Stretch> {
    let over = end.saturating_sub(WEEK);
    [start..end.min(WEEK), 0..over].into_iter().filter(|stretch| !stretch.is_empty())
}

fn read_days(text: &str) -> Result<Vec<u32>, String> {
    let wrong = || {
        format!(
            "`{}` are no days: write mon, tue, wed, thu, fri, sat, sun, mon-fri or sat,sun",
            text.escape_debug()
        )
    };
    let place = |name: &str| DAYS.iter().zip(0..).find(|(day, _)| **day == name).map(|(_, place)| place);
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = place(first).zip(place(last)).ok_or_else(wrong)?;
        // `sat-mon` goes over the end of the week.
        let count = last.saturating_add(7).saturating_sub(first) % 7;
        days.extend((0..=count).map(|more| first.saturating_add(more) % 7));
    }
    Ok(days)
}

fn read_times(text: &str) -> Result<(u32, u32), String> {
    let wrong =
        || format!("`{}` are no times: write them as in 08:00-18:00, up to 24:00", text.escape_debug());
    let (begin, end) = text.split_once('-').ok_or_else(wrong)?;
    let (begin, end) = read_clock(begin).zip(read_clock(end)).ok_or_else(wrong)?;
    if begin == DAY || begin == end {
        return Err(wrong());
    }
    Ok((begin, end))
}

/// `HH:MM` in seconds since midnight.
fn read_clock(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| -> Option<u32> {
        let sound = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        sound.then(|| digits.parse().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let second = hours.checked_mul(3_600)?.checked_add(minutes.checked_mul(60)?)?;
    (minutes < 60 && second <= DAY).then_some(second)
}

fn read_zone(text: &str) -> Result<TimeZone, String> {
    let zone = ZONES.get(text).ok().filter(|zone| zone.iana_name() == Some(text));
    zone.ok_or_else(|| {
        format!("there is no time zone `{}`: write UTC, or one as in Europe/Berlin", text.escape_debug())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(entries: &[&str]) -> Result<Windows, String> {
        let texts: Vec<String> = entries.iter().map(ToString::to_string).collect();
        Windows::joined(&texts, texts.iter().map(|text| Window::parse(text).expect(text)).collect())
    }

    fn windows(entries: &[&str]) -> Windows {
        joined(entries).expect("windows")
    }

    fn time(text: &str) -> Time {
        Time::parse(text).expect("a time")
    }

    /// Until when the windows stay open.
    fn open_until(windows: &Windows, now: &str) -> Option<String> {
        let now = time(now);
        windows.open_for(now).map(|left| now.after(left).to_string())
    }

    fn opens(windows: &Windows, now: &str) -> Option<String> {
        windows.opens_at(time(now)).map(|at| at.to_string())
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_until_its_end() {
        let office = windows(&["mon-fri 08:00-18:00 Europe/Berlin"]);
        let end = Some("2026-06-01T16:00:00Z".to_owned());
        for now in ["2026-06-01T06:00:00Z", "2026-06-01T12:34:56Z", "2026-06-01T15:59:59Z"] {
            assert_eq!(open_until(&office, now), end, "{now}");
            assert_eq!(opens(&office, now), None, "{now}");
        }
        for (now, next) in [
            ("2026-06-01T05:59:59Z", "2026-06-01T06:00:00Z"),
            ("2026-06-01T16:00:00Z", "2026-06-02T06:00:00Z"),
            ("2026-06-05T16:00:00Z", "2026-06-08T06:00:00Z"),
            ("2026-06-07T12:00:00Z", "2026-06-08T06:00:00Z"),
        ] {
            assert_eq!(open_until(&office, now), None, "{now}");
            assert_eq!(opens(&office, now).as_deref(), Some(next), "{now}");
        }
    }

    #[test]
    fn summer_time_moves_a_window_with_the_clocks_on_the_wall() {
        let office = windows(&["mon-fri 08:00-18:00 Europe/Berlin"]);
        // 2026-03-29 and 2026-10-25 are the Sundays of the changes.
        assert_eq!(opens(&office, "2026-03-28T12:00:00Z").as_deref(), Some("2026-03-30T06:00:00Z"));
        assert_eq!(opens(&office, "2026-03-27T05:00:00Z").as_deref(), Some("2026-03-27T07:00:00Z"));
        assert_eq!(opens(&office, "2026-10-24T12:00:00Z").as_deref(), Some("2026-10-26T07:00:00Z"));
        assert_eq!(open_until(&office, "2026-10-26T07:00:00Z").as_deref(), Some("2026-10-26T17:00:00Z"));
        // Lord Howe Island moves by half an hour, on the first Sundays of April and October.
        let howe = windows(&["sun 06:00-07:00 Australia/Lord_Howe"]);
        assert_eq!(opens(&howe, "2026-04-04T00:00:00Z").as_deref(), Some("2026-04-04T19:30:00Z"));
        assert_eq!(opens(&howe, "2026-10-03T00:00:00Z").as_deref(), Some("2026-10-03T19:00:00Z"));
    }

    #[test]
    fn an_hour_that_the_clocks_leave_out_is_in_no_window() {
        // In Berlin 02:00 becomes 03:00 at 01:00 UTC.
        let night = windows(&["sun 02:00-03:00 Europe/Berlin"]);
        assert_eq!(opens(&night, "2026-03-28T12:00:00Z").as_deref(), Some("2026-04-05T00:00:00Z"));
        let into = windows(&["sun 01:00-02:30 Europe/Berlin"]);
        assert_eq!(open_until(&into, "2026-03-29T00:30:00Z").as_deref(), Some("2026-03-29T01:00:00Z"));
        let out_of = windows(&["sun 02:30-05:00 Europe/Berlin"]);
        assert_eq!(opens(&out_of, "2026-03-29T00:30:00Z").as_deref(), Some("2026-03-29T01:00:00Z"));
        assert_eq!(open_until(&out_of, "2026-03-29T01:00:00Z").as_deref(), Some("2026-03-29T03:00:00Z"));
        let over = windows(&["sun 01:00-05:00 Europe/Berlin"]);
        assert_eq!(open_until(&over, "2026-03-29T00:00:00Z").as_deref(), Some("2026-03-29T03:00:00Z"));
    }

    #[test]
    fn an_hour_that_the_clocks_show_twice_is_in_its_window_twice() {
        // In Berlin 03:00 becomes 02:00 at 01:00 UTC.
        let first_half = windows(&["sun 02:00-02:30 Europe/Berlin"]);
        assert_eq!(open_until(&first_half, "2026-10-25T00:00:00Z").as_deref(), Some("2026-10-25T00:30:00Z"));
        assert_eq!(opens(&first_half, "2026-10-25T00:30:00Z").as_deref(), Some("2026-10-25T01:00:00Z"));
        assert_eq!(open_until(&first_half, "2026-10-25T01:00:00Z").as_deref(), Some("2026-10-25T01:30:00Z"));
        let second_half = windows(&["sun 02:30-04:00 Europe/Berlin"]);
        assert_eq!(open_until(&second_half, "2026-10-25T00:30:00Z").as_deref(), Some("2026-10-25T01:00:00Z"));
        let whole = windows(&["sun 02:00-04:00 Europe/Berlin"]);
        assert_eq!(open_until(&whole, "2026-10-25T00:00:00Z").as_deref(), Some("2026-10-25T03:00:00Z"));
    }

    #[test]
    fn a_night_ends_on_the_next_day_and_the_week_goes_round() {
        let nights = windows(&["mon-sun 22:00-06:00 UTC"]);
        assert_eq!(open_until(&nights, "2026-06-07T23:00:00Z").as_deref(), Some("2026-06-08T06:00:00Z"));
        assert_eq!(open_until(&nights, "2026-06-08T05:59:59Z").as_deref(), Some("2026-06-08T06:00:00Z"));
        let weekend = windows(&["sat-mon 00:00-24:00 UTC"]);
        assert_eq!(open_until(&weekend, "2026-06-06T00:00:00Z").as_deref(), Some("2026-06-09T00:00:00Z"));
        let to_midnight = windows(&["mon 22:00-00:00 UTC"]);
        assert_eq!(open_until(&to_midnight, "2026-06-01T22:00:00Z").as_deref(), Some("2026-06-02T00:00:00Z"));
    }

    #[test]
    fn windows_that_touch_are_one() {
        let on_call = windows(&["fri 18:00-24:00 UTC", "sat-sun 00:00-24:00 UTC", "mon 00:00-08:00 UTC"]);
        assert_eq!(open_until(&on_call, "2026-06-05T18:00:00Z").as_deref(), Some("2026-06-08T08:00:00Z"));
        let apart = windows(&["mon 10:00-12:00 UTC", "mon 08:00-09:00 UTC", "mon 08:30-09:30 UTC"]);
        assert_eq!(open_until(&apart, "2026-06-01T08:10:00Z").as_deref(), Some("2026-06-01T09:30:00Z"));
        assert_eq!(opens(&apart, "2026-06-01T09:30:00Z").as_deref(), Some("2026-06-01T10:00:00Z"));
    }

    #[test]
    fn the_whole_week_never_ends() {
        let always = windows(&["mon-sun 00:00-24:00 America/New_York"]);
        assert_eq!(always.open_for(time("2026-06-01T09:00:00Z")), Some(Lifetime::MOST));
        assert_eq!(always.opens_at(time("2026-06-01T09:00:00Z")), None);
    }

    #[test]
    fn what_is_no_window_is_an_error() {
        for text in [
            "",
            "mon-fri",
            "mon-fri 08:00-18:00",
            "08:00-18:00 Europe/Berlin",
            "mon-fri  08:00-18:00 Europe/Berlin",
            "mon-fri 08:00-18:00 Europe/Berlin please",
            "Mon-Fri 08:00-18:00 Europe/Berlin",
            "mon- 08:00-18:00 Europe/Berlin",
            "mon, 08:00-18:00 Europe/Berlin",
            "monday 08:00-18:00 Europe/Berlin",
            "mon 8:00-18:00 Europe/Berlin",
            "mon 08:00 Europe/Berlin",
            "mon 08:00-08:00 Europe/Berlin",
            "mon 08:60-18:00 Europe/Berlin",
            "mon 08:00-24:01 Europe/Berlin",
            "mon 24:00-08:00 Europe/Berlin",
            "mon 08:00-+1:00 Europe/Berlin",
            "mon 08:00-18:00 europe/berlin",
            "mon 08:00-18:00 Mars/Olympus",
            "mon 08:00-18:00 +02:00",
            "mon 08:00-18:00 CET0",
        ] {
            assert!(Window::parse(text).is_err(), "{text}");
        }
        assert!(joined(&["mon 08:00-18:00 Europe/Berlin", "mon 08:00-18:00 UTC"]).is_err());
    }

    const ENTRIES: [&str; 8] = [
        "mon-fri 08:00-18:00",
        "sun 02:00-02:30",
        "sun 01:30-03:30",
        "sat 22:00-03:00",
        "mon-sun 00:00-24:00",
        "sun 00:00-24:00",
        "wed,sun 02:15-02:45",
        "sat-mon 23:00-01:00",
    ];

    proptest! {
        /// The zone, the days around its changes of 2026, and what a minute-by-minute look says.
        #[test]
        fn a_change_is_where_looking_at_every_minute_finds_it(
            entries in prop::sample::subsequence(&ENTRIES[..], 1..3),
            zone in prop::sample::select(&["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"][..]),
            day in prop::sample::select(&[
                "2026-03-07T12:00:00Z", "2026-03-28T12:00:00Z", "2026-04-04T00:00:00Z", "2026-10-03T00:00:00Z",
                "2026-10-24T12:00:00Z", "2026-10-31T12:00:00Z",
            ][..]),
            minute in 0_u32..2_000,
        ) {
            let texts: Vec<String> = entries.iter().map(|entry| format!("{entry} {zone}")).collect();
            let windows = windows(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            let now = time(day).after(Lifetime::from_seconds(minute * 60));
            let open = |at: Time| {
                let local = windows.zone.to_datetime(instant(at)).strftime("%u %H:%M").to_string();
                texts.iter().any(|text| shows(text, &local))
            };
            prop_assert_eq!(windows.is_open(instant(now)), open(now));
            let minutes = (1..8 * 1_440).map(|minute| now.after(Lifetime::from_seconds(minute * 60)));
            let found = minutes.into_iter().find(|at| open(*at) != open(now));
            prop_assert_eq!(windows.next_change(now).filter(|at| at.seconds_since(now) < 8 * 86_400 - 60), found);
        }
    }

    /// Whether an entry covers a weekday of 1 to 7 and a time, by comparing texts.
    fn shows(entry: &str, local: &str) -> bool {
        let (days, times) = (entry.split(' ').next().expect("days"), entry.split(' ').nth(1).expect("times"));
        let (begin, end) = times.split_once('-').expect("times");
        let (weekday, clock) = local.split_once(' ').expect("a weekday");
        let today: usize = weekday.parse::<usize>().expect("a weekday") - 1;
        let on = |day: usize| {
            days.split(',').any(|part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (first, last) = (place(first), place(last));
                if first <= last { (first..=last).contains(&day) } else { day >= first || day <= last }
            })
        };
        if begin < end {
            return on(today) && (begin..end).contains(&clock);
        }
        (on(today) && clock >= begin) || (on((today + 6) % 7) && clock < end)
    }

    fn place(day: &str) -> usize {
        DAYS.iter().position(|known| *known == day).expect("a day")
    }
}
