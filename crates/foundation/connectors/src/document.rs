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
    /// What the first one is that is no document.
    odd: Option<String>,
}

impl Columns {
    /// Takes one more into account. What is no document tells nothing of columns: as a row, it is set aside.
    pub(crate) fn add(&mut self, document: &Cell<'_>) {
        self.count += 1;
        if matches!(document, Cell::Struct(_)) {
            self.shape.add(document, 0);
        } else if self.odd.is_none() {
            self.odd = Some(format!("item {} is no object, but {}", self.count, document.shown()));
        }
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
        columns.add(document);
    }
    let Columns { mut shape, count, odd } = columns;
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
            let odd = odd.map(|odd| format!(": {odd}")).unwrap_or_default();
            let reason = format!("it has no item with a field, so nothing says which columns there are{odd}");
            return Err(ConnectorError::Document { url: place.to_owned(), reason });
        }
    };
    let fields: Vec<_> = fields.iter().map(|(name, shape)| shape.field(name, name, &mut notes)).collect();
    notes.push(Note { column: None, text: format!("the columns are those of the first {count} documents") });
    Ok(Inferred { schema: Arc::new(Schema::new(fields)), notes })
}
