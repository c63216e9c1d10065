use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use serde::de::{DeserializeSeed as _, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::super::limits::COLUMNS;
use super::seed::{ShapeSeed, has_long_integer};

/// What the values at one place of the records are, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(super) nulls: u64,
    pub(super) booleans: u64,
    /// Whole numbers of 64 bits with a sign.
    pub(super) integers: u64,
    pub(super) negatives: u64,
    /// Whole numbers that need all 64 bits.
    pub(super) unsigned: u64,
    /// Whole numbers that a float would round, also counted in `integers`, `unsigned` or (beyond 64 bits) `floats`.
    pub(super) inexact: u64,
    pub(super) floats: u64,
    pub(super) texts: u64,
    pub(super) lists: u64,
    pub(super) items: Option<Box<Shape>>,
    pub(super) objects: u64,
    pub(super) fields: Vec<ShapeField>,
    /// Objects that have a key twice.
    pub(super) repeated: u64,
    #[serde(skip)]
    places: HashMap<String, usize>,
}

/// One key of the objects at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShapeField {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    /// The object that had the key last, by the count of objects.
    #[serde(skip)]
    pub(super) seen: u64,
}

/// Values at one place that no type holds together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// Keys, outermost first.
    pub(crate) path: Vec<String>,
    pub(crate) found: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` holds {}, which no type of a column takes together", self.path.join("."), self.found)
    }
}

impl Shape {
    /// Adds the record `bytes`; an error when it is no JSON object, after which the shape is as it was.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err("it is not a JSON object".to_owned());
        }
        // Looked through first, so that half a record leaves no trace.
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
        let says = |error: serde_json::Error| error.to_string();
        let large = ShapeSeed::new(self).deserialize(&mut serde_json::Deserializer::from_slice(bytes)).map_err(says)?;
        // What parses JSON makes floats of whole numbers of more than 64 bits.
        if large && has_long_integer(bytes) {
            ShapeSeed::rounded(self).deserialize(&mut serde_json::Deserializer::from_slice(bytes)).map_err(says)?;
        }
        Ok(())
    }

    pub(crate) fn fields(&self) -> &[ShapeField] {
        &self.fields
    }

    pub(super) fn field(&mut self, key: &str) -> Result<usize, String> {
        if self.places.len() != self.fields.len() {
            // The index is not stored.
            self.places = self.fields.iter().enumerate().map(|(place, field)| (field.name.clone(), place)).collect();
        }
        if let Some(place) = self.places.get(key) {
            return Ok(*place);
        }
        if self.fields.len() >= COLUMNS {
            return Err(format!("the objects have more than {COLUMNS} keys"));
        }
        self.fields.push(ShapeField { name: key.to_owned(), ..ShapeField::default() });
        self.places.insert(key.to_owned(), self.fields.len() - 1);
        Ok(self.fields.len() - 1)
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<(), String> {
        self.nulls += other.nulls;
        self.booleans += other.booleans;
        self.integers += other.integers;
        self.negatives += other.negatives;
        self.unsigned += other.unsigned;
        self.inexact += other.inexact;
        self.floats += other.floats;
        self.texts += other.texts;
        self.lists += other.lists;
        self.objects += other.objects;
        self.repeated += other.repeated;
        if let Some(items) = &other.items {
            self.items.get_or_insert_default().merge(items)?;
        }
        for field in &other.fields {
            let place = self.field(&field.name)?;
            self.fields[place].shape.merge(&field.shape)?;
        }
        Ok(())
    }

    fn numbers(&self) -> u64 {
        self.integers + self.unsigned + self.floats
    }

    /// Whether the numbers are kept as floats: some have a fraction, and not more than would be rounded.
    fn are_floats(&self) -> bool {
        self.floats > 0 && self.floats >= self.inexact
    }

    /// Numbers that do not fit the type of whole numbers or floats that is chosen for them.
    fn rounded(&self) -> u64 {
        if self.are_floats() { self.inexact } else { self.floats }
    }

    fn values(&self) -> u64 {
        self.numbers() + self.booleans + self.texts + self.lists + self.objects
    }

    /// The type that the fewest values do not fit, if they are at most the share `tolerance`; else text, if all are
    /// scalars. Null when there is no value; an object that never has a key is a struct without fields. Whole numbers
    /// that a float would round do not fit one.
    pub(crate) fn data_type(&self, tolerance: f64) -> Result<DataType, Conflict> {
        let families = [
            (self.texts, Family::Text),
            (self.objects, Family::Object),
            (self.lists, Family::List),
            (self.booleans, Family::Boolean),
            (self.numbers(), Family::Number),
        ];
        let (fits, family) = families.into_iter().max_by_key(|(fits, _)| *fits).unwrap_or((0, Family::Text));
        if fits == 0 {
            return Ok(DataType::Null);
        }
        let misfits = self.values() - fits + if family == Family::Number { self.rounded() } else { 0 };
        if misfits as f64 <= tolerance * self.values() as f64 {
            return self.family_type(family, tolerance);
        }
        if self.lists + self.objects == 0 {
            return Ok(DataType::Utf8);
        }
        let counts = [
            (self.objects, "objects"),
            (self.lists, "lists"),
            (self.texts, "texts"),
            (self.numbers(), "numbers"),
            (self.booleans, "true or false"),
        ];
        let found = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        Err(Conflict { path: Vec::new(), found: found.collect::<Vec<_>>().join(", ") })
    }

    fn family_type(&self, family: Family, tolerance: f64) -> Result<DataType, Conflict> {
        Ok(match family {
            Family::Boolean => DataType::Boolean,
            Family::Number if self.are_floats() => DataType::Float64,
            Family::Number if self.unsigned == 0 => DataType::Int64,
            Family::Number if self.negatives == 0 => DataType::UInt64,
            // No type of whole numbers holds both ends; their digits are kept.
            Family::Text | Family::Number => DataType::Utf8,
            Family::List => {
                let items = self.items.as_ref().map_or(Ok(DataType::Null), |items| items.data_type(tolerance))?;
                DataType::List(Arc::new(Field::new_list_field(items, true)))
            }
            Family::Object => DataType::Struct(self.fields_type(tolerance)?),
        })
    }

    /// The fields of an object, with their types.
    pub(crate) fn fields_type(&self, tolerance: f64) -> Result<Fields, Conflict> {
        let fields = self.fields.iter().map(|field| {
            let data_type = field.shape.data_type(tolerance).map_err(|mut conflict| {
                conflict.path.insert(0, field.name.clone());
                conflict
            })?;
            Ok(Field::new(&field.name, data_type, true))
        });
        fields.collect()
    }

    /// Why a value of this shape does not fit `wanted`, and the path to the place.
    pub(crate) fn misfit(&self, wanted: &DataType) -> Option<Conflict> {
        if self.repeated > 0 {
            return Some(Conflict { path: Vec::new(), found: "a key that comes twice".to_owned() });
        }
        let fits = match wanted {
            DataType::Null => self.values() == 0,
            DataType::Utf8 => self.lists + self.objects == 0,
            DataType::Boolean => self.values() == self.booleans,
            DataType::Int64 => self.values() == self.integers,
            DataType::UInt64 => self.values() == self.integers - self.negatives + self.unsigned,
            DataType::Float64 if self.inexact > 0 => {
                let found = "a whole number with more digits than a float holds".to_owned();
                return Some(Conflict { path: Vec::new(), found });
            }
            DataType::Float64 => self.values() == self.numbers(),
            DataType::List(item) => {
                if let Some(conflict) = self.items.as_ref().and_then(|items| items.misfit(item.data_type())) {
                    return Some(conflict);
                }
                self.values() == self.lists
            }
            DataType::Struct(fields) => {
                if let Some(conflict) = self.fields_misfit(fields) {
                    return Some(conflict);
                }
                self.values() == self.objects
            }
            _ => false,
        };
        if fits { None } else { Some(Conflict { path: Vec::new(), found: self.found().to_owned() }) }
    }

    fn fields_misfit(&self, fields: &Fields) -> Option<Conflict> {
        for field in &self.fields {
            let conflict = match fields.find(&field.name) {
                None => Some(Conflict { path: Vec::new(), found: "a key that no record before had".to_owned() }),
                Some((_, wanted)) => field.shape.misfit(wanted.data_type()),
            };
            if let Some(mut conflict) = conflict {
                conflict.path.insert(0, field.name.clone());
                return Some(conflict);
            }
        }
        None
    }

    fn found(&self) -> &'static str {
        let kinds = [
            (self.objects, "an object"),
            (self.lists, "a list"),
            (self.texts, "a text"),
            (self.floats, "a number with a fraction or an exponent"),
            (self.unsigned, "a whole number of more than 63 bits"),
            (self.negatives, "a negative number"),
            (self.integers, "a whole number"),
            (self.booleans, "true or false"),
        ];
        kinds.into_iter().find(|(count, _)| *count > 0).map_or("null", |(_, kind)| kind)
    }

    /// What a reader of the column should know about its type.
    pub(crate) fn notes(&self, chosen: &DataType) -> Vec<String> {
        let mut notes = Vec::new();
        if self.values() == 0 {
            notes.push("no row has a value".to_owned());
        }
        if *chosen == DataType::Utf8 && self.inexact > 0 && self.floats > 0 && self.values() == self.numbers() {
            let inexact = self.inexact;
            notes.push(format!(
                "{inexact} whole numbers have more digits than a float holds, so all are kept as their text"
            ));
        } else if *chosen == DataType::Utf8 && self.values() > self.texts {
            let others = self.values() - self.texts;
            notes.push(format!("{others} values are not text (numbers, true or false) and are kept as their text"));
        }
        if matches!(chosen, DataType::Struct(fields) if fields.is_empty()) {
            notes.push("every value is an object without keys and is read as null".to_owned());
        }
        notes
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Text,
    Object,
    List,
    Boolean,
    Number,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(records: &[&str]) -> Shape {
        let mut shape = Shape::default();
        for record in records {
            shape.add(record.as_bytes()).unwrap();
        }
        shape
    }

    fn types(records: &[&str], tolerance: f64) -> String {
        match shape(records).fields_type(tolerance) {
            Ok(fields) => fields
                .iter()
                .map(|field| format!("{}:{}", field.name(), field.data_type()))
                .collect::<Vec<_>>()
                .join(" "),
            Err(conflict) => conflict.to_string(),
        }
    }

    #[test]
    fn scalars() {
        let types = types(
            &[
                r#"{"i": 1, "f": 1, "b": true, "t": "x", "n": null, "u": 18446744073709551615, "m": 1, "w": -1}"#,
                r#"{"i": -2, "f": 1.5, "b": null, "t": "1", "u": 1, "m": "a", "w": 18446744073709551615}"#,
            ],
            0.0,
        );
        assert_eq!(types, "i:Int64 f:Float64 b:Boolean t:Utf8 n:Null u:UInt64 m:Utf8 w:Utf8");
    }

    #[test]
    fn whole_numbers_that_a_float_would_round() {
        let (id, half) = (r#"{"a": 9007199254740993}"#, r#"{"a": 0.5}"#);
        assert_eq!(types(&[id, r#"{"a": 1}"#], 0.0), "a:Int64");
        assert_eq!(types(&[id, half], 0.1), "a:Utf8", "no type of numbers holds both");
        assert_eq!(types(&[id, half, half, half], 0.25), "a:Float64");
        assert_eq!(types(&[half, id, id, id], 0.25), "a:Int64");
        for long in [r#"{"a": 18446744073709551615}"#, r#"{"a": 99999999999999999999}"#] {
            assert_eq!(types(&[long, half], 0.1), "a:Utf8", "{long}");
        }
        assert_eq!(
            types(&[r#"{"a": 99999999999999999999, "b": [-9223372036854775809]}"#], 0.0).split(' ').next(),
            Some("a:Utf8")
        );
        assert_eq!(types(&[r#"{"a": 1e300, "b": "99999999999999999999"}"#], 0.0), "a:Float64 b:Utf8");
        let float = DataType::Struct(shape(&[half]).fields_type(0.0).unwrap());
        assert!(shape(&[id]).misfit(&float).unwrap().found.contains("more digits than a float holds"));
        assert!(shape(&[r#"{"a": 9007199254740992}"#]).misfit(&float).is_none());
    }

    #[test]
    fn nested_values() {
        let nested = shape(&[r#"{"a": {"b": [1, 2.5], "c": []}}"#, r#"{"a": {"b": [], "d": {}}}"#]);
        let fields = nested.fields_type(0.0).unwrap();
        let DataType::Struct(inner) = fields[0].data_type() else { panic!("no struct") };
        let DataType::List(item) = inner[0].data_type() else { panic!("no list") };
        assert_eq!(item.data_type(), &DataType::Float64);
        assert_eq!(inner[2].data_type(), &DataType::Struct(Fields::empty()));
    }

    #[test]
    fn objects_among_texts_are_a_conflict_unless_they_are_few() {
        let said = types(&[r#"{"a": {"b": "x"}}"#, r#"{"a": {"b": [1]}}"#], 0.0);
        assert_eq!(said, "`a.b` holds 1 lists, 1 texts, which no type of a column takes together");
        assert_eq!(types(&[r#"{"a": "x"}"#, r#"{"a": "y"}"#, r#"{"a": []}"#], 0.4), "a:Utf8");
    }

    #[test]
    fn half_a_record_leaves_no_trace() {
        let mut shape = Shape::default();
        for broken in ["{\"a\": 1, \"b\"", "[1]", "7", "{\"a\": 1} x"] {
            assert!(shape.add(broken.as_bytes()).is_err(), "{broken}");
        }
        assert_eq!(shape, Shape::default());
    }

    #[test]
    fn misfits_name_their_place() {
        let fields = shape(&[r#"{"a": [{"b": 1}], "c": "x"}"#]).fields_type(0.0).unwrap();
        let misfit = |record: &str| {
            let conflict = shape(&[record]).misfit(&DataType::Struct(fields.clone()));
            conflict.map(|conflict| format!("{}: {}", conflict.path.join("."), conflict.found))
        };
        assert_eq!(misfit(r#"{"a": null, "c": 5}"#), None);
        assert_eq!(misfit(r#"{"a": [{"b": 1.5}]}"#).unwrap(), "a.b: a number with a fraction or an exponent");
        assert_eq!(misfit(r#"{"z": 1}"#).unwrap(), "z: a key that no record before had");
        assert_eq!(misfit(r#"{"c": 1, "c": 2}"#).unwrap(), ": a key that comes twice");
    }

    #[test]
    fn merging_is_adding() {
        let (first, second) = (r#"{"a": 1, "b": [{"c": true}]}"#, r#"{"b": [{"d": 1}], "a": 1.5}"#);
        let mut merged = shape(&[first]);
        merged.merge(&shape(&[second])).unwrap();
        assert_eq!(merged.fields_type(0.0), shape(&[first, second]).fields_type(0.0));
    }
}
