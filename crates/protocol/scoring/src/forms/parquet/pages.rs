//! The heads of a file's pages, looked at before any page is decompressed or decoded: what the footer says of their sizes may
//! be anything, and some bytes of levels or of a dictionary's indices stand for any number of values.

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use super::footer::STATISTICS;
use super::thrift::Wire::{Bool, I32, Struct};
use super::thrift::{Fields, Walk, damaged};
use super::wrong;
use crate::{ScoringError, ScoringLimits};

const PAGE_HEADER: Fields = &[
    (1, I32),
    (UNCOMPRESSED_SIZE, I32),
    (COMPRESSED_SIZE, I32),
    (4, I32),
    (DATA_PAGE, Struct(&[(NUM_VALUES, I32), (2, I32), (3, I32), (4, I32), (5, STATISTICS)])),
    (6, Struct(&[])),
    (DICTIONARY_PAGE, Struct(&[(NUM_VALUES, I32), (2, I32), (3, Bool)])),
    (
        DATA_PAGE_V2,
        Struct(&[(NUM_VALUES, I32), (2, I32), (3, I32), (4, I32), (5, I32), (6, I32), (7, Bool), (8, STATISTICS)]),
    ),
];
const UNCOMPRESSED_SIZE: i16 = 2;
const COMPRESSED_SIZE: i16 = 3;
const DATA_PAGE: i16 = 5;
const DICTIONARY_PAGE: i16 = 7;
const DATA_PAGE_V2: i16 = 8;
/// Field 1 of all three.
const NUM_VALUES: i16 = 1;

/// `DELTA_LENGTH_BYTE_ARRAY` and `DELTA_BYTE_ARRAY`, whose data says how many values it has and repeats them: the crate makes
/// room for any number.
const UNBOUNDED: [usize; 2] = [6, 7];

/// What the head of a page says of it.
#[derive(Debug, Default)]
struct Page {
    uncompressed: usize,
    compressed: usize,
    values: usize,
    dictionary: usize,
    is_unbounded: bool,
}

/// What may still come.
struct Room<'a> {
    limits: &'a ScoringLimits,
    file: usize,
    bytes: usize,
    values: usize,
    dictionary: usize,
}

/// Refuses a file whose pages come to more than is allowed.
pub(super) fn check(body: &[u8], metadata: &ParquetMetaData, limits: &ScoringLimits) -> Result<(), ScoringError> {
    let (bytes, cells) = (limits.parquet_bytes, limits.cells);
    let mut room = Room { limits, file: body.len(), bytes, values: cells, dictionary: cells };
    metadata.row_groups().iter().flat_map(RowGroupMetaData::columns).try_for_each(|column| room.chunk(body, column))
}

impl Room<'_> {
    fn chunk(&mut self, body: &[u8], column: &ColumnChunkMetaData) -> Result<(), ScoringError> {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let start = usize::try_from(start).map_err(|_| damaged())?;
        let length = usize::try_from(column.compressed_size()).map_err(|_| damaged())?;
        let pages = body.get(start..).and_then(|rest| rest.get(..length)).ok_or_else(damaged)?;
        // Otherwise a file could say of each of a hundred thousand columns that it is all of the file.
        take(&mut self.file, length).ok_or_else(|| wrong(&"its columns overlap"))?;
        let mut walk = Walk::new(pages);
        while walk.left() > 0 {
            let page = self.page(&mut walk)?;
            if page.is_unbounded {
                let path = column.column_path().string();
                return Err(wrong(&format!(
                    "column `{path}` has texts in a DELTA encoding: PLAIN and dictionaries are read"
                )));
            }
            walk.over(page.compressed)?;
        }
        Ok(())
    }

    fn page(&mut self, walk: &mut Walk<'_>) -> Result<Page, ScoringError> {
        let before = walk.left();
        let page = head(walk)?;
        let over = |what, limit| ScoringError::TooManyCells { what, limit };
        let size = (before - walk.left()).saturating_add(page.uncompressed.max(page.compressed));
        take(&mut self.bytes, size).ok_or_else(|| over("bytes without compression", self.limits.parquet_bytes))?;
        take(&mut self.values, page.values).ok_or_else(|| over("values", self.limits.cells))?;
        take(&mut self.dictionary, page.dictionary).ok_or_else(|| over("values in dictionaries", self.limits.cells))?;
        Ok(page)
    }
}

fn take(left: &mut usize, amount: usize) -> Option<()> {
    *left = left.checked_sub(amount)?;
    Some(())
}

fn head(walk: &mut Walk<'_>) -> Result<Page, ScoringError> {
    let mut page = Page::default();
    walk.fields(PAGE_HEADER, |walk, id, wire| match (id, wire) {
        (UNCOMPRESSED_SIZE, _) => walk.count().map(|size| page.uncompressed = size),
        (COMPRESSED_SIZE, _) => walk.count().map(|size| page.compressed = size),
        (DATA_PAGE, Struct(fields)) => data_page(walk, fields, 2, &mut page),
        (DATA_PAGE_V2, Struct(fields)) => data_page(walk, fields, 4, &mut page),
        (DICTIONARY_PAGE, Struct(fields)) => walk.fields(fields, |walk, id, wire| match id {
            NUM_VALUES => walk.count().map(|count| page.dictionary += count),
            _ => walk.pass(wire),
        }),
        _ => walk.pass(wire),
    })?;
    Ok(page)
}

/// `encoding` is the field that says it.
fn data_page(walk: &mut Walk<'_>, fields: Fields, encoding: i16, page: &mut Page) -> Result<(), ScoringError> {
    walk.fields(fields, |walk, id, wire| match id {
        NUM_VALUES => walk.count().map(|count| page.values += count),
        _ if id == encoding => walk.count().map(|number| page.is_unbounded |= UNBOUNDED.contains(&number)),
        _ => walk.pass(wire),
    })
}
