//! A file's footer, looked at before the `parquet` crate reads it: the crate calls itself once for each group in a group, and
//! makes room for as many children and row groups as the file promises. Both end the process, not the request.
//!
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>

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
const ROW_GROUP: Wire = Struct(&[
    (1, List(&COLUMN_CHUNK)),
    (2, I64),
    (3, I64),
    (4, List(&Struct(&[(1, I32), (2, Bool), (3, Bool)]))),
    (5, I64),
    (6, I64),
    (7, I16),
]);
const FILE_METADATA: Fields = &[
    (1, I32),
    (SCHEMA, List(&Struct(SCHEMA_ELEMENT))),
    (3, I64),
    (ROW_GROUP_LIST, List(&ROW_GROUP)),
    (5, List(&KEY_VALUE)),
    (6, Binary),
    (7, List(&Struct(&[(1, EMPTY)]))),
];
const SCHEMA: i16 = 2;
const ROW_GROUP_LIST: i16 = 4;

/// Refuses a footer that the `parquet` crate should not read.
pub(super) fn check(body: &[u8], limits: &ScoringLimits) -> Result<(), ScoringError> {
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
    walk.fields(FILE_METADATA, |walk, id, wire| match id {
        SCHEMA => schema(walk, limits),
        ROW_GROUP_LIST => row_groups(walk),
        _ => walk.pass(wire),
    })
}

fn row_groups(walk: &mut Walk<'_>) -> Result<(), ScoringError> {
    let count = walk.list(ROW_GROUP)?;
    if count > ROW_GROUPS {
        return Err(wrong(&format!("it has {count} row groups, the limit is {ROW_GROUPS}")));
    }
    (0..count).try_for_each(|_| walk.pass(ROW_GROUP))
}

/// The schema is a tree, written down depth first as a flat list in which each group says how many children follow.
fn schema(walk: &mut Walk<'_>, limits: &ScoringLimits) -> Result<(), ScoringError> {
    let count = walk.list(Struct(SCHEMA_ELEMENT))?;
    // A column is one value or lists of it.
    within(0, count.saturating_sub(1).div_ceil(DEPTH), limits)?;
    // How many children are still to come of each group that is open.
    let mut open: Vec<usize> = Vec::new();
    for place in 0..count {
        let children = children(walk)?;
        match open.last_mut() {
            Some(left) => *left -= 1,
            None if place == 0 => within(0, children, limits)?,
            None => return Err(damaged()),
        }
        if children > count - place - 1 {
            return Err(damaged());
        }
        if children > 0 && open.len() == DEPTH {
            return Err(wrong(&format!("its columns are nested more than {DEPTH} deep")));
        }
        open.push(children);
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    if open.is_empty() { Ok(()) } else { Err(damaged()) }
}

/// How many children the next element of the schema has.
fn children(walk: &mut Walk<'_>) -> Result<usize, ScoringError> {
    let mut children = 0;
    walk.fields(SCHEMA_ELEMENT, |walk, id, wire| {
        if id != NUM_CHILDREN {
            return walk.pass(wire);
        }
        children = walk.count()?;
        Ok(())
    })?;
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number below 2^31 as a varint in zigzag.
    fn number(value: u32) -> Vec<u8> {
        let (mut rest, mut bytes) = (u64::from(value) * 2, Vec::new());
        while rest > 0x7f {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    }

    /// A required element named `x`; without children it is an INT32.
    fn element(children: u32) -> Vec<u8> {
        match children {
            0 => vec![0x15, 2, 0x25, 0, 0x18, 1, b'x', 0],
            _ => [vec![0x35, 0, 0x18, 1, b'x', 0x15], number(children), vec![0]].concat(),
        }
    }

    /// A list's head: of structs, with so many.
    fn structs(count: u32) -> Vec<u8> {
        let (mut rest, mut bytes) = (count, vec![0xfc]);
        while rest > 0x7f {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    }

    fn file(elements: &[u32], row_groups: u32) -> Vec<u8> {
        let schema: Vec<u8> = elements.iter().flat_map(|children| element(*children)).collect();
        let head = [vec![0x15, 2, 0x19], structs(elements.len() as u32), schema].concat();
        let footer = [head, vec![0x16, 0, 0x19], structs(row_groups), vec![0]].concat();
        let length = (footer.len() as u32).to_le_bytes();
        [b"PAR1".as_slice(), &footer, &length, b"PAR1"].concat()
    }

    fn checked(body: &[u8]) -> Result<(), String> {
        check(body, &ScoringLimits::default()).map_err(|error| error.to_string())
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
