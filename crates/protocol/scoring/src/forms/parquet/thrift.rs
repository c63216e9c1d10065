//! Just enough of Thrift's compact protocol to walk what a Parquet file says of itself before the `parquet` crate reads it:
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.
//!
//! The crate reads a known field as the type that it ought to have, whatever type the file gives it. A known field of another
//! type is therefore refused: a file could say one thing to this walk and another to the crate.

use super::wrong;
use crate::ScoringError;

/// Structs and lists in each other that are skipped, of fields that are not known.
const DEEPEST: usize = 16;

/// The type of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire {
    Bool,
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    List(&'static Wire),
    Struct(Fields),
}

/// A struct's known fields by id.
pub(super) type Fields = &'static [(i16, Wire)];

impl Wire {
    /// Whether it is the type of this number; a boolean's number is its value.
    fn is(self, number: u8) -> bool {
        match self {
            Self::Bool => matches!(number, 1 | 2),
            Self::Byte => number == 3,
            Self::I16 => number == 4,
            Self::I32 => number == 5,
            Self::I64 => number == 6,
            Self::Double => number == 7,
            Self::Binary => number == 8,
            Self::List(_) => number == 9,
            Self::Struct(_) => number == 12,
        }
    }
}

pub(super) fn damaged() -> ScoringError {
    wrong(&"its footer or the head of a page is damaged")
}

