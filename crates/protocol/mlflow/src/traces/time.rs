//! `google.protobuf.Timestamp` and `Duration` in ProtoJSON, to the millisecond.

use std::ops::RangeInclusive;

use chrono::{DateTime, SecondsFormat};
use ropewalk_types::Timestamp;

use crate::MlflowError;

/// The years 1 to 9999, in milliseconds since 1970: what a `Timestamp` may say.
const TIMES: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;
/// Most seconds of a `Duration`.
const SECONDS: i64 = 315_576_000_000;

/// As RFC 3339 in UTC; thousandths only where there are some.
pub(super) fn timestamp_text(at: Timestamp) -> String {
    let format = if at.0 % 1_000 == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
    DateTime::from_timestamp_millis(at.0).unwrap_or_default().to_rfc3339_opts(format, true)
}

pub(super) fn timestamp(parameter: &'static str, text: &str) -> Result<Timestamp, MlflowError> {
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) if TIMES.contains(&time.timestamp_millis()) => Ok(Timestamp(time.timestamp_millis())),
        Ok(_) => Err(MlflowError::invalid(parameter, &"a time of the years 1 to 9999 is expected")),
        Err(error) => Err(MlflowError::invalid(parameter, &format!("it is not a time as RFC 3339 writes it: {error}"))),
    }
}

/// Seconds, such as `0.050s`.
pub(super) fn duration_text(millis: i64) -> String {
    let (sign, size) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs());
    match size % 1_000 {
        0 => format!("{sign}{}s", size / 1_000),
        thousandths => format!("{sign}{}.{thousandths:03}s", size / 1_000),
    }
}

pub(super) fn duration(parameter: &'static str, text: &str) -> Result<i64, MlflowError> {
    let refuse = || MlflowError::invalid(parameter, &"seconds are expected, such as 1.5s");
    let (seconds, fraction) = {
        let number = text.strip_suffix('s').ok_or_else(refuse)?;
        number.split_once('.').unwrap_or((number, ""))
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = seconds.strip_prefix('-').unwrap_or(seconds);
    if unsigned.is_empty() || !digits(unsigned) || !digits(fraction) || fraction.len() > 9 {
        return Err(refuse());
    }
    let whole: i64 = unsigned.parse().map_err(|_| refuse())?;
    if whole > SECONDS {
        return Err(MlflowError::invalid(parameter, &format!("at most {SECONDS} seconds are expected")));
    }
    let thousandths: i64 = format!("{fraction:0<3}").get(..3).and_then(|text| text.parse().ok()).ok_or_else(refuse)?;
    let size = whole.checked_mul(1_000).and_then(|millis| millis.checked_add(thousandths)).ok_or_else(refuse)?;
    Ok(if seconds.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_their_text() {
        for (millis, text) in [
            (1_796_039_304_392, "2026-11-30T11:48:24.392Z"),
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(timestamp_text(Timestamp(millis)), text);
            assert_eq!(timestamp("t", text).expect(text), Timestamp(millis));
        }
        assert_eq!(timestamp("t", "1970-01-01T01:00:00.123456789+01:00").expect("offset"), Timestamp(123));
        for bad in ["yesterday", "0000-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00"] {
            assert!(timestamp("t", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_survive_their_text() {
        for (millis, text) in
            [(50, "0.050s"), (1_000, "1s"), (0, "0s"), (-1_500, "-1.500s"), (315_576_000_000_000, "315576000000s")]
        {
            assert_eq!(duration_text(millis), text);
            assert_eq!(duration("d", text).expect(text), millis);
        }
        assert_eq!(duration("d", "0.1234567s").expect("long"), 123);
        for bad in ["", "s", "1", "1.s5", "-s", "1e3s", "315576000001s", "9223372036854775807s", "1.0000000000s"] {
            assert!(duration("d", bad).is_err(), "{bad}");
        }
    }
}
