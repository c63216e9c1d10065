use bytes::Bytes;
use regex_automata::hybrid::dfa::Cache;
use ropewalk_types::ElementType;

use super::super::{Built, Definition, Operator};
use super::pattern::Pattern;
use super::{checked_table, utf8};
use crate::Tensor;
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, values};
use crate::classical::work::Work;

/// How a text becomes tokens.
#[derive(Debug)]
enum Rule {
    Characters,
    /// What stands between matches; each separator cuts what the one before it left.
    Separators(Vec<Pattern>),
    /// What matches.
    Expression(Pattern),
}

#[derive(Debug)]
struct Tokenizer {
    rule: Rule,
    /// Fewer characters are no token.
    least: usize,
    mark: bool,
    padding: Bytes,
}

/// The tokens of START OF TEXT and END OF TEXT.
const MARKS: [&[u8]; 2] = [&[2], &[3]];

/// `Tokenizer` (com.microsoft): [C] or [N, C] strings to their tokens in a new last dimension, as long as the most
/// tokens of one string, the others padded. Like onnxruntime's: separators and `tokenexp` are regular expressions of
/// RE2 whose longest match counts; one empty separator cuts into characters; without any token the dimension is 0.
pub(in super::super) fn tokenizer(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &[ElementType::Bytes])?;
    let attributes = &mut definition.attributes;
    let missing = |name: &str| Fault::invalid(format!("attribute `{name}` is missing"));
    let mark = attributes.int("mark")?.ok_or_else(|| missing("mark"))? != 0;
    let padding = attributes.byte_string("pad_value")?.ok_or_else(|| missing("pad_value"))?;
    let least = attributes.int("mincharnum")?.ok_or_else(|| missing("mincharnum"))?;
    let separators = attributes.texts("separators")?.unwrap_or_default();
    let expression = attributes.text("tokenexp")?;
    let least = usize::try_from(least).ok().filter(|least| *least > 0);
    let least = least.ok_or_else(|| Fault::invalid("`mincharnum` is not above 0"))?;
    let rule = match (separators.as_slice(), expression) {
        ([], Some(expression)) if !expression.is_empty() => Rule::Expression(Pattern::new(&expression)?),
        ([only], None) if only.is_empty() && least == 1 => Rule::Characters,
        ([_, ..], None) if separators.iter().any(String::is_empty) => {
            return Err(Fault::unsupported("an empty separator beside others, or with `mincharnum` above 1"));
        }
        ([_, ..], None) => Rule::Separators(separators.iter().map(|one| Pattern::new(one)).collect::<Result<_, _>>()?),
        _ => return Err(Fault::invalid("exactly one of `separators` and `tokenexp` must be given")),
    };
    Ok(Built::new(Tokenizer { rule, least, mark, padding }, vec![ElementType::Bytes]))
}

/// The place after the character at `at`.
fn after_character(text: &str, at: usize) -> usize {
    at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
}

impl Tokenizer {
    fn is_token(&self, text: &str) -> bool {
        text.chars().count() >= self.least
    }

