use serde::{Deserialize, Serialize};

use super::cell::{Cell, Kind};
use crate::column::ColumnType;

/// How many cells of a column could be what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    integers: u64,
    /// Integers that a float would round, also counted in `integers`.
    inexact: u64,
    floats: u64,
    booleans: u64,
    dates: u64,
    timestamps: u64,
    texts: u64,
    /// Timestamps that name a time zone, also counted in `timestamps`.
    offsets: u64,
    /// Texts that are null in any column but one of text.
    #[serde(default)]
    unclear: u64,
}

impl Evidence {
    pub(crate) fn add(&mut self, cell: &Cell<'_>) {
        match cell.kind() {
            None => self.unclear += u64::from(matches!(cell, Cell::TextOrNull(_))),
            Some(Kind::Integer) => {
                self.integers += 1;
                self.inexact += u64::from(cell.is_inexact());
            }
            Some(Kind::Float) => self.floats += 1,
            Some(Kind::Boolean) => self.booleans += 1,
            Some(Kind::Date) => self.dates += 1,
            Some(Kind::Timestamp { offset }) => {
                self.timestamps += 1;
                self.offsets += u64::from(offset);
            }
            Some(Kind::Text) => self.texts += 1,
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.integers += other.integers;
        self.inexact += other.inexact;
        self.floats += other.floats;
        self.booleans += other.booleans;
        self.dates += other.dates;
        self.timestamps += other.timestamps;
        self.texts += other.texts;
        self.offsets += other.offsets;
        self.unclear += other.unclear;
    }

    /// Whether no cell has a value, whatever the type.
    pub(crate) fn is_empty(&self) -> bool {
        self.cells() + self.unclear == 0
    }

    /// Cells with a value in a column of any type.
    pub(crate) fn cells(&self) -> u64 {
        self.integers + self.floats + self.booleans + self.dates + self.timestamps + self.texts
    }

    /// The type that the fewest cells do not fit, if they are at most the share `tolerance`; else text.
    ///
    /// A wider type of the same family that takes all goes before a narrower one with misfits: a few fractions among
    /// whole numbers make the column a float, not the fractions an error. A whole number that a float would round does
    /// not fit one.
    pub(crate) fn choose(&self, tolerance: f64) -> ColumnType {
        let cells = self.cells();
        let measures = self.integers - self.inexact + self.floats;
        let numbers = if self.floats == 0 || self.integers > measures {
            (self.integers, ColumnType::Int64)
        } else {
            (measures, ColumnType::Float64)
        };
        let moment = if self.timestamps == 0 { ColumnType::Date } else { ColumnType::Timestamp };
        let families = [numbers, (self.booleans, ColumnType::Boolean), (self.dates + self.timestamps, moment)];
        let best = families.into_iter().rev().max_by_key(|(fits, _)| *fits);
        match best {
            Some((fits, column)) if fits > 0 && (cells - fits) as f64 <= tolerance * cells as f64 => column,
            _ => ColumnType::Text,
        }
    }

    /// What a reader of the column should know about the choice.
    pub(crate) fn notes(&self, chosen: ColumnType) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_empty() {
            notes.push("no row has a value".to_owned());
        }
        if chosen == ColumnType::Text && self.cells() > self.texts && self.texts > 0 {
            let others = self.cells() - self.texts;
            notes.push(format!(
                "{others} cells are not text (numbers, dates, true or false) and are kept as their text"
            ));
        } else if chosen == ColumnType::Text && self.inexact > 0 && self.cells() == self.integers + self.floats {
            let inexact = self.inexact;
            notes.push(format!(
                "{inexact} whole numbers have more digits than a float holds, so all are kept as their text"
            ));
        } else if chosen == ColumnType::Text && self.cells() > 0 && self.texts == 0 {
            notes.push("the cells are of several types and are kept as their text".to_owned());
        }
        if chosen == ColumnType::Timestamp && self.offsets > 0 {
            notes.push(format!("{} timestamps name a time zone and were converted to UTC", self.offsets));
            if self.offsets < self.timestamps + self.dates {
                notes.push("others name none and were kept as they are".to_owned());
            }
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn evidence(texts: &[(&str, usize)]) -> Evidence {
        let mut evidence = Evidence::default();
        for (text, count) in texts {
            for _ in 0..*count {
                evidence.add(&Cell::Text(Cow::Borrowed(text)));
            }
        }
        evidence
    }

    #[test]
    fn the_narrowest_type_that_takes_all() {
        assert_eq!(evidence(&[("1", 3)]).choose(0.01), ColumnType::Int64);
        assert_eq!(evidence(&[("1", 999), ("1.5", 1)]).choose(0.01), ColumnType::Float64);
        assert_eq!(evidence(&[("2013-01-01", 9)]).choose(0.0), ColumnType::Date);
        assert_eq!(evidence(&[("2013-01-01", 9), ("2013-01-01 10:00", 1)]).choose(0.0), ColumnType::Timestamp);
        assert_eq!(evidence(&[("true", 9)]).choose(0.0), ColumnType::Boolean);
        assert_eq!(evidence(&[]).choose(1.0), ColumnType::Text);
    }

    #[test]
    fn tolerance_is_a_share_of_the_cells_with_a_value() {
        assert_eq!(evidence(&[("1", 99), ("x", 1)]).choose(0.01), ColumnType::Int64);
        assert_eq!(evidence(&[("1", 98), ("x", 2)]).choose(0.01), ColumnType::Text);
        assert_eq!(evidence(&[("1", 98), ("x", 2)]).choose(0.02), ColumnType::Int64);
        assert_eq!(evidence(&[("x", 2)]).choose(1.0), ColumnType::Text);
    }

    #[test]
    fn identifiers_that_a_float_would_round_do_not_fit_one() {
        let id = "9007199254740993";
        assert_eq!(evidence(&[(id, 3)]).choose(0.01), ColumnType::Int64);
        assert_eq!(evidence(&[(id, 1), ("0.5", 1)]).choose(0.01), ColumnType::Text);
        assert_eq!(evidence(&[(id, 1), ("0.5", 999)]).choose(0.01), ColumnType::Float64);
        assert_eq!(evidence(&[(id, 999), ("0.5", 1)]).choose(0.01), ColumnType::Int64);
        let mut merged = evidence(&[(id, 1)]);
        merged.merge(&evidence(&[("0.5", 1)]));
        assert_eq!(merged.choose(0.01), ColumnType::Text);
    }

    #[test]
    fn merging_is_adding() {
        let mut left = evidence(&[("1", 2)]);
        left.merge(&evidence(&[("1.5", 1), ("x", 1)]));
        assert_eq!(left, evidence(&[("1", 2), ("1.5", 1), ("x", 1)]));
        assert_eq!(left.cells(), 4);
    }

    #[test]
    fn mixed_zones_are_said() {
        let mixed = evidence(&[("2013-01-01T10:00:00Z", 1), ("2013-01-01T10:00:00", 1)]);
        assert_eq!(mixed.notes(ColumnType::Timestamp).len(), 2);
    }
}
