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
    /// In the order in which they were first seen.
    Struct(Vec<(String, Shape)>),
    /// Of several types, or too deep, or with too many fields.
    Mixed,
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
            Cell::Binary(_) => Self::Binary,
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
            *self = Self::Struct(Vec::new());
        }
        let Self::Struct(fields) = self else {
            *self = Self::Mixed;
            return;
        };
        for (place, (name, cell)) in cells.iter().enumerate() {
            let found = match fields.get(place) {
                Some((same, _)) if same == name => Some(place),
                _ => fields.iter().position(|(known, _)| known == name),
            };
            if let Some((_, shape)) = found.and_then(|index| fields.get_mut(index)) {
                shape.add(cell, depth + 1);
            } else {
                let mut shape = Self::Nothing;
                shape.add(cell, depth + 1);
                fields.push((name.to_string(), shape));
            }
        }
        if fields.len() > MOST_FIELDS {
            *self = Self::Mixed;
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
    use arrow::datatypes::Fields;

    use super::*;

    fn schema(documents: &[serde_json::Value]) -> (Vec<(String, DataType)>, Vec<Note>) {
        let cells: Vec<_> = documents.iter().map(cell).collect();
        let inferred = infer(&cells, "x").unwrap();
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
        let place = DataType::Struct(Fields::from(vec![
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
    fn what_is_no_table_is_refused() {
        for documents in [vec![], vec![serde_json::json!({})], vec![serde_json::json!([1])]] {
            let cells: Vec<_> = documents.iter().map(cell).collect();
            assert!(infer(&cells, "x").is_err(), "{documents:?}");
        }
        let wide: serde_json::Map<_, _> = (0..=MOST_FIELDS).map(|n| (n.to_string(), 1.into())).collect();
        assert!(infer(&[cell(&wide.into())], "x").is_err());
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
