use half::{bf16, f16};

/// A number of a column as one of an input's type.
pub(super) trait Exact: Copy {
    /// What an absent value is; none where the type has nothing for it.
    const ABSENT: Option<Self>;

    /// The whole number, if the type holds exactly it.
    fn whole(value: i128) -> Option<Self>;

    /// The number, and whether it was rounded; none if the type has nothing near it.
    fn float(value: f64) -> Option<(Self, bool)>;
}

macro_rules! integers {
    ($($type:ty),*) => { $(
        impl Exact for $type {
            const ABSENT: Option<Self> = None;

            fn whole(value: i128) -> Option<Self> {
                Self::try_from(value).ok()
            }

            fn float(value: f64) -> Option<(Self, bool)> {
                // Every whole f64 below 2^127 is exactly an i128; beyond, the cast saturates at what no type here holds.
                let whole = value.fract() == 0.0;
                if whole { Self::whole(value as i128).map(|value| (value, false)) } else { None }
            }
        }
    )* };
}
integers!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Exact for bool {
    const ABSENT: Option<Self> = None;

    fn whole(value: i128) -> Option<Self> {
        match value {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn float(_: f64) -> Option<(Self, bool)> {
        None
    }
}

macro_rules! floats {
    ($($type:ty, $nan:expr, $from:expr, $to:expr);*) => { $(
        impl Exact for $type {
            const ABSENT: Option<Self> = Some($nan);

            fn whole(value: i128) -> Option<Self> {
                let narrow: Self = $from(value as f64);
                let back: f64 = $to(narrow);
                // Whole as `value` is, and so the cast back loses nothing; what is infinite would saturate.
                (back.is_finite() && back as i128 == value).then_some(narrow)
            }

            fn float(value: f64) -> Option<(Self, bool)> {
                let narrow: Self = $from(value);
                let back: f64 = $to(narrow);
                if value.is_finite() && !back.is_finite() {
                    return None;
                }
                Some((narrow, !value.is_nan() && back.total_cmp(&value).is_ne()))
            }
        }
    )* };
}
floats!(
    f64, f64::NAN, std::convert::identity, std::convert::identity;
    f32, f32::NAN, |wide: f64| wide as f32, f64::from;
    f16, f16::NAN, f16::from_f64, f64::from;
    bf16, bf16::NAN, bf16::from_f64, f64::from
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_exact_or_refused() {
        assert_eq!(f32::whole(1 << 24), Some(16_777_216.0));
        assert_eq!(f32::whole((1 << 24) + 1), None);
        assert_eq!(f64::whole(i128::from(i64::MAX)), None);
        assert_eq!(f64::whole(i128::from(i64::MIN)), Some(-(2_f64.powi(63))));
        assert_eq!(u8::whole(256), None);
        assert_eq!(i64::whole(i128::from(u64::MAX)), None);
        assert_eq!(f16::whole(2049), None);
        assert_eq!((bool::whole(1), bool::whole(2)), (Some(true), None));
    }

    #[test]
    fn broken_numbers_are_rounded_to_floats_and_to_nothing_else() {
        assert_eq!(f32::float(0.5), Some((0.5, false)));
        assert_eq!(f32::float(0.1), Some((0.1, true)));
        assert_eq!(f32::float(1e300), None);
        assert_eq!(f32::float(f64::INFINITY), Some((f32::INFINITY, false)));
        assert!(f32::float(f64::NAN).is_some_and(|(value, rounded)| value.is_nan() && !rounded));
        assert_eq!((i32::float(3.0), i32::float(3.5), i32::float(1e10)), (Some((3, false)), None, None));
        assert_eq!((i64::float(f64::NAN), u64::float(-1.0), u64::float(f64::INFINITY)), (None, None, None));
    }
}
