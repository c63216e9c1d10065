use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use ropewalk_inference::Model;

use crate::columns::Mapping;
use crate::{BatchError, ColumnChoice, Rounded, answers};

/// A batch with its scores.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The columns that are kept, and after them the model's outputs.
    pub batch: RecordBatch,
    /// What was rounded on the way into the model.
    pub rounded: Rounded,
}

/// A model over the rows of tables of one schema.
#[derive(Clone, Debug)]
pub struct Scorer {
    model: Arc<dyn Model>,
    mapping: Mapping,
    kept: Vec<usize>,
    prefix: String,
}

impl Scorer {
    /// Finds the columns of the model's inputs. `kept` are the columns that stay beside the scores, none for all; the names of
    /// outputs begin with `prefix`.
    ///
    /// # Errors
    /// A column is not there, is of a wrong type, or has the name of an output.
    pub fn new(
        model: Arc<dyn Model>,
        schema: &Schema,
        choice: &ColumnChoice,
        kept: Option<&[String]>,
        prefix: &str,
    ) -> Result<Self, BatchError> {
        let mapping = Mapping::new(model.signature(), schema, choice)?;
        let kept = match kept {
            None => (0..schema.fields().len()).collect(),
            Some(names) => names.iter().map(|name| kept_column(schema, name)).collect::<Result<Vec<_>, _>>()?,
        };
        let taken = |name: &String| kept.iter().any(|index| schema.field(*index).name() == name);
        let mut outputs = model.signature().outputs.iter().map(|output| format!("{prefix}{}", output.name));
        match outputs.find(taken) {
            Some(name) => Err(BatchError::TakenName(name)),
            None => Ok(Self { model, mapping, kept, prefix: prefix.to_owned() }),
        }
    }

    /// Scores rows, the first of which is row `first` of the table, counted from 1. Blocks.
    ///
    /// # Errors
    /// A value does not fit an input, or the model cannot answer.
    pub fn score(&self, batch: &RecordBatch, first: u64) -> Result<Scored, BatchError> {
        let rows = batch.num_rows();
        let mut rounded = Rounded::new();
        let schema = batch.schema();
        let mut fields: Vec<_> = self.kept.iter().map(|index| Arc::clone(&schema.fields()[*index])).collect();
        let mut columns: Vec<_> = self.kept.iter().map(|index| Arc::clone(batch.column(*index))).collect();
        let mut add = |(field, column)| {
            fields.push(field);
            columns.push(column);
        };
        if rows == 0 {
            for output in &self.model.signature().outputs {
                add(answers::empty(output, &self.named(&output.name), &*self.model));
            }
        } else {
            let inputs = self.mapping.tensors(batch, first, &mut rounded)?;
            let last = first + rows as u64 - 1;
            let outputs = self.model.predict(&inputs).map_err(|problem| BatchError::Model { first, last, problem })?;
            for output in outputs {
                let name = self.named(&output.name);
                add(answers::column(output, &name, rows, first, &*self.model)?);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
        Ok(Scored { batch: batch.map_err(|error| BatchError::Arrow(error.to_string()))?, rounded })
    }

    /// The schema and scores of a table without rows.
    ///
    /// # Errors
    /// As [`Self::score`].
    pub fn empty(&self, schema: &SchemaRef) -> Result<Scored, BatchError> {
        self.score(&RecordBatch::new_empty(Arc::clone(schema)), 1)
    }

    fn named(&self, output: &str) -> String {
        format!("{}{output}", self.prefix)
    }
}

fn kept_column(schema: &Schema, name: &str) -> Result<usize, BatchError> {
    schema.index_of(name).map_err(|_| {
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        BatchError::MissingColumn { input: name.to_owned(), columns }
    })
}
