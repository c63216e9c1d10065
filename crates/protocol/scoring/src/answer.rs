//! Outputs as JSON.

use ropewalk_inference::{Tensor, TensorData};
use ropewalk_serving::json::{push_element, push_text};
use ropewalk_serving::{InferenceResponse, ModelHost};

use crate::ScoringError;

/// The outputs of an answer with the classes that the model names.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: InferenceResponse,
    /// As many as there are outputs.
    labels: Vec<Option<Vec<String>>>,
}

/// One output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output<'a> {
    name: &'a str,
    tensor: &'a Tensor,
    labels: Option<&'a [String]>,
}

impl Answer {
    /// With the classes of the version that answered, if they are wanted.
    pub(crate) fn new(host: &ModelHost, response: InferenceResponse, with_labels: bool) -> Self {
        let version = response.version.to_string();
        let labels = |name: &str, tensor: &Tensor| {
            if !with_labels {
                return None;
            }
            // A version that was unloaded meanwhile has no labels any more.
            let labels = host.class_labels(response.model.as_str(), Some(&version), name).ok().flatten()?;
            let is_by_class = matches!(tensor.shape.as_slice(), [_, classes] if *classes == labels.len());
            is_by_class.then(|| spelled(&labels))
        };
        let labels = response.outputs.iter().map(|output| labels(&output.name, &output.tensor)).collect();
        Self { response, labels }
    }

    /// About how many bytes are read and written.
    pub(crate) fn size(&self) -> usize {
        self.response.outputs.iter().map(|output| output.tensor.data.len().saturating_mul(16)).sum()
    }

    fn outputs(&self) -> impl Iterator<Item = Output<'_>> {
        let outputs = self.response.outputs.iter().zip(&self.labels);
        outputs.map(|(output, labels)| Output { name: &output.name, tensor: &output.tensor, labels: labels.as_deref() })
    }

    /// The output, if there is but one.
    pub(crate) fn only(&self) -> Option<Output<'_>> {
        let mut outputs = self.outputs();
        outputs.next().filter(|_| outputs.next().is_none())
    }

    /// Appends a list of objects, one for each row.
    pub(crate) fn push_rows(&self, rows: usize, text: &mut String) -> Result<(), ScoringError> {
        self.check_rows(rows)?;
        list(rows, text, |row, text| self.push_row(row, text));
        Ok(())
    }

    /// Whether each output has one entry for each row.
    pub(crate) fn check_rows(&self, rows: usize) -> Result<(), ScoringError> {
        match self.outputs().find(|output| output.tensor.shape.first() != Some(&rows)) {
            Some(Output { name, tensor, .. }) => {
                Err(ScoringError::NotRows { output: name.to_owned(), shape: tensor.shape.clone(), rows })
            }
            None => Ok(()),
        }
    }

    /// Appends the object of one row.
    pub(crate) fn push_row(&self, row: usize, text: &mut String) {
        object(self.outputs(), text, |output, text| {
            push_text(output.name, text);
            text.push(':');
            output.push_cell(row, text);
        });
    }

    /// Appends an object of all outputs, each in its whole shape.
    pub(crate) fn push_columns(&self, text: &mut String) {
        object(self.outputs(), text, |output, text| {
            push_text(output.name, text);
            text.push(':');
            output.push_column(text);
        });
    }
}

impl Output<'_> {
    /// Appends the output in its whole shape.
    pub(crate) fn push_column(&self, text: &mut String) {
        match (self.labels, self.tensor.shape.first()) {
            (Some(_), Some(rows)) => list(*rows, text, |row, text| self.push_cell(row, text)),
            _ => push_nested(&self.tensor.data, &self.tensor.shape, 0, text),
        }
    }

    /// Appends what the output says of one row: one value, a list, or an object by class.
    fn push_cell(&self, row: usize, text: &mut String) {
        let shape = self.tensor.shape.get(1..).unwrap_or_default();
        let width: usize = shape.iter().product();
        let start = row.saturating_mul(width);
        if let Some(labels) = self.labels {
            return object(labels.iter().enumerate(), text, |(place, label), text| {
                push_text(label, text);
                text.push(':');
                push_element(&self.tensor.data, start + place, text);
            });
        }
        if width == 1 {
            push_element(&self.tensor.data, start, text);
        } else {
            push_nested(&self.tensor.data, shape, start, text);
        }
    }
}

fn spelled(labels: &TensorData) -> Vec<String> {
    match labels {
        TensorData::Int64(values) => values.iter().map(i64::to_string).collect(),
        TensorData::Bytes(values) => values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect(),
        other => (0..other.len()).map(|place| place.to_string()).collect(),
    }
}

fn list(length: usize, text: &mut String, entry: impl Fn(usize, &mut String)) {
    text.push('[');
    for position in 0..length {
        if position > 0 {
            text.push(',');
        }
        entry(position, text);
    }
    text.push(']');
}

fn object<T>(entries: impl Iterator<Item = T>, text: &mut String, push: impl Fn(T, &mut String)) {
    text.push('{');
    for (position, entry) in entries.enumerate() {
        if position > 0 {
            text.push(',');
        }
        push(entry, text);
    }
    text.push('}');
}

fn push_nested(data: &TensorData, shape: &[usize], start: usize, text: &mut String) {
    let Some((extent, inner)) = shape.split_first() else {
        return push_element(data, start, text);
    };
    let stride: usize = inner.iter().product();
    // A shape without elements can have any number of empty rows.
    let extent = if stride == 0 { 0 } else { *extent };
    list(extent, text, |position, text| push_nested(data, inner, start + position * stride, text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_nested_as_deep_as_their_shape() {
        let spelled = |shape: &[usize], values: Vec<i64>| {
            let mut text = String::new();
            push_nested(&values.into(), shape, 0, &mut text);
            text
        };
        assert_eq!(spelled(&[2, 1, 2], vec![1, 2, 3, 4]), "[[[1,2]],[[3,4]]]");
        assert_eq!(spelled(&[2, 1], vec![1, 2]), "[[1],[2]]");
        assert_eq!(spelled(&[], vec![7]), "7");
        assert_eq!(spelled(&[1 << 40, 0], vec![]), "[]");
    }
}
