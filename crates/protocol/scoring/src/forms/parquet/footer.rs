//! A file's footer, looked at before the `parquet` crate reads it: the crate calls itself once for each group in a
//! group, and makes room for as many children and row groups as the file promises. Both end the process, not the request.
//! And it makes hundreds of bytes of each column in a row group, which twenty are enough to say, and repeats a group's
//! name for each column in it.
//!
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>

use arrow::datatypes::Field;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, RowGroupMetaData};
use parquet::schema::types::{ColumnDescriptor, Type};

use super::thrift::Wire::{Binary, Bool, Byte, Double, I16, I32, I64, List, Struct};
use super::thrift::{Fields, Walk, Wire, damaged};
use super::wrong;
use crate::table::within;
use crate::{ScoringError, ScoringLimits};

/// Groups in each other, the root among them: a list is two, so that these are seven lists in each other.
const DEPTH: usize = 16;
/// Bytes of a footer: pandas writes about 600 for a column, half of them in its own metadata and Arrow's, and some thousand
/// for a table.
const FOOTER: usize = 64 << 10;
const FOOTER_OF_COLUMN: usize = 1 << 10;
/// The crate counts them in 16 bits.
const ROW_GROUPS: usize = i16::MAX as usize;

/// The part of [`ScoringLimits::parquet_bytes`] that a footer may take in memory.
const SHARE: usize = 2;
/// A text, beside its bytes: itself and what the allocator takes for it.
const TEXT: usize = size_of::<String>() + 32;
/// An element of the schema: as it is read, as a type of Parquet's and as a field of Arrow's, and as a column.
const ELEMENT: usize = 2 * size_of::<Type>() + 2 * size_of::<Field>() + size_of::<ColumnDescriptor>();
/// A column in a row group: with its file's path, the least and the greatest of its values and its bounding box.
const CHUNK: usize = size_of::<ColumnChunkMetaData>() + 256;
/// An element of any other list, as of a histogram.
const OTHER: usize = 16;

const EMPTY: Wire = Struct(&[]);
const TIME: Wire = Struct(&[(1, Bool), (2, Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))]);
const LOGICAL_TYPE: Wire = Struct(&[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    (5, Struct(&[(1, I32), (2, I32)])),
    (6, EMPTY),
    (7, TIME),
    (8, TIME),
    (10, Struct(&[(1, Byte), (2, Bool)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Binary)])),
    (18, Struct(&[(1, Binary), (2, I32)])),
]);
const SCHEMA_ELEMENT: Fields = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, Binary),
    (NUM_CHILDREN, I32),
    (6, I32),
    (7, I32),
    (8, I32),
    (9, I32),
    (10, LOGICAL_TYPE),
];
const NUM_CHILDREN: i16 = 5;
pub(super) const STATISTICS: Wire =
    Struct(&[(1, Binary), (2, Binary), (3, I64), (4, I64), (5, Binary), (6, Binary), (7, Bool), (8, Bool)]);
const KEY_VALUE: Wire = Struct(&[(1, Binary), (2, Binary)]);
const BOUNDING_BOX: Wire =
    Struct(&[(1, Double), (2, Double), (3, Double), (4, Double), (5, Double), (6, Double), (7, Double), (8, Double)]);
const COLUMN_METADATA: Wire = Struct(&[
    (1, I32),
    (2, List(&I32)),
    (3, List(&Binary)),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (8, List(&KEY_VALUE)),
    (9, I64),
    (10, I64),
    (11, I64),
    (12, STATISTICS),
    (13, List(&Struct(&[(1, I32), (2, I32), (3, I32)]))),
    (14, I64),
    (15, I32),
    (16, Struct(&[(1, I64), (2, List(&I64)), (3, List(&I64))])),
    (17, Struct(&[(1, BOUNDING_BOX), (2, List(&I32))])),
]);
const COLUMN_CHUNK: Wire =
    Struct(&[(1, Binary), (2, I64), (3, COLUMN_METADATA), (4, I64), (5, I32), (6, I64), (7, I32)]);
