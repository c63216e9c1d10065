use ropewalk_types::ElementType;

/// What a value's elements lie between, both ends included. Integers beyond 2^53 are rounded: they are far outside of
/// INT32, which is all that is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Range {
    pub(super) const INT32: Self = Self { low: -2_147_483_648.0, high: 2_147_483_647.0 };
    pub(super) const ANY: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };

    /// An end that is no number, such as the difference of two infinities, may be anything.
    pub(super) const fn new(low: f64, high: f64) -> Self {
        Self {
            low: if low.is_nan() { f64::NEG_INFINITY } else { low },
            high: if high.is_nan() { f64::INFINITY } else { high },
        }
    }

    /// All that a type holds, as far as the engine lets it in.
    pub(super) const fn of(element_type: Option<ElementType>) -> Self {
        match element_type {
            Some(ElementType::Bool) => Self::new(0.0, 1.0),
            Some(ElementType::Uint8) => Self::new(0.0, 255.0),
            Some(ElementType::Int8) => Self::new(-128.0, 127.0),
            Some(ElementType::Fp16 | ElementType::Fp32 | ElementType::Fp64) => Self::ANY,
            _ => Self::INT32,
        }
    }

    pub(super) fn is_int32(self) -> bool {
        self.low >= Self::INT32.low && self.high <= Self::INT32.high
    }

    /// The part of it that `other` has too; where there is none, the end of `other` that is nearer.
    pub(super) fn within(self, other: Self) -> Self {
        Self::new(self.low.clamp(other.low, other.high), self.high.clamp(other.low, other.high))
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self::new(self.low.min(other.low), self.high.max(other.high))
    }

    fn magnitude(self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    fn corners(self, other: Self, apply: impl Fn(f64, f64) -> f64) -> Self {
        let pairs = [(self.low, other.low), (self.low, other.high), (self.high, other.low), (self.high, other.high)];
        // Infinity times zero: the end is as large as anything, the zero is exact.
        let values = pairs.map(|(one, other)| Some(apply(one, other)).filter(|value| !value.is_nan()).unwrap_or(0.0));
        values
            .into_iter()
            .fold(Self::new(f64::INFINITY, f64::NEG_INFINITY), |range, value| range.union(Self::new(value, value)))
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self::new(self.low + other.low, self.high + other.high)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self::new(self.low - other.high, self.high - other.low)
    }

    pub(super) fn times(self, other: Self) -> Self {
        self.corners(other, |one, other| one * other)
    }

    /// The quotient of integers has no larger magnitude than what is divided; that of reals may have.
    pub(super) fn over(self, other: Self, whole: bool) -> Self {
        if other.low >= 1.0 || (other.low > 0.0 && !whole) {
            let quotient = self.corners(other, |one, other| one / other);
            return if whole { Self::new(quotient.low.trunc(), quotient.high.trunc()) } else { quotient };
        }
        if whole { Self::new(-self.magnitude(), self.magnitude()) } else { Self::ANY }
    }

    /// The remainder, with the sign of the divisor or, by `fmod`, of what is divided.
    pub(super) fn modulo(self, other: Self, fmod: bool, whole: bool) -> Self {
        let most = if whole { (other.magnitude() - 1.0).max(0.0) } else { other.magnitude() };
        let signed = if fmod { self.low } else { other.low };
        Self::new(if signed >= 0.0 { 0.0 } else { -most }, most)
    }

    pub(super) fn power(self, other: Self) -> Self {
        if other.low < 0.0 {
            return Self::ANY;
        }
        let most = self.magnitude().max(1.0).powf(other.high);
        Self::new(if self.low >= 0.0 { 0.0 } else { -most }, most)
    }

    pub(super) fn absolute(self) -> Self {
        let least = if self.low <= 0.0 && self.high >= 0.0 { 0.0 } else { self.low.abs().min(self.high.abs()) };
        Self::new(least, self.magnitude())
    }

    /// The sum of at most `count` elements.
    pub(super) fn summed(self, count: f64) -> Self {
        self.union(Self::new(0.0, 0.0)).times(Self::new(0.0, count))
    }

    pub(super) fn clipped(self, least: Option<Self>, most: Option<Self>) -> Self {
        let mut range = self;
        if let Some(least) = least {
            range = Self::new(range.low.max(least.low), range.high.max(least.high));
        }
        if let Some(most) = most {
            range = Self::new(range.low.min(most.low), range.high.min(most.high));
        }
        range
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span() -> impl Strategy<Value = (Range, i64)> {
        (-50_i64..50, 0_i64..30).prop_flat_map(|(low, length)| {
            let range = Range::new(low as f64, (low + length) as f64);
            (low..=low + length).prop_map(move |value| (range, value))
        })
    }

    fn holds(range: Range, value: i64) -> bool {
        (range.low..=range.high).contains(&(value as f64))
    }

    #[test]
    fn infinities_leave_nothing_known() {
        let never = Range::new(f64::NEG_INFINITY, f64::NEG_INFINITY);
        assert!(Range::ANY.plus(never).high.is_infinite());
        assert!(!Range::ANY.plus(never).union(Range::new(0.0, 1.0)).is_int32());
    }

    proptest! {
        #[test]
        fn what_is_computed_lies_in_the_computed_range((a, x) in span(), (b, y) in span(), count in 0_i64..9) {
            prop_assert!(holds(a.plus(b), x + y));
            prop_assert!(holds(a.minus(b), x - y));
            prop_assert!(holds(a.times(b), x * y));
            prop_assert!(holds(a.absolute(), x.abs()));
            prop_assert!(holds(a.union(b), x) && holds(a.union(b), y));
            prop_assert!(holds(a.summed(9.0), x * count));
            prop_assert!(holds(a.clipped(Some(b), None), x.max(y)));
            prop_assert!(holds(a.clipped(None, Some(b)), x.min(y)));
            if y != 0 {
                prop_assert!(holds(a.over(b, true), x / y), "{x} / {y}");
                prop_assert!(holds(a.modulo(b, true, true), x % y), "{x} fmod {y}");
                prop_assert!(holds(a.modulo(b, false, true), x - y * (x as f64 / y as f64).floor() as i64), "{x} mod {y}");
            }
            if (0..5).contains(&y) && b.low >= 0.0 {
                prop_assert!(holds(a.power(b), x.pow(y as u32)), "{x} ^ {y}");
            }
        }
    }
}
