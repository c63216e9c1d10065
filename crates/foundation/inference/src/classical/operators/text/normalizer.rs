use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use ropewalk_types::ElementType;

use super::super::{Built, Definition, Operator};
use super::utf8;
use crate::Tensor;
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, values};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    AsIs,
    Lower,
    Upper,
}

#[derive(Debug)]
struct StringNormalizer {
    case: Case,
    case_counts: bool,
    stop_words: HashSet<String>,
}

/// `StringNormalizer`: [C] or [1, C] strings without stop words, in lower or upper case.
///
/// Case follows Unicode in any locale, as Python's does; onnxruntime asks the locale of the machine.
pub(in super::super) fn string_normalizer(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &[ElementType::Bytes])?;
    let attributes = &mut definition.attributes;
    attributes.text("locale")?;
    let case_counts = attributes.flag("is_case_sensitive", false)?;
    let case = match attributes.text("case_change_action")?.as_deref() {
        None | Some("NONE") => Case::AsIs,
        Some("LOWER") => Case::Lower,
        Some("UPPER") => Case::Upper,
        Some(other) => return Err(Fault::invalid(format!("case_change_action `{other}`"))),
    };
    let stop_words = attributes.texts("stopwords")?.unwrap_or_default();
    let stop_words = stop_words.into_iter().map(|word| if case_counts { word } else { word.to_lowercase() }).collect();
    Ok(Built::new(StringNormalizer { case, case_counts, stop_words }, vec![ElementType::Bytes]))
}

impl StringNormalizer {
    fn stops(&self, text: &str) -> bool {
        let word = if self.case_counts { Cow::Borrowed(text) } else { text.to_lowercase().into() };
        !self.stop_words.is_empty() && self.stop_words.contains(&*word)
    }

    fn changed(&self, original: &Bytes, text: &str) -> Bytes {
        match self.case {
            Case::AsIs => original.clone(),
            Case::Lower => text.to_lowercase().into(),
            Case::Upper => text.to_uppercase().into(),
        }
    }
}

impl Operator for StringNormalizer {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        if !matches!(input.shape.as_slice(), [_] | [1, _]) {
            return Err(Fault::invalid(format!("expected [C] or [1, C] strings, found shape {:?}", input.shape)));
        }
        let mut kept = Vec::with_capacity(input.data.len());
        for original in values::<Bytes>(input)? {
            let text = utf8(original)?;
            if !self.stops(text) {
                kept.push(self.changed(original, text));
            }
        }
        // Without any word, one empty text stands for them.
        if kept.is_empty() {
            kept.push(Bytes::new());
        }
        let mut shape = input.shape.clone();
        if let Some(extent) = shape.last_mut() {
            *extent = kept.len();
        }
        Ok(vec![Tensor { shape, data: kept.into() }])
    }
}