    fn tokens<'a>(&self, text: &'a str, caches: &mut [Option<Cache>], work: &Work) -> Result<Vec<&'a str>, Fault> {
        match &self.rule {
            Rule::Characters => {
                Ok(text.char_indices().filter_map(|(at, _)| text.get(at..after_character(text, at))).collect())
            }
            Rule::Separators(separators) => {
                let mut tokens = vec![text];
                for (separator, cache) in separators.iter().zip(caches) {
                    let mut parts = Vec::new();
                    for text in tokens {
                        self.between(separator, cache.as_mut(), text, work, &mut parts)?;
                    }
                    tokens = parts;
                }
                Ok(tokens)
            }
            Rule::Expression(expression) => {
                let cache = caches.first_mut().and_then(Option::as_mut);
                self.matching(expression, cache, text, work)
            }
        }
    }

    /// Adds what stands between the matches of a separator; an empty match takes a character away.
    fn between<'a>(
        &self,
        separator: &Pattern,
        mut cache: Option<&mut Cache>,
        text: &'a str,
        work: &Work,
        tokens: &mut Vec<&'a str>,
    ) -> Result<(), Fault> {
        let mut start = 0;
        while let Some((from, to)) = separator.find(cache.as_deref_mut(), text, start, work)? {
            tokens.extend(text.get(start..from).filter(|token| self.is_token(token)));
            start = if to > from { to } else { after_character(text, from) };
            if start > text.len() {
                return Ok(());
            }
        }
        tokens.extend(text.get(start..).filter(|token| self.is_token(token)));
        Ok(())
    }

    /// All matches that are long enough; after one that is not, the search goes on one character later.
    fn matching<'a>(
        &self,
        expression: &Pattern,
        mut cache: Option<&mut Cache>,
        text: &'a str,
        work: &Work,
    ) -> Result<Vec<&'a str>, Fault> {
        let mut tokens = Vec::new();
        let mut start = 0;
        while start <= text.len()
            && let Some((from, to)) = expression.find(cache.as_deref_mut(), text, start, work)?
        {
            match text.get(from..to).filter(|token| self.is_token(token)) {
                Some(token) => {
                    tokens.push(token);
                    start = to;
                }
                None => start = after_character(text, from),
            }
        }
        Ok(tokens)
    }

    fn caches(&self) -> Vec<Option<Cache>> {
        match &self.rule {
            Rule::Characters => Vec::new(),
            Rule::Separators(separators) => separators.iter().map(Pattern::cache).collect(),
            Rule::Expression(expression) => vec![expression.cache()],
        }
    }
}

impl Operator for Tokenizer {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        self.evaluate_within(inputs, &Work::default())
    }

    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        let passes = if let Rule::Separators(separators) = &self.rule { separators.len() } else { 1 };
        inputs.count().saturating_mul(passes as u64)
    }

    fn evaluate_within(&self, inputs: Inputs<'_>, work: &Work) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let mut shape = input.shape.clone();
        if !(1..=2).contains(&shape.len()) {
            return Err(Fault::invalid(format!("expected [C] or [N, C] strings, found shape {shape:?}")));
        }
        let mut caches = self.caches();
        let texts = values::<Bytes>(input)?;
        let mut lines = Vec::with_capacity(texts.len());
        for bytes in texts {
            let tokens = self.tokens(utf8(bytes)?, &mut caches, work)?;
            lines.push(tokens.into_iter().map(|token| bytes.slice_ref(token.as_bytes())).collect::<Vec<Bytes>>());
        }
        let most = lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = if most > 0 && self.mark { most + 2 } else { most };
        if !texts.is_empty() {
            shape.push(width);
        }
        let mut out = Vec::with_capacity(checked_table(&shape)?);
        for line in lines.into_iter().filter(|_| width > 0) {
            let end = out.len() + width;
            let [first, last] = MARKS.map(|mark| self.mark.then_some(Bytes::from_static(mark)));
            out.extend(first.into_iter().chain(line).chain(last));
            out.resize(end, self.padding.clone());
        }
        Ok(vec![Tensor { shape, data: out.into() }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(rule: Rule, texts: Vec<Bytes>) -> Result<Tensor, Fault> {
        let tokenizer = Tokenizer { rule, least: 1, mark: false, padding: Bytes::from_static(b"#") };
        let input = Tensor::new(vec![texts.len()], texts).unwrap();
        Ok(tokenizer.evaluate(Inputs(&[Some(&input)]))?.remove(0))
    }

    #[test]
    fn one_long_text_does_not_make_a_table_of_any_size() {
        let texts = |rows: usize| {
            let mut texts = vec![Bytes::new(); rows];
            texts[0] = Bytes::from(vec![b'x'; 1 << 13]);
            texts
        };
        assert_eq!(tokens(Rule::Characters, texts(2)).unwrap().shape, [2, 1 << 13]);
        let refused = tokens(Rule::Characters, texts((1 << 12) + 1));
        assert!(matches!(refused, Err(Fault::TooLarge { .. })), "96 KiB would be a gigabyte");
    }
}
