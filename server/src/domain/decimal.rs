//! A decimal number in thousandths, so that scales of halves, quarters and tenths are exact.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const ONE: i64 = 1000;

/// Largest magnitude, far above any rating scale and far below overflow in sums of a billion votes.
const LIMIT: i64 = 1_000_000 * ONE;

/// A number with at most three decimals, held exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal(i64);

impl From<u32> for Decimal {
    fn from(units: u32) -> Self {
        Self(i64::from(units) * ONE)
    }
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// A whole number.
    pub const fn whole(units: i32) -> Self {
        Self(units as i64 * ONE)
    }

    /// A number of thousandths.
    pub const fn thousandths(value: i64) -> Self {
        Self(value)
    }

    /// The number in thousandths.
    pub const fn as_thousandths(self) -> i64 {
        self.0
    }

    /// The nearest binary floating-point number.
    #[expect(clippy::cast_precision_loss, reason = "the magnitude is below 2^53")]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / ONE as f64
    }

    /// The decimal that a JSON or script number stands for; `None` if it has more than three decimals, is too
    /// large or is not a number.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
    pub fn from_f64(value: f64) -> Option<Self> {
        let scaled = value * ONE as f64;
        let rounded = scaled.round();
        // 1e-6 thousandths: what remains of 0.1 + 0.2 in a browser is far smaller, a fourth decimal far larger.
        let exact = scaled.is_finite() && (scaled - rounded).abs() < 1e-6 && rounded.abs() <= LIMIT as f64;
        exact.then_some(Self(rounded as i64))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (units, rest) = (self.0.abs() / ONE, self.0.abs() % ONE);
        if rest == 0 {
            return write!(f, "{sign}{units}");
        }
        let digits = format!("{rest:03}");
        write!(f, "{sign}{units}.{}", digits.trim_end_matches('0'))
    }
}

/// The text is not a number of at most three decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a number with at most three decimals")]
pub struct NotADecimal;

impl FromStr for Decimal {
    type Err = NotADecimal;

    /// Accepts a decimal point or, as the French write it, a comma.
    fn from_str(text: &str) -> Result<Self, NotADecimal> {
        let text = text.trim();
        let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '+');
        if text.len() > 16 || !text.chars().all(plain) {
            return Err(NotADecimal);
        }
        let value: f64 = text.replace(',', ".").parse().map_err(|_| NotADecimal)?;
        Self::from_f64(value).ok_or(NotADecimal)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % ONE == 0 { serializer.serialize_i64(self.0 / ONE) } else { serializer.serialize_f64(self.as_f64()) }
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Self::from_f64(value).ok_or_else(|| serde::de::Error::custom(NotADecimal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_is_exact_and_reads_back() {
        let half: Decimal = "3,5".parse().unwrap();
        assert_eq!(half, Decimal::thousandths(3500));
        assert_eq!(half.to_string(), "3.5");
        assert_eq!(serde_json::to_string(&half).unwrap(), "3.5");
        assert_eq!(serde_json::to_string(&Decimal::whole(4)).unwrap(), "4");
    }

    #[test]
    fn a_fourth_decimal_and_words_are_refused() {
        for text in ["1.0001", "four", "", "1e3", "NaN", "99999999999", "1.2.3", "--1"] {
            assert_eq!(text.parse::<Decimal>(), Err(NotADecimal), "{text}");
        }
    }

    #[test]
    fn script_arithmetic_noise_is_forgiven() {
        assert_eq!(Decimal::from_f64(0.1 + 0.2), Some(Decimal::thousandths(300)));
        assert_eq!(Decimal::from_f64(f64::NAN), None);
    }
}
