use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, NullArray, StringArray, StructArray,
    TimestampMicrosecondArray, UInt8Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType, UInt8Type};
use arrow::error::ArrowError;

use super::cell::Cell;

const NULL: u8 = 0;
const NUMBER: u8 = 1;
const BOOLEAN: u8 = 2;
const INSTANT: u8 = 3;
const TEXT: u8 = 4;
const TEXT_OR_NULL: u8 = 5;

/// Cells of one column of one chunk, in the order of the rows.
#[derive(Debug, Default)]
pub(crate) struct ColumnBuffer {
    kinds: Vec<u8>,
    /// The bits of a number, a boolean or an instant; 0 for the others.
    bits: Vec<i64>,
    text: Vec<u8>,
    /// Where each row's text ends; shorter than `kinds` while the last rows have no text.
    ends: Vec<i32>,
}

impl ColumnBuffer {
    /// Whether `row` is still free.
    pub(crate) fn is_free(&self, row: usize) -> bool {
        self.kinds.len() <= row
    }

    /// Puts a cell at `row`, which must be free; rows before it that have none are null.
    pub(crate) fn push(&mut self, row: usize, cell: &Cell<'_>) {
        let (kind, bits) = match cell {
            Cell::Null => return,
            Cell::Number(number) => (NUMBER, number.to_bits().cast_signed()),
            Cell::Boolean(value) => (BOOLEAN, i64::from(*value)),
            Cell::Instant(micros) => (INSTANT, *micros),
            Cell::Text(text) | Cell::TextOrNull(text) => {
                self.ends.resize(row, self.text.len() as i32);
                self.text.extend_from_slice(text.as_bytes());
                self.ends.push(self.text.len() as i32);
                (if matches!(cell, Cell::Text(_)) { TEXT } else { TEXT_OR_NULL }, 0)
            }
        };
        self.kinds.resize(row, NULL);
        self.bits.resize(row, 0);
        self.kinds.push(kind);
        self.bits.push(bits);
    }

    /// The `rows` cells as an array, of a plain type when they all have one, and an empty buffer again.
    pub(crate) fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        if self.kinds.is_empty() {
            return Ok(Arc::new(NullArray::new(rows)));
        }
        self.kinds.resize(rows, NULL);
        self.bits.resize(rows, 0);
        let seen = self.kinds.iter().fold(0_u8, |seen, kind| seen | 1 << kind);
        let nulls = (seen & 1 != 0).then(|| self.kinds.iter().map(|kind| *kind != NULL).collect::<NullBuffer>());
        let bits = std::mem::take(&mut self.bits);
        let array: ArrayRef = match seen & !1 {
            only if only == 1 << NUMBER => {
                let numbers: Vec<_> = bits.into_iter().map(|bits| f64::from_bits(bits.cast_unsigned())).collect();
                Arc::new(Float64Array::new(numbers.into(), nulls))
            }
            only if only == 1 << BOOLEAN => {
                Arc::new(BooleanArray::new(bits.into_iter().map(|bits| bits != 0).collect(), nulls))
            }
            only if only == 1 << INSTANT => Arc::new(TimestampMicrosecondArray::new(bits.into(), nulls)),
            only if only == 1 << TEXT => Arc::new(self.finish_text(rows, nulls)?),
            _ => self.finish_mixed(rows, bits)?,
        };
        self.kinds.clear();
        Ok(array)
    }

    fn finish_text(&mut self, rows: usize, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
        self.ends.resize(rows, self.text.len() as i32);
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        offsets.append(&mut self.ends);
        let values = std::mem::take(&mut self.text);
        StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), values.into(), nulls)
    }

    fn finish_mixed(&mut self, rows: usize, bits: Vec<i64>) -> Result<ArrayRef, ArrowError> {
        let kinds: ArrayRef = Arc::new(UInt8Array::from(std::mem::take(&mut self.kinds)));
        let bits: ArrayRef = Arc::new(Int64Array::from(bits));
        let texts: ArrayRef = Arc::new(self.finish_text(rows, None)?);
        let parts = StructArray::try_from(vec![("kind", kinds), ("bits", bits), ("text", texts)])?;
        Ok(Arc::new(parts))
    }
}

/// A column of a chunk, read back cell by cell.
#[derive(Clone, Debug)]
pub(crate) enum LooseColumn {
    Null,
    Number(Float64Array),
    Boolean(BooleanArray),
    Instant(TimestampMicrosecondArray),
    Text(StringArray),
    Mixed { kinds: UInt8Array, bits: Int64Array, texts: StringArray },
}

impl LooseColumn {
    /// Reads the array that [`ColumnBuffer::finish`] made; none when it is of another type.
    pub(crate) fn new(array: &ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Float64 => Self::Number(array.as_primitive::<Float64Type>().clone()),
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Timestamp(..) => Self::Instant(array.as_primitive_opt::<TimestampMicrosecondType>()?.clone()),
            DataType::Utf8 => Self::Text(array.as_string::<i32>().clone()),
            DataType::Struct(_) => {
                let parts = array.as_struct();
                Self::Mixed {
                    kinds: parts.column_by_name("kind")?.as_primitive_opt::<UInt8Type>()?.clone(),
                    bits: parts.column_by_name("bits")?.as_primitive_opt::<Int64Type>()?.clone(),
                    texts: parts.column_by_name("text")?.as_string_opt::<i32>()?.clone(),
                }
            }
            _ => return None,
        })
    }

    /// The cell at `row`, which must be below the number of rows.
    pub(crate) fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Number(array) if array.is_valid(row) => Cell::Number(array.value(row)),
            Self::Boolean(array) if array.is_valid(row) => Cell::Boolean(array.value(row)),
            Self::Instant(array) if array.is_valid(row) => Cell::Instant(array.value(row)),
            Self::Text(array) if array.is_valid(row) => Cell::Text(array.value(row).into()),
            Self::Mixed { kinds, bits, texts } => match kinds.value(row) {
                NUMBER => Cell::Number(f64::from_bits(bits.value(row).cast_unsigned())),
                BOOLEAN => Cell::Boolean(bits.value(row) != 0),
                INSTANT => Cell::Instant(bits.value(row)),
                TEXT => Cell::Text(texts.value(row).into()),
                TEXT_OR_NULL => Cell::TextOrNull(texts.value(row).into()),
                _ => Cell::Null,
            },
            Self::Null | Self::Number(_) | Self::Boolean(_) | Self::Instant(_) | Self::Text(_) => Cell::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_cell() -> impl Strategy<Value = Cell<'static>> {
        prop_oneof![
            Just(Cell::Null),
            any::<i32>().prop_map(|n| Cell::Number(f64::from(n) / 4.0)),
            any::<bool>().prop_map(Cell::Boolean),
            any::<i64>().prop_map(Cell::Instant),
            ".{0,6}".prop_map(|text| Cell::Text(text.into())),
            " {0,3}".prop_map(|text| Cell::TextOrNull(text.into())),
        ]
    }

    proptest! {
        #[test]
        fn cells_come_back(cells in proptest::collection::vec(any_cell(), 0..40), one in any_cell(), many in 1..20_usize) {
            let mut buffer = ColumnBuffer::default();
            for cells in [cells.as_slice(), &vec![one; many]] {
                for (row, cell) in cells.iter().enumerate() {
                    buffer.push(row, cell);
                }
                let column = LooseColumn::new(&buffer.finish(cells.len()).expect("an array")).expect("a known type");
                for (row, cell) in cells.iter().enumerate() {
                    prop_assert_eq!(&column.cell(row), cell);
                }
            }
        }
    }
}
