//! `StringConcat`, `StringSplit`, `RegexFullMatch`.

use bytes::Bytes;
use regex_automata::meta;
use ropewalk_types::ElementType;

use super::super::broadcast::{Broadcast, broadcast_shape};
use super::super::{Built, Definition, Operator};
use super::pattern::translated;
use super::{checked_table, utf8};
use crate::Tensor;
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, values};

/// The most bytes that joined strings may have together: a string that is joined with itself again and again would be
/// bounded by nothing.
const JOINED_LIMIT: u64 = 1 << 30;

#[derive(Debug)]
struct StringConcat;

/// `StringConcat`: each pair of strings joined, with broadcasting.
pub(in super::super) fn string_concat(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    definition.same_inputs(&[ElementType::Bytes])?;
    Ok(Built::new(StringConcat, vec![ElementType::Bytes]))
}

impl Operator for StringConcat {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (left, right) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let shape = broadcast_shape(&[&left.shape, &right.shape])?;
        checked_count(&shape)?;
        let (lefts, rights) = (values::<Bytes>(left)?, values::<Bytes>(right)?);
        let indices = || Broadcast::new(&left.shape, &shape).zip(Broadcast::new(&right.shape, &shape));
        let length = |texts: &[Bytes], index: usize| texts.get(index).map_or(0, |text| text.len() as u64);
        let lengths = indices().map(|(left, right)| length(lefts, left).saturating_add(length(rights, right)));
        let size = lengths.fold(0, u64::saturating_add);
        if size > JOINED_LIMIT {
            return Err(Fault::TooLarge { what: "output in bytes".to_owned(), size, limit: JOINED_LIMIT });
        }
        let join =
            |(left, right): (usize, usize)| Some(Bytes::from([&**lefts.get(left)?, &**rights.get(right)?].concat()));
        let joined: Option<Vec<Bytes>> = indices().map(join).collect();
        let joined = joined.ok_or_else(|| Fault::invalid("an element is out of range"))?;
        Ok(vec![Tensor { shape, data: joined.into() }])
    }
}

#[derive(Debug)]
struct StringSplit {
    /// None splits at white space, and drops empty parts.
    delimiter: Option<String>,
    /// The most cuts.
    cuts: usize,
}

/// `StringSplit`: the parts of each string in a new last dimension, padded with empty strings, and their number.
pub(in super::super) fn string_split(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &[ElementType::Bytes])?;
    let delimiter = definition.attributes.text("delimiter")?.filter(|text| !text.is_empty());
    let cuts = match definition.attributes.int("maxsplit")? {
        None => usize::MAX,
        Some(cuts) => usize::try_from(cuts).map_err(|_| Fault::invalid("`maxsplit` is negative"))?,
    };
    Ok(Built::new(StringSplit { delimiter, cuts }, vec![ElementType::Bytes, ElementType::Int64]))
}

impl StringSplit {
    fn parts<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let most = self.cuts.saturating_add(1);
        match &self.delimiter {
            Some(_) if text.is_empty() => Vec::new(),
            Some(delimiter) => text.splitn(most, delimiter.as_str()).collect(),
            None => by_white_space(text, self.cuts),
        }
    }
}

fn by_white_space(text: &str, cuts: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start();
    while let Some((part, after)) = rest.split_once(char::is_whitespace).filter(|_| parts.len() < cuts) {
        parts.push(part);
        rest = after.trim_start();
    }
    let last = rest.trim_end();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

impl Operator for StringSplit {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let mut lines = Vec::with_capacity(input.data.len());
        for bytes in values::<Bytes>(input)? {
            let parts = self.parts(utf8(bytes)?);
            lines.push(parts.into_iter().map(|part| bytes.slice_ref(part.as_bytes())).collect::<Vec<Bytes>>());
        }
        let counts: Vec<i64> = lines.iter().map(|line| line.len() as i64).collect();
        let width = lines.iter().map(Vec::len).max().unwrap_or(0);
        let mut shape = input.shape.clone();
        shape.push(width);
        let mut out = Vec::with_capacity(checked_table(&shape)?);
        for line in lines {
            let end = out.len() + width;
            out.extend(line);
            out.resize(end, Bytes::new());
        }
        Ok(vec![Tensor { shape, data: out.into() }, Tensor { shape: input.shape.clone(), data: counts.into() }])
    }
}

#[derive(Debug)]
struct RegexFullMatch(meta::Regex);

/// `RegexFullMatch`: whether the whole string matches the expression, in the syntax of RE2.
pub(in super::super) fn regex_full_match(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &[ElementType::Bytes])?;
    let pattern =
        definition.attributes.text("pattern")?.ok_or_else(|| Fault::invalid("attribute `pattern` is missing"))?;
    let config = meta::Config::new().nfa_size_limit(Some(4 << 20));
    let whole = format!("\\A(?:{})\\z", translated(&pattern)?);
    let regex = meta::Builder::new().configure(config).build(&whole);
    let regex = regex.map_err(|error| Fault::unsupported(format!("the regular expression `{pattern}`: {error}")))?;
    Ok(Built::new(RegexFullMatch(regex), vec![ElementType::Bool]))
}

impl Operator for RegexFullMatch {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let matches = values::<Bytes>(input)?.iter().map(|bytes| Ok(self.0.is_match(utf8(bytes)?)));
        let matches = matches.collect::<Result<Vec<bool>, Fault>>()?;
        Ok(vec![Tensor { shape: input.shape.clone(), data: matches.into() }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(left: &[Bytes], right: &[Bytes]) -> Result<Tensor, Fault> {
        let [left, right] = [left, right].map(|texts| Tensor::new(vec![texts.len()], texts.to_vec()).unwrap());
        Ok(StringConcat.evaluate(Inputs(&[Some(&left), Some(&right)]))?.remove(0))
    }

    #[test]
    fn one_long_line_does_not_make_a_table_of_any_size() {
        let split = StringSplit { delimiter: Some(",".to_owned()), cuts: usize::MAX };
        let table = |rows: usize| {
            let mut texts = vec![Bytes::new(); rows];
            texts[0] = Bytes::from(",".repeat((1 << 13) - 1));
            let input = Tensor::new(vec![rows], texts).unwrap();
            split.evaluate(Inputs(&[Some(&input)])).map(|made| made[0].shape.clone())
        };
        assert_eq!(table(2).unwrap(), [2, 1 << 13]);
        assert!(matches!(table((1 << 12) + 1), Err(Fault::TooLarge { .. })));
    }

    #[test]
    fn joined_strings_are_bounded_before_they_are_made() {
        let long = [Bytes::from(vec![b'x'; 1 << 20])];
        let ends = vec![Bytes::from_static(b"y"); 1024];
        assert!(matches!(joined(&long, &ends), Err(Fault::TooLarge { .. })));
        let made = joined(&[Bytes::from_static(b"x")], &ends).unwrap();
        assert_eq!(made, Tensor::new(vec![1024], vec![Bytes::from_static(b"xy"); 1024]).unwrap());
    }
}
