//! Documents of one source as rows of one table: which columns a sample of them shows.

pub(crate) mod json;
mod shape;

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use crate::cell::Cell;
use crate::{ConnectorError, Note};

use shape::Shape;

/// The sample is kept until its rows are read, and one document may have 16 MiB.
pub(crate) const SAMPLE_BYTES: usize = 64 << 20;

/// Documents as columns.
#[derive(Debug)]
pub(crate) struct Inferred {
    pub(crate) schema: SchemaRef,
    pub(crate) notes: Vec<Note>,
}

/// The columns that hold all of `documents`: the fields of documents become columns in the order in which they first
/// stand in one, documents inside them structs, arrays lists. Values of several types in one place are kept as JSON.
pub(crate) fn infer<'a, 'c: 'a>(
    documents: impl IntoIterator<Item = &'a Cell<'c>>,
    place: &str,
) -> Result<Inferred, ConnectorError> {
    let mut shape = Shape::Nothing;
    let mut count = 0_usize;
    for document in documents {
        count += 1;
        if !matches!(document, Cell::Struct(_)) {
            let reason = format!("item {count} is no object, but {}", document.shown());
            return Err(ConnectorError::Document { url: place.to_owned(), reason });
        }
        shape.add(document, 0);
    }
    let fields = match shape {
        Shape::Struct(fields) if !fields.is_empty() => fields,
        Shape::Mixed => {
            let reason = format!("its items have more than {} different fields", shape::MOST_FIELDS);
            return Err(ConnectorError::Document { url: place.to_owned(), reason });
        }
        _ => {
            let reason = "it has no item with a field, so nothing says which columns there are".to_owned();
            return Err(ConnectorError::Document { url: place.to_owned(), reason });
        }
    };
    let mut notes = Vec::new();
    let fields: Vec<_> = fields.iter().map(|(name, shape)| shape.field(name, name, &mut notes)).collect();
    notes.push(Note { column: None, text: format!("the columns are those of the first {count} documents") });
    Ok(Inferred { schema: Arc::new(Schema::new(fields)), notes })
}
