//! Euros a month, exact to a hundredth of a cent. Converts no currency and knows no tax.

use std::borrow::Cow;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of euros, net.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(i64);

const PER_EURO: i64 = 10_000;

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Returns the amount in a decimal text as price lists have it, `"5.4900000000"`, rounded to a hundredth of a cent;
    /// `None` for anything else and for more than a hundred million.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 9 || !digits(whole) || !digits(part) {
            return None;
        }
        let padded: String = part.chars().chain("00000".chars()).take(5).collect();
        let rounded = (padded.parse::<i64>().ok()? + 5) / 10;
        Some(Self(whole.parse::<i64>().ok()? * PER_EURO + rounded))
    }

    /// Returns it that many times.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self(self.0.saturating_mul(i64::from(count)))
    }
}

/// `5.49`: euros and cents.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = (self.0.abs() + 50) / 100;
        let sign = if self.0 < 0 && cents > 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

/// A text, because a float would not be exact.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As it is written: euros and cents.
impl JsonSchema for Money {
    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "euros and cents, net", "type": "string", "pattern": "^-?[0-9]+\\.[0-9]{2}$" })
    }
}

/// Reads what was written, to the cent.
impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an amount of euros"))
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Money {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Money {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_exactly_and_shown_in_cents() {
        let show = |text: &str| Money::parse(text).map(|money| money.to_string());
        assert_eq!(show("5.4900000000").as_deref(), Some("5.49"));
        assert_eq!(show("0.0088").as_deref(), Some("0.01"));
        assert_eq!(show("129.99").as_deref(), Some("129.99"));
        assert_eq!(show("3").as_deref(), Some("3.00"));
        assert_eq!(show("0.99999"), Some("1.00".to_owned()));
        for odd in ["", ".5", "-1", "1e3", "1.2.3", "12345678901"] {
            assert_eq!(show(odd), None, "{odd}");
        }
    }

    #[test]
    fn sums_and_differences_are_exact() {
        let price = Money::parse("0.0571").expect("a price");
        assert_eq!(price.times(1000).to_string(), "57.10");
        assert_eq!(
            (Money::parse("1.00").expect("a price") - Money::parse("3.5").expect("a price")).to_string(),
            "-2.50"
        );
        assert_eq!([price, price, -price].into_iter().sum::<Money>(), price);
    }
}
