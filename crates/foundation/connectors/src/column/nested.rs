use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{FieldRef, Fields};

use crate::ConnectorError;
use crate::cell::Cell;

use super::{ColumnBuilder, Unfit};

/// Up to so many names, looking through the fields is faster than a table of them.
const SOUGHT_ONE_BY_ONE: usize = 32;

/// Lists of one type.
pub(super) struct ListValues {
    item: FieldRef,
    values: Box<ColumnBuilder>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

impl ListValues {
    pub(super) fn new(path: &str, item: &FieldRef) -> Result<Self, ConnectorError> {
        let values = Box::new(ColumnBuilder::below(path, item)?);
        Ok(Self { item: Arc::clone(item), values, lengths: Vec::new(), valid: Vec::new() })
    }

    pub(super) fn push(&mut self, items: Vec<Cell<'_>>, unfit: &mut Vec<Unfit>) {
        self.lengths.push(items.len());
        self.valid.push(true);
        for item in items {
            self.values.push(item, unfit);
        }
    }

    pub(super) fn push_null(&mut self) {
        self.lengths.push(0);
        self.valid.push(false);
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ConnectorError> {
        let offsets = OffsetBuffer::from_lengths(std::mem::take(&mut self.lengths));
        let valid = NullBuffer::from(std::mem::take(&mut self.valid));
        let values = self.values.finish()?;
        Ok(Arc::new(ListArray::try_new(Arc::clone(&self.item), offsets, values, Some(valid))?))
    }
}

/// Documents with fields that are known.
pub(super) struct StructValues {
    path: String,
    fields: Fields,
    values: Vec<ColumnBuilder>,
    valid: Vec<bool>,
}

impl StructValues {
    pub(super) fn new(path: &str, fields: &Fields) -> Result<Self, ConnectorError> {
        let values = fields.iter().map(|field| ColumnBuilder::below(path, field)).collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), fields: fields.clone(), values, valid: Vec::new() })
    }

    pub(super) fn push(&mut self, cells: Vec<(Cow<'_, str>, Cell<'_>)>, unfit: &mut Vec<Unfit>) {
        self.valid.push(true);
        let cells = arrange(&self.fields, cells, &self.path, unfit);
        for (values, cell) in self.values.iter_mut().zip(cells) {
            values.push(cell, unfit);
        }
    }

    pub(super) fn push_null(&mut self) {
        self.valid.push(false);
        self.values.iter_mut().for_each(ColumnBuilder::push_null);
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ConnectorError> {
        let valid = NullBuffer::from(std::mem::take(&mut self.valid));
        let length = valid.len();
        let arrays = self.values.iter_mut().map(ColumnBuilder::finish).collect::<Result<Vec<_>, _>>()?;
        let fields = self.fields.clone();
        Ok(Arc::new(StructArray::try_new_with_length(fields, arrays, Some(valid), length)?))
    }
}

/// The cells of a document in the order of `fields`; a field that is not among them, or stands twice, is unfit.
pub(crate) fn arrange<'a>(
    fields: &Fields,
    cells: Vec<(Cow<'a, str>, Cell<'a>)>,
    path: &str,
    unfit: &mut Vec<Unfit>,
) -> Vec<Cell<'a>> {
    let mut arranged: Vec<Option<Cell<'a>>> = vec![None; fields.len()];
    // A document may have as many names as its source pleases, each of which would be looked for among all fields.
    let places: Option<HashMap<&str, usize>> = (cells.len() > SOUGHT_ONE_BY_ONE)
        .then(|| fields.iter().enumerate().map(|(place, field)| (field.name().as_str(), place)).collect());
    let sought = |name: &str| match &places {
        Some(places) => places.get(name).copied(),
        None => fields.iter().position(|field| field.name() == name),
    };
    for (place, (name, cell)) in cells.into_iter().enumerate() {
        // Documents of one source mostly have their fields in one order.
        let same = fields.get(place).is_some_and(|field| *field.name() == name);
        let found = if same { Some(place) } else { sought(&name) };
        let reason = match found.and_then(|index| arranged.get_mut(index)) {
            Some(slot @ None) => {
                *slot = Some(cell);
                continue;
            }
            Some(Some(_)) => "the document has this field twice",
            None if matches!(cell, Cell::Null) => continue,
            None => "no document of the sample has this field",
        };
        Unfit::list(unfit, || {
            let column = if path.is_empty() { name.into_owned() } else { format!("{path}.{name}") };
            Unfit { column, value: cell.shown(), reason: reason.to_owned() }
        });
    }
    arranged.into_iter().map(|cell| cell.unwrap_or(Cell::Null)).collect()
}
