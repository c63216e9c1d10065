//! Documents of one source as rows of one table: which columns a sample of them shows.

pub(crate) mod json;
mod shape;

use std::collections::BTreeSet;
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

/// What documents show of their columns, one after another: their fields become columns in the order in which they first
/// stand in one, documents inside them structs, arrays lists. Values of several types in one place are kept as JSON.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    shape: Shape,
    count: usize,
}

impl Columns {
    pub(crate) fn add(&mut self, document: &Cell<'_>, place: &str) -> Result<(), ConnectorError> {
        self.count += 1;
        if !matches!(document, Cell::Struct(_)) {
            let reason = format!("item {} is no object, but {}", self.count, document.shown());
            return Err(ConnectorError::Document { url: place.to_owned(), reason });
        }
        self.shape.add(document, 0);
        Ok(())
    }
}

/// The columns that hold all of `documents`; those of `whole` that it names hold all that were shown to it.
pub(crate) fn infer<'a, 'c: 'a>(
    documents: impl IntoIterator<Item = &'a Cell<'c>>,
    whole: Option<(Columns, &BTreeSet<String>)>,
    place: &str,
) -> Result<Inferred, ConnectorError> {
    let mut columns = Columns::default();
    for document in documents {
        columns.add(document, place)?;
    }
    let Columns { mut shape, count } = columns;
    let mut notes = Vec::new();
    if let Some((all, wide)) = whole {
        let names: Vec<_> = wide.iter().map(|name| format!("`{name}`")).collect();
        let text = format!("{} documents decided {}", all.count, names.join(", "));
        notes.push(Note { column: None, text });
        shape.take(all.shape, wide);
    }
    let fields = match shape {
        Shape::Struct(fields) if !fields.is_empty() => fields,
        Shape::Mixed => {
            let reason = format!("its items have more than {} different fields", shape::MOST_FIELDS);
            return Err(ConnectorError::Document { url: place.to_owned(), reason });
        }
        _ if count == 0 => {
            let reason = "there is no item, so nothing says which columns there are".to_owned();
            return Err(ConnectorError::Document { url: place.to_owned(), reason });
        }
        _ => {
            let reason = "it has no item with a field, so nothing says which columns there are".to_owned();
            return Err(ConnectorError::Document { url: place.to_owned(), reason });
        }
    };
    let fields: Vec<_> = fields.iter().map(|(name, shape)| shape.field(name, name, &mut notes)).collect();
    notes.push(Note { column: None, text: format!("the columns are those of the first {count} documents") });
    Ok(Inferred { schema: Arc::new(Schema::new(fields)), notes })
}
