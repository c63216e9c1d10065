//! In which form a client wants the outputs.

use ropewalk_inference::NamedTensor;
use ropewalk_types::Signature;

use crate::ProtocolError;
use crate::classification::{Labels, classify};

/// In which form a client wants each output.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ResponseForm {
    /// Whether outputs that are not named are binary data.
    binary: bool,
    named: Vec<OutputForm>,
}

/// The form of one output.
#[derive(Clone, Debug, PartialEq)]
struct OutputForm {
    output: String,
    binary: bool,
    /// Classes wanted of each row; 0 for the values themselves.
    classes: usize,
    labels: Option<Labels>,
}

impl ResponseForm {
    /// All outputs as binary data, or none.
    pub(crate) fn new(binary: bool) -> Self {
        Self { binary, named: Vec::new() }
    }

    /// All outputs as binary data.
    pub(crate) fn binary() -> Self {
        Self::new(true)
    }

    /// Whether outputs that are not named are binary data.
    pub(crate) fn is_all_binary(&self) -> bool {
        self.binary
    }

    /// Says the form of an output, where it is not that of all.
    pub(crate) fn name(&mut self, output: &str, binary: bool, classes: usize) {
        if binary != self.binary || classes > 0 {
            self.named.push(OutputForm { output: output.to_owned(), binary, classes, labels: None });
        }
    }

    /// Whether `output` is wanted as binary data.
    pub(crate) fn is_binary(&self, output: &str) -> bool {
        self.find(output).map_or(self.binary, |form| form.binary)
    }

    fn find(&self, output: &str) -> Option<&OutputForm> {
        self.named.iter().find(|form| form.output == output)
    }

    /// Finds the labels of the classes that are wanted.
    pub(crate) fn set_labels(&mut self, labels: impl Fn(&str) -> Option<Labels>) {
        for form in self.named.iter_mut().filter(|form| form.classes > 0) {
            form.labels = labels(&form.output);
        }
    }

    /// Puts classes in the place of the outputs of which they are wanted.
    pub(crate) fn classify(&self, outputs: &mut [NamedTensor], signature: &Signature) -> Result<(), ProtocolError> {
        for form in self.named.iter().filter(|form| form.classes > 0) {
            let Some(NamedTensor { tensor, .. }) = outputs.iter_mut().find(|output| output.name == form.output) else {
                continue;
            };
            let spec = signature.outputs.iter().find(|spec| spec.name == form.output);
            let batched = spec.is_some_and(|spec| spec.shape.first() == Some(&-1));
            *tensor = classify(tensor, batched, form.classes, form.labels.as_ref())
                .map_err(|problem| ProtocolError::Classification { output: form.output.clone(), problem })?;
        }
        Ok(())
    }
}