/// What is still to be walked.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    rest: &'a [u8],
    /// Elements of lists that were walked over whole.
    elements: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest, elements: 0 }
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Elements of the lists that [`pass`](Self::pass) has walked over.
    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    /// Walks over so many bytes.
    pub(super) fn over(&mut self, count: usize) -> Result<(), ScoringError> {
        self.rest = self.rest.get(count..).ok_or_else(damaged)?;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, ScoringError> {
        let (byte, rest) = self.rest.split_first().ok_or_else(damaged)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// Seven bits in each byte, the lowest first; ten bytes are the most that 64 bits need.
    fn unsigned(&mut self) -> Result<u64, ScoringError> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged())
    }

    fn signed(&mut self) -> Result<i64, ScoringError> {
        let value = self.unsigned()?;
        let half = (value >> 1) as i64;
        Ok(if value & 1 == 0 { half } else { !half })
    }

    /// The value of an [`Wire::I32`] that counts something.
    pub(super) fn count(&mut self) -> Result<usize, ScoringError> {
        let value = i32::try_from(self.signed()?).map_err(|_| damaged())?;
        usize::try_from(value).map_err(|_| damaged())
    }

    /// How many elements of this type a list has: no more than there are bytes.
    pub(super) fn list(&mut self, of: Wire) -> Result<usize, ScoringError> {
        let header = self.byte()?;
        // Some writers give an empty list no type.
        if header == 0 {
            return Ok(0);
        }
        if of.is(header & 0x0f) { self.list_length(header) } else { Err(damaged()) }
    }

    fn list_length(&mut self, header: u8) -> Result<usize, ScoringError> {
        let length = match header >> 4 {
            15 => usize::try_from(self.unsigned()?).map_err(|_| damaged())?,
            short => usize::from(short),
        };
        if length > self.rest.len() { Err(damaged()) } else { Ok(length) }
    }

    /// Walks a struct; `see` walks over the value of each known field.
    pub(super) fn fields(
        &mut self,
        known: Fields,
        mut see: impl FnMut(&mut Self, i16, Wire) -> Result<(), ScoringError>,
    ) -> Result<(), ScoringError> {
        let mut last = 0;
        while let Some((id, number)) = self.field(last)? {
            match known.iter().find(|(known, _)| *known == id) {
                Some((_, wire)) if wire.is(number) => see(self, id, *wire)?,
                Some(_) => return Err(damaged()),
                None => self.skip(number, 0)?,
            }
            last = id;
        }
        Ok(())
    }

    /// The next field's id and the number of its type.
    fn field(&mut self, last: i16) -> Result<Option<(i16, u8)>, ScoringError> {
        let header = self.byte()?;
        let number = header & 0x0f;
        if number == 0 {
            return Ok(None);
        }
        let id = match header >> 4 {
            0 => i16::try_from(self.signed()?).ok(),
            delta => last.checked_add(i16::from(delta)),
        };
        Ok(Some((id.ok_or_else(damaged)?, number)))
    }

    /// Walks over a value of a known type.
    pub(super) fn pass(&mut self, wire: Wire) -> Result<(), ScoringError> {
        match wire {
            Wire::Bool => Ok(()),
            Wire::Byte => self.over(1),
            Wire::I16 | Wire::I32 | Wire::I64 => self.unsigned().map(|_| ()),
            Wire::Double => self.over(8),
            Wire::Binary => self.binary(),
            Wire::List(of) => {
                let count = self.list(*of)?;
                self.elements = self.elements.saturating_add(count);
                (0..count).try_for_each(|_| self.pass(*of))
            }
            Wire::Struct(fields) => self.fields(fields, |walk, _, wire| walk.pass(wire)),
        }
    }

    fn binary(&mut self) -> Result<(), ScoringError> {
        let length = usize::try_from(self.unsigned()?).map_err(|_| damaged())?;
        self.over(length)
    }

    /// Walks over a value of a field that is not known. Sets, maps and lists of booleans stand nowhere in Parquet.
    fn skip(&mut self, number: u8, depth: usize) -> Result<(), ScoringError> {
        if depth > DEEPEST {
            return Err(damaged());
        }
        match number {
            1 | 2 => Ok(()),
            3 => self.over(1),
            4..=6 => self.unsigned().map(|_| ()),
            7 => self.over(8),
            8 => self.binary(),
            9 => self.skip_list(depth),
            12 => {
                while let Some((_, number)) = self.field(0)? {
                    self.skip(number, depth + 1)?;
                }
                Ok(())
            }
            _ => Err(damaged()),
        }
    }

    fn skip_list(&mut self, depth: usize) -> Result<(), ScoringError> {
        let header = self.byte()?;
        if header == 0 {
            return Ok(());
        }
        let number = header & 0x0f;
        if matches!(number, 1 | 2) {
            return Err(damaged());
        }
        (0..self.list_length(header)?).try_for_each(|_| self.skip(number, depth + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Fields = &[(1, Wire::I32), (2, Wire::List(&Wire::Binary)), (3, Wire::Struct(&[(1, Wire::Bool)]))];

    /// The values of field 1 and how many bytes are left.
    fn walked(bytes: &[u8]) -> Result<(Vec<usize>, usize), String> {
        let (mut walk, mut counts) = (Walk::new(bytes), Vec::new());
        let walked = walk.fields(KNOWN, |walk, id, wire| match id {
            1 => walk.count().map(|count| counts.push(count)),
            _ => walk.pass(wire),
        });
        walked.map(|()| (counts, walk.left())).map_err(|error| error.to_string())
    }

    #[test]
    fn known_fields_are_seen_and_others_are_skipped() {
        // 300 is 600 in zigzag; a list of two texts; a struct of one boolean; the end, and one byte of something else.
        assert_eq!(walked(&[0x15, 0xd8, 4, 0x19, 0x28, 1, b'a', 0, 0x1c, 0x11, 0, 0, 9]), Ok((vec![300], 1)));
        // Field 9 by its whole id: a list of one struct, in which a text and a float are.
        let other = [vec![0x09, 18, 0x1c, 0x18, 2, b'a', b'b', 0x17], vec![0; 8], vec![0, 0]].concat();
        assert_eq!(walked(&other), Ok((vec![], 0)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = [
            ("field 1 as a text", vec![0x18, 1, b'a', 0]),
            ("a negative count", vec![0x15, 1, 0]),
            ("a count of 33 bits", vec![0x15, 0x80, 0x80, 0x80, 0x80, 0x20, 0]),
            ("a number without an end", [vec![0x15], vec![0xff; 20]].concat()),
            ("a list longer than its bytes", vec![0x29, 0xf8, 0xff, 0xff, 0xff, 0xff, 7, 0]),
            ("a list of another type", vec![0x29, 0x15, 2, 0]),
            ("a text past the end", vec![0x29, 0x18, 5, b'a']),
            ("a map", vec![0x4b, 0]),
            ("no end", vec![0x15, 2]),
            ("structs without an end", vec![0x4c; 100_000]),
            ("lists without an end", [vec![0x49], vec![0x19; 100_000]].concat()),
        ];
        for (what, bytes) in refused {
            let error = walked(&bytes).expect_err(what);
            assert!(error.ends_with("its footer or the head of a page is damaged"), "{what}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = walked(&bytes);
        }
    }
}
