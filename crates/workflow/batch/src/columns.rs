//! Columns as inputs: which, and as what type.

mod exact;
mod gather;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use ropewalk_inference::{NamedTensor, Tensor};
use ropewalk_types::{ElementType, Signature, TensorSpec};

use crate::BatchError;
use gather::{Gathered, Source};

/// How many values of each column were rounded to the input's precision.
pub type Rounded = BTreeMap<String, u64>;

/// Which columns are a model's inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnChoice {
    /// The columns of a model's one matrix, in the model's order; empty for those of the inputs' names, or else all that hold
    /// numbers.
    pub columns: Vec<String>,
}

/// One input and the columns that it is made of.
#[derive(Clone, Debug)]
struct Mapped {
    spec: TensorSpec,
    /// Indices of the columns; more than one for a matrix.
    columns: Vec<usize>,
    /// Whether the input has a second dimension.
    matrix: bool,
}

/// How the rows of a table become the inputs of a model.
#[derive(Clone, Debug)]
pub struct Mapping {
    inputs: Vec<Mapped>,
}

impl Mapping {
    /// Finds the columns of the inputs of `signature`.
    ///
    /// # Errors
    /// A column is not there, is of a wrong type, or they are not as many as an input takes.
    pub fn new(signature: &Signature, schema: &Schema, choice: &ColumnChoice) -> Result<Self, BatchError> {
        if let [input] = signature.inputs.as_slice()
            && (!choice.columns.is_empty() || schema.index_of(&input.name).is_err())
            && is_matrix(input)
        {
            return Ok(Self { inputs: vec![matrix(input, schema, choice)?] });
        }
        if !choice.columns.is_empty() {
            let hint = "leave `columns` out: each input takes the column of its own name".to_owned();
            let what = "the model takes no single matrix that `columns` could be".to_owned();
            return Err(BatchError::Places { what, hint });
        }
        let inputs = signature.inputs.iter().map(|input| by_name(input, schema));
        Ok(Self { inputs: inputs.collect::<Result<_, _>>()? })
    }

    /// The inputs for the rows of a batch, the first of which is row `first` of the table, counted from 1.
    /// What is rounded is counted.
    ///
    /// # Errors
    /// A value does not fit its input.
    pub fn tensors(
        &self,
        batch: &RecordBatch,
        first: u64,
        rounded: &mut Rounded,
    ) -> Result<Vec<NamedTensor>, BatchError> {
        let inputs = self.inputs.iter().map(|input| input.tensor(batch, first, rounded));
        inputs.collect()
    }
}

impl Mapped {
    fn tensor(&self, batch: &RecordBatch, first: u64, rounded: &mut Rounded) -> Result<NamedTensor, BatchError> {
        let schema = batch.schema();
        let mut parts = Vec::with_capacity(self.columns.len());
        let mut width = 0;
        for index in &self.columns {
            let field = schema.field(*index);
            let source = Source { column: field.name(), input: &self.spec, first };
            let Gathered { data, width: wide, rounded: lost } = gather::gather(batch.column(*index), &source)?;
            if lost > 0 {
                *rounded.entry(field.name().clone()).or_default() += lost;
            }
            width += wide;
            parts.push((data, wide));
        }
        let rows = batch.num_rows();
        let shape = if self.matrix { vec![rows, width] } else { vec![rows] };
        let extents: Vec<i64> = shape.iter().map(|extent| *extent as i64).collect();
        // A first dimension that is declared and not free is the batch all the same, as with `[1]` of some exporters.
        let fits = self.spec.shape.iter().zip(&extents).skip(1).all(|(want, have)| *want == -1 || want == have);
        if !fits {
            let columns = self.columns.iter().map(|index| schema.field(*index).name().clone()).collect();
            let wanted = self.spec.shape.get(1).copied().unwrap_or(1);
            return Err(BatchError::Width { input: self.spec.name.clone(), wanted, columns });
        }
        let data = gather::interleaved(parts, rows)?;
        let tensor = Tensor::new(shape, data).map_err(|error| BatchError::Arrow(error.to_string()))?;
        Ok(NamedTensor::new(self.spec.name.clone(), tensor))
    }
}

/// Whether an input has two dimensions, and holds numbers or texts for several columns of one kind.
fn is_matrix(input: &TensorSpec) -> bool {
    input.shape.len() == 2
}

fn matrix(input: &TensorSpec, schema: &Schema, choice: &ColumnChoice) -> Result<Mapped, BatchError> {
    let chosen = if choice.columns.is_empty() { alike(input, schema) } else { named(schema, &choice.columns)? };
    let wanted = input.shape.get(1).copied().unwrap_or(-1);
    // A column of vectors is as many numbers as it says; how many there are is seen when they are read.
    let vectors = chosen.iter().any(|index| is_list(schema.field(*index).data_type()));
    if chosen.is_empty() || (wanted != -1 && !vectors && chosen.len() as i64 != wanted) {
        if chosen.is_empty() || wanted == 1 && choice.columns.is_empty() {
            return Err(missing(&input.name, schema));
        }
        let columns = chosen.iter().map(|index| schema.field(*index).name().clone()).collect();
        return Err(BatchError::Width { input: input.name.clone(), wanted, columns });
    }
    for index in &chosen {
        gather::check(schema.field(*index), input)?;
    }
    Ok(Mapped { spec: input.clone(), columns: chosen, matrix: true })
}

/// The columns that an input of this type can be made of: numbers, or texts.
fn alike(input: &TensorSpec, schema: &Schema) -> Vec<usize> {
    let text = input.datatype == ElementType::Bytes;
    let fits = |data_type: &DataType| if text { gather::is_text(data_type) } else { gather::is_number(data_type) };
    let fields = schema.fields().iter().enumerate();
    fields.filter(|(_, field)| fits(field.data_type())).map(|(index, _)| index).collect()
}

fn named(schema: &Schema, names: &[String]) -> Result<Vec<usize>, BatchError> {
    names.iter().map(|name| schema.index_of(name).map_err(|_| missing(name, schema))).collect()
}

fn by_name(input: &TensorSpec, schema: &Schema) -> Result<Mapped, BatchError> {
    let index = schema.index_of(&input.name).map_err(|_| missing(&input.name, schema))?;
    let field = schema.field(index);
    let matrix = match input.shape.len() {
        1 => false,
        2 => true,
        _ => return Err(BatchError::InputShape { input: input.to_string() }),
    };
    gather::check(field, input)?;
    Ok(Mapped { spec: input.clone(), columns: vec![index], matrix })
}

fn missing(name: &str, schema: &Schema) -> BatchError {
    let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
    BatchError::MissingColumn { input: name.to_owned(), columns }
}

pub(crate) fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

#[cfg(test)]
mod tests;
