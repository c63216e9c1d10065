use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::Note;
use crate::cell::Cell;
use crate::column::MIXED;

/// A document with more fields is one whose names are values, such as ids.
pub(super) const MOST_FIELDS: usize = 2000;

/// Documents deeper inside are kept as JSON.
const DEEPEST: usize = 32;

/// What the values in one place of documents have been.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// Null, or not there.
    #[default]
    Nothing,
    Boolean,
    Integer,
    /// Numbers of which one is not whole.
    Float,
    Decimal,
    Text,
    Binary,
    Timestamp,
    List(Box<Shape>),
    Struct(Fields),
    /// Of several types, or too deep, or with too many fields.
    Mixed,
}

/// The fields of documents, in the order in which they were first seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    known: Vec<(String, Shape)>,
    /// Where each name stands in `known`.
    places: HashMap<String, usize>,
}

impl Fields {
    /// The shape of the field `name`, which documents before this one had at `place`, if they had it; none when that
    /// would be one field too many.
    fn shape(&mut self, place: usize, name: &str) -> Option<&mut Shape> {
        let found = match self.known.get(place) {
            Some((same, _)) if same == name => place,
            _ => match self.places.get(name) {
                Some(place) => *place,
                None if self.known.len() == MOST_FIELDS => return None,
                None => {
                    self.places.insert(name.to_owned(), self.known.len());
                    self.known.push((name.to_owned(), Shape::Nothing));
                    self.known.len() - 1
                }
            },
        };
        self.known.get_mut(found).map(|(_, shape)| shape)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, Shape)> {
        self.known.iter()
    }
}

impl Shape {
    /// Takes one more value into account; `depth` is that of the place.
    pub(super) fn add(&mut self, cell: &Cell<'_>, depth: usize) {
        let kind = match cell {
            Cell::Null => return,
            _ if depth > DEEPEST => Self::Mixed,
            Cell::List(items) => return self.add_list(items, depth),
            Cell::Struct(fields) => return self.add_struct(fields, depth),
            Cell::Boolean(_) => Self::Boolean,
            Cell::Integer(_) => Self::Integer,
            Cell::Float(_) => Self::Float,
            Cell::Decimal(_) => Self::Decimal,
            Cell::Text(_) => Self::Text,
            Cell::Binary(..) => Self::Binary,
            Cell::Timestamp(_) => Self::Timestamp,
            // A number beyond 64 signed bits, and what has no type of its own.
            Cell::Unsigned(_) | Cell::Date(_) | Cell::Time(_) | Cell::Misfit(..) => Self::Mixed,
        };
        *self = match (std::mem::take(self), kind) {
            (Self::Nothing, kind) => kind,
            (Self::Integer, Self::Float) | (Self::Float, Self::Integer) => Self::Float,
            (seen, kind) if seen == kind => seen,
            _ => Self::Mixed,
        };
    }

    fn add_list(&mut self, items: &[Cell<'_>], depth: usize) {
        if *self == Self::Nothing {
            *self = Self::List(Box::default());
        }
        match self {
            Self::List(item) => items.iter().for_each(|cell| item.add(cell, depth + 1)),
            other => *other = Self::Mixed,
        }
    }

    fn add_struct(&mut self, cells: &[(std::borrow::Cow<'_, str>, Cell<'_>)], depth: usize) {
        if *self == Self::Nothing {
            *self = Self::Struct(Fields::default());
        }
        let Self::Struct(fields) = self else {
            *self = Self::Mixed;
            return;
        };
        for (place, (name, cell)) in cells.iter().enumerate() {
            let Some(shape) = fields.shape(place, name) else {
                *self = Self::Mixed;
                return;
            };
            shape.add(cell, depth + 1);
        }
    }

    /// Takes the fields `names` as `other` has them, in place of its own.
    pub(super) fn take(&mut self, other: Self, names: &BTreeSet<String>) {
        let (Self::Struct(fields), Self::Struct(others)) = (self, other) else { return };
        for (name, shape) in others.known.into_iter().filter(|(name, _)| names.contains(name)) {
            if let Some(known) = fields.shape(usize::MAX, &name) {
                *known = shape;
            }
        }
    }

    /// The column of this shape; `path` is the way to it.
    pub(super) fn field(&self, name: &str, path: &str, notes: &mut Vec<Note>) -> Field {
        let mut note = |text: &str| notes.push(Note { column: Some(path.to_owned()), text: text.to_owned() });
        let data_type = match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Decimal => {
                note("decimal numbers: exact, as text");
                DataType::Utf8
            }
            Self::List(item) => {
                let item = item.field("item", &format!("{path}.item"), notes);
                DataType::List(Arc::new(item))
            }
            Self::Struct(fields) if !fields.is_empty() => {
                let fields = fields.iter().map(|(name, shape)| shape.field(name, &format!("{path}.{name}"), notes));
                DataType::Struct(fields.collect())
            }
            Self::Nothing | Self::Struct(_) | Self::Mixed => {
                note(match self {
                    Self::Nothing => "no value in the sample: whatever comes is kept as JSON",
                    Self::Struct(_) => "documents without fields in the sample: kept as JSON",
                    _ => "values of several types: kept as JSON",
                });
                let metadata = [(MIXED.to_owned(), "json".to_owned())];
                return Field::new(name, DataType::Utf8, true).with_metadata(metadata.into());
            }
        };
        Field::new(name, data_type, true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::infer;
    use super::super::json::cell;

    use super::*;

    fn schema(documents: &[serde_json::Value]) -> (Vec<(String, DataType)>, Vec<Note>) {
        let cells: Vec<_> = documents.iter().map(cell).collect();
        let inferred = infer(&cells, None, "x").unwrap();
        let fields = inferred.schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone()));
        (fields.collect(), inferred.notes)
    }