const ROW_GROUP: Fields = &[
    (COLUMNS, List(&COLUMN_CHUNK)),
    (2, I64),
    (3, I64),
    (4, List(&Struct(&[(1, I32), (2, Bool), (3, Bool)]))),
    (5, I64),
    (6, I64),
    (7, I16),
];
const COLUMNS: i16 = 1;
const FILE_METADATA: Fields = &[
    (1, I32),
    (SCHEMA, List(&Struct(SCHEMA_ELEMENT))),
    (3, I64),
    (ROW_GROUP_LIST, List(&Struct(ROW_GROUP))),
    (KEY_VALUES, List(&KEY_VALUE)),
    (6, Binary),
    (7, List(&Struct(&[(1, EMPTY)]))),
];
const SCHEMA: i16 = 2;
const ROW_GROUP_LIST: i16 = 4;
const KEY_VALUES: i16 = 5;

/// Refuses a footer that the `parquet` crate should not read. Returns about how many bytes the others take in memory.
pub(super) fn check(body: &[u8], limits: &ScoringLimits) -> Result<usize, ScoringError> {
    let (rest, [a, b, c, d, mark @ ..]) = body.split_last_chunk::<8>().ok_or_else(|| wrong(&"it has no footer"))?;
    if mark != b"PAR1" {
        return Err(wrong(&"it does not end with a footer"));
    }
    let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
    let most = FOOTER.saturating_add(FOOTER_OF_COLUMN.saturating_mul(limits.columns));
    if length > most {
        return Err(wrong(&format!("its footer has {length} bytes, the limit is {most}")));
    }
    let start = rest.len().checked_sub(length).ok_or_else(damaged)?;
    let mut walk = Walk::new(rest.get(start..).unwrap_or_default());
    let mut memory = Memory(length);
    walk.fields(FILE_METADATA, |walk, id, wire| match id {
        SCHEMA => schema(walk, limits, &mut memory),
        ROW_GROUP_LIST => row_groups(walk, &mut memory),
        KEY_VALUES => {
            let count = walk.list(KEY_VALUE)?;
            memory.add(count, size_of::<KeyValue>() + 2 * TEXT);
            (0..count).try_for_each(|_| walk.pass(KEY_VALUE))
        }
        _ => walk.pass(wire),
    })?;
    memory.add(walk.elements(), OTHER);
    let most = limits.parquet_bytes / SHARE;
    if memory.0 > most {
        let problem =
            format!("its footer takes more than {most} bytes in memory: write it with fewer columns or row groups");
        return Err(wrong(&problem));
    }
    Ok(memory.0)
}

/// About how many bytes a footer becomes.
struct Memory(usize);

impl Memory {
    fn add(&mut self, count: usize, size: usize) {
        self.0 = self.0.saturating_add(count.saturating_mul(size));
    }
}

fn row_groups(walk: &mut Walk<'_>, memory: &mut Memory) -> Result<(), ScoringError> {
    let count = walk.list(Struct(ROW_GROUP))?;
    if count > ROW_GROUPS {
        return Err(wrong(&format!("it has {count} row groups, the limit is {ROW_GROUPS}")));
    }
    memory.add(count, size_of::<RowGroupMetaData>());
    (0..count).try_for_each(|_| {
        walk.fields(ROW_GROUP, |walk, id, wire| {
            if id != COLUMNS {
                return walk.pass(wire);
            }
            let count = walk.list(COLUMN_CHUNK)?;
            memory.add(count, CHUNK);
            (0..count).try_for_each(|_| walk.pass(COLUMN_CHUNK))
        })
    })
}

