use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, BinaryBuilder};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use ropewalk_types::Digest;

/// Bytes of a row's digest: enough that no two of any number of rows that fit on a disk meet by accident.
const LENGTH: usize = 16;

/// The digest of the values of a row, of any types; never null, and a null is a value like others.
pub(crate) fn row_digest(columns: Vec<Expr>) -> Expr {
    ScalarUDF::from(RowDigest { signature: Signature::variadic_any(Volatility::Immutable) }).call(columns)
}

/// Minus zero is zero, as comparisons have it.
fn with_one_zero(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(|value| value + 0.0)),
        DataType::Float64 => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| value + 0.0)),
        _ => Arc::clone(array),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowDigest {
    signature: Signature,
}

impl ScalarUDFImpl for RowDigest {
    fn name(&self) -> &'static str {
        "row_digest"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let arrays: Result<Vec<ArrayRef>, _> =
            arguments.args.iter().map(|value| value.to_array_of_size(arguments.number_rows)).collect();
        let arrays: Vec<ArrayRef> = arrays?.iter().map(with_one_zero).collect();
        let fields = arrays.iter().map(|array| SortField::new(array.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(&arrays)?;
        let mut digests = BinaryBuilder::with_capacity(arguments.number_rows, arguments.number_rows * LENGTH);
        for row in &rows {
            digests.append_value(&Digest::of(row.as_ref()).as_bytes()[..LENGTH]);
        }
        Ok(ColumnarValue::Array(Arc::new(digests.finish())))
    }
}