    #[test]
    fn documents_become_columns() {
        let (fields, notes) = schema(&[
            serde_json::json!({"id": 1, "x": 1, "tags": ["a"], "at": {"lat": 1.5}, "odd": 1, "none": null}),
            serde_json::json!({"id": 2, "x": 0.5, "tags": [], "at": {"lon": 2}, "odd": "one", "late": true}),
        ]);
        let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
        let place = DataType::Struct(arrow::datatypes::Fields::from(vec![
            Field::new("lat", DataType::Float64, true),
            Field::new("lon", DataType::Int64, true),
        ]));
        let found = |name: &str| fields.iter().find(|(known, _)| known == name).unwrap().1.clone();
        assert_eq!(found("id"), DataType::Int64);
        assert_eq!(found("x"), DataType::Float64);
        assert_eq!(found("tags"), list);
        assert_eq!(found("at"), place);
        assert_eq!(found("odd"), DataType::Utf8);
        assert_eq!(found("late"), DataType::Boolean);
        let noted: Vec<_> = notes.iter().filter_map(|note| note.column.as_deref()).collect();
        assert_eq!(noted.len(), 2);
        assert!(noted.contains(&"odd") && noted.contains(&"none"), "{noted:?}");
    }

    #[test]
    fn columns_that_the_sample_got_wrong_are_those_of_all_documents() {
        let documents =
            [serde_json::json!({"a": 1, "b": 1}), serde_json::json!({"a": 0.5, "b": "x", "c": {"d": true}, "e": 1})];
        let mut all = super::super::Columns::default();
        for document in &documents {
            all.add(&cell(document));
        }
        let wide = ["a", "c"].map(str::to_owned).into();
        let inferred = infer(&[cell(&documents[0])], Some((all, &wide)), "x").unwrap();
        assert_eq!(inferred.schema.fields().len(), 3, "{:?}", inferred.schema);
        assert_eq!(*inferred.schema.field(0).data_type(), DataType::Float64);
        assert_eq!(*inferred.schema.field(1).data_type(), DataType::Int64, "as the sample has it");
        assert!(matches!(inferred.schema.field(2).data_type(), DataType::Struct(_)));
        assert!(inferred.notes.iter().any(|note| note.text == "2 documents decided `a`, `c`"), "{:?}", inferred.notes);
    }

    #[test]
    fn what_is_no_document_tells_nothing_of_columns() {
        let items = [serde_json::json!(7), serde_json::json!({"a": 1})];
        let (fields, notes) = schema(&items);
        assert_eq!(fields, [("a".to_owned(), DataType::Int64)]);
        assert!(notes[0].text.ends_with("the first 2 documents"), "{notes:?}");
        let error = infer(&[cell(&items[0])], None, "x").unwrap_err().to_string();
        assert!(error.contains("item 1 is no object, but 7"), "{error}");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for documents in [vec![], vec![serde_json::json!({})], vec![serde_json::json!([1])]] {
            let cells: Vec<_> = documents.iter().map(cell).collect();
            assert!(infer(&cells, None, "x").is_err(), "{documents:?}");
        }
        let wide: serde_json::Map<_, _> = (0..=MOST_FIELDS).map(|n| (n.to_string(), 1.into())).collect();
        assert!(infer(&[cell(&wide.into())], None, "x").is_err());
    }

    #[test]
    fn a_document_of_very_many_fields_is_given_up_at_once() {
        let wide: Vec<_> = (0..500_000).map(|n| (format!("id{n}").into(), Cell::Integer(n))).collect();
        let mut shape = Shape::Nothing;
        let begun = std::time::Instant::now();
        shape.add(&Cell::Struct(wide), 0);
        assert_eq!(shape, Shape::Mixed);
        // 10^11 comparisons would take minutes.
        assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    }

    #[test]
    fn depth_is_bounded() {
        let mut deep = serde_json::json!(1);
        for _ in 0..100 {
            deep = serde_json::json!([deep]);
        }
        let (fields, notes) = schema(&[serde_json::json!({"deep": deep})]);
        assert_eq!(fields.len(), 1);
        assert_eq!(notes.len(), 2);
    }
}