/// The schema is a tree, written down depth first as a flat list in which each group says how many children follow.
fn schema(walk: &mut Walk<'_>, limits: &ScoringLimits, memory: &mut Memory) -> Result<(), ScoringError> {
    let count = walk.list(Struct(SCHEMA_ELEMENT))?;
    // A column is one value or lists of it.
    within(0, count.saturating_sub(1).div_ceil(DEPTH), limits)?;
    // How many children are still to come of each group that is open, and what the names take in a column's path.
    let mut open: Vec<(usize, usize)> = Vec::new();
    for place in 0..count {
        let (children, name) = children(walk)?;
        let path = match open.last_mut() {
            Some((left, path)) => {
                *left -= 1;
                path.saturating_add(TEXT + name)
            }
            None if place == 0 => {
                within(0, children, limits)?;
                0
            }
            None => return Err(damaged()),
        };
        // Its name as a type's, as a field's and in its path.
        memory.add(1, (ELEMENT + 2 * (TEXT + name)).saturating_add(path));
        if children > count - place - 1 {
            return Err(damaged());
        }
        if children > 0 && open.len() == DEPTH {
            return Err(wrong(&format!("its columns are nested more than {DEPTH} deep")));
        }
        open.push((children, path));
        while open.last().is_some_and(|(left, _)| *left == 0) {
            open.pop();
        }
    }
    if open.is_empty() { Ok(()) } else { Err(damaged()) }
}

/// How many children the next element of the schema has, and about how many bytes its name.
fn children(walk: &mut Walk<'_>) -> Result<(usize, usize), ScoringError> {
    let (mut children, before) = (0, walk.left());
    walk.fields(SCHEMA_ELEMENT, |walk, id, wire| {
        if id != NUM_CHILDREN {
            return walk.pass(wire);
        }
        children = walk.count()?;
        Ok(())
    })?;
    // The rest of it is some bytes.
    Ok((children, before - walk.left()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::file::metadata::ParquetMetaDataReader;

    use super::*;

    fn varint(mut rest: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while rest > 0x7f {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    }

    /// A number below 2^31 in zigzag.
    fn number(value: u32) -> Vec<u8> {
        varint(u64::from(value) * 2)
    }

    /// A required element; without children it is an INT32.
    fn element(children: u32, name: &str) -> Vec<u8> {
        let name = [varint(name.len() as u64), name.as_bytes().to_vec()].concat();
        match children {
            0 => [vec![0x15, 2, 0x25, 0, 0x18], name, vec![0]].concat(),
            _ => [vec![0x35, 0, 0x18], name, vec![0x15], number(children), vec![0]].concat(),
        }
    }

    /// A list's head: of structs, with so many.
    fn structs(count: u32) -> Vec<u8> {
        [vec![0xfc], varint(u64::from(count))].concat()
    }

    fn file(elements: &[u32], row_groups: u32) -> Vec<u8> {
        let elements: Vec<(u32, &str)> = elements.iter().map(|children| (*children, "x")).collect();
        file_of(&elements, &structs(row_groups))
    }

    /// A file without data; `row_groups` is their list.
    fn file_of(elements: &[(u32, &str)], row_groups: &[u8]) -> Vec<u8> {
        let schema: Vec<u8> = elements.iter().flat_map(|(children, name)| element(*children, name)).collect();
        let head = [vec![0x15, 2, 0x19], structs(elements.len() as u32), schema].concat();
        let footer = [head.as_slice(), [0x16, 0, 0x19].as_slice(), row_groups, &[0]].concat();
        let length = (footer.len() as u32).to_le_bytes();
        [b"PAR1".as_slice(), &footer, &length, b"PAR1"].concat()
    }

    fn checked(body: &[u8]) -> Result<(), String> {
        check(body, &ScoringLimits::default()).map(|_| ()).map_err(|error| error.to_string())
    }

    /// The refusal by the form as a whole, which reads the file with the crate where the footer passes.
    fn refused(body: Vec<u8>) -> String {
        super::super::read(body.into(), &ScoringLimits::default()).unwrap_err().to_string()
    }

    #[test]
    fn a_flat_schema_and_one_of_lists_pass() {
        assert_eq!(checked(&file(&[3, 0, 0, 0], 0)), Ok(()));
        assert_eq!(checked(&file(&[2, 1, 1, 0, 0], 0)), Ok(()));
        let deepest = [vec![1; DEPTH], vec![0]].concat();
        assert_eq!(checked(&file(&deepest, 0)), Ok(()));
    }

    #[test]
    fn groups_in_groups_are_bounded() {
        for depth in [DEPTH + 1, 200_000] {
            let deep = refused(file(&[vec![1; depth], vec![0]].concat(), 0));
            assert_eq!(deep, "cannot read the request as Parquet: its columns are nested more than 16 deep");
        }
    }

    #[test]
    fn what_is_promised_must_be_there() {
        let damaged = "cannot read the request as Parquet: its footer or the head of a page is damaged";
        assert_eq!(refused(file(&[1, i32::MAX as u32, 0], 0)), damaged);
        assert_eq!(refused(file(&[2, 0], 0)), damaged);
        assert_eq!(refused(file(&[1, 0, 0], 0)), damaged);
        assert_eq!(refused(file(&[1, 0], i32::MAX as u32)), damaged);
        assert_eq!(refused(file(&[20_000], 0)), "the table has more than 16384 columns");
    }

    /// So many row groups of so many columns, of which each is all that the crate asks for.
    fn row_groups(groups: u32, columns: u32) -> Vec<u8> {
        let numbers = [0x16, 0, 0x16, 0, 0x16, 0, 0x26, 0, 0];
        let chunk = [[0x26, 0, 0x1c, 0x15, 0, 0x19, 0x05, 0x25, 0].as_slice(), &numbers, &[0]].concat();
        let group = [vec![0x19], structs(columns), chunk.repeat(columns as usize), vec![0x16, 0, 0x16, 0, 0]].concat();
        [structs(groups), group.repeat(groups as usize)].concat()
    }

    fn taken(body: &[u8], parquet_bytes: usize) -> Result<usize, String> {
        let limits = ScoringLimits { parquet_bytes, ..ScoringLimits::default() };
        check(body, &limits).map_err(|error| error.to_string())
    }

    #[test]
    fn what_row_groups_become_is_bounded() {
        let flat = [vec![(100, "x")], vec![(0, "x"); 100]].concat();
        let refusal = "cannot read the request as Parquet: its footer takes more than 524288 bytes in memory: \
                       write it with fewer columns or row groups";
        let few = file_of(&flat, &row_groups(2, 100));
        // The crate takes it for what it says.
        let read = ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(few.clone())).unwrap();
        assert_eq!((read.num_row_groups(), read.row_group(1).num_columns()), (2, 100));
        assert!(taken(&few, 1 << 20).unwrap() >= read.memory_size());
        let many = file_of(&flat, &row_groups(10, 100));
        assert!(many.len() < 30_000);
        assert_eq!(taken(&many, 1 << 20).unwrap_err(), refusal);
        assert!(taken(&many, 4 << 20).unwrap() > 10 * 100 * size_of::<ColumnChunkMetaData>());
    }

    #[test]
    fn a_groups_name_is_counted_for_each_of_its_columns() {
        let name = "x".repeat(10_000);
        for (name, fits) in [("x", true), (name.as_str(), false)] {
            let nested = [vec![(1, "root"), (1000, name)], vec![(0, "x"); 1000]].concat();
            assert_eq!(taken(&file_of(&nested, &structs(0)), 8 << 20).is_ok(), fits);
        }
        // The root's is in no path.
        let flat = [vec![(1000, name.as_str())], vec![(0, "x"); 1000]].concat();
        assert!(taken(&file_of(&flat, &structs(0)), 8 << 20).is_ok());
    }

    #[test]
    fn a_footer_is_as_long_as_its_columns_need() {
        let most = FOOTER + 8 * FOOTER_OF_COLUMN;
        let long = [vec![0; most + 1], (most as u32 + 1).to_le_bytes().to_vec(), b"PAR1".to_vec()].concat();
        let limits = ScoringLimits { columns: 8, ..ScoringLimits::default() };
        let error = check(&long, &limits).unwrap_err();
        assert_eq!(error.status().0, 400);
        assert!(error.to_string().ends_with("its footer has 73729 bytes, the limit is 73728"), "{error}");
        assert!(checked(b"PAR1").unwrap_err().ends_with("it has no footer"));
        assert!(checked(b"\xff\xff\0\0PAR1").unwrap_err().ends_with("is damaged"));
        assert!(checked(b"\0\0\0\0\0PARE").unwrap_err().ends_with("it does not end with a footer"));
    }
}
