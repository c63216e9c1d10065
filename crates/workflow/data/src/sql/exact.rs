use std::sync::Arc;

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{Column, DFSchema, DataFusionError, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, ColumnarValue, Expr, ExprSchemable as _, LogicalPlan, Operator, Projection, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

mod guard;

/// Makes an overflow of whole numbers an error, and -0.0 the same value as 0.0 wherever different values are counted.
///
/// DataFusion's planner makes arithmetic that wraps around; the switch of its physical expressions is out of reach of a
/// session. So what adds, subtracts or multiplies whole numbers becomes a function that does the same and checks.
#[derive(Debug)]
pub(crate) struct ExactNumbers;

impl AnalyzerRule for ExactNumbers {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        plan.transform_up_with_subqueries(exact_plan).data()
    }

    fn name(&self) -> &'static str {
        "exact_numbers"
    }
}

fn exact_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let schema = merge_schema(&plan.inputs());
    if let LogicalPlan::Aggregate(aggregate) = plan {
        return exact_aggregate(aggregate, &schema);
    }
    let names = NamePreserver::new(&plan);
    let plan = plan.map_expressions(|expression| {
        let name = names.save(&expression);
        Ok(exact(expression, &schema)?.update_data(|expression| name.restore(expression)))
    })?;
    Ok(if plan.transformed { plan.update_data(guard::guarded) } else { plan })
}

/// As for other plans, but the names are given back by a projection: aggregates under other names are not seen by the
/// rule that makes groups, which can spill, of counts of different values.
fn exact_aggregate(aggregate: Aggregate, schema: &DFSchema) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let names = NamePreserver::new_for_projection();
    let (mut groups, mut aggregates, mut changed) = (Vec::new(), Vec::new(), false);
    for group in &aggregate.group_expr {
        let name = names.save(group);
        // Sets of groups have no name of their own that could be given back.
        let group = match group {
            Expr::GroupingSet(_) => Transformed::no(group.clone()),
            group => exact(group.clone(), schema)?,
        };
        changed |= group.transformed;
        groups.push(if group.transformed { name.restore(group.data) } else { group.data });
    }
    for one in &aggregate.aggr_expr {
        let one = exact(one.clone(), schema)?;
        changed |= one.transformed;
        aggregates.push(one.data);
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let made = Aggregate::try_new(Arc::clone(&aggregate.input), groups, aggregates)?;
    if made.schema.field_names() == aggregate.schema.field_names() {
        return Ok(Transformed::yes(LogicalPlan::Aggregate(made)));
    }
    let columns = made.schema.iter().zip(aggregate.schema.iter()).map(|((relation, field), (before, named))| {
        let column = Expr::Column(Column::new(relation.cloned(), field.name()));
        if relation == before && field.name() == named.name() {
            column
        } else {
            column.alias_qualified(before.cloned(), named.name())
        }
    });
    let columns = columns.collect();
    let named = Projection::try_new(columns, Arc::new(LogicalPlan::Aggregate(made)))?;
    Ok(Transformed::yes(LogicalPlan::Projection(named)))
}

/// Digits of decimals that can be averaged: 13 fewer than there are, so that DataFusion adds up a billion rows at least.
const AVERAGED_DIGITS: u8 = 63;

/// An average of decimals whose sum could wrap around is an error.
fn refuse_wide_average(expression: &Expr, schema: &DFSchema) -> Result<(), DataFusionError> {
    let (name, arguments) = match expression {
        Expr::AggregateFunction(function) => (function.func.name(), &function.params.args),
        Expr::WindowFunction(function) => (function.fun.name(), &function.params.args),
        _ => return Ok(()),
    };
    let argument = arguments.first().filter(|_| name == "avg");
    match argument.and_then(|argument| argument.get_type(schema).ok()) {
        Some(DataType::Decimal256(precision, scale)) if precision > AVERAGED_DIGITS => {
            let wide = DataType::Decimal256(precision, scale);
            let way_out = format!("CAST(x AS DECIMAL({AVERAGED_DIGITS}, {scale}))");
            Err(DataFusionError::NotImplemented(format!("avg() of {wide} without {way_out}")))
        }
        _ => Ok(()),
    }
}

fn exact(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    let type_of = |expression: &Expr| expression.get_type(schema).ok();
    expression.transform_up(|expression| {
        refuse_wide_average(&expression, schema)?;
        match expression {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let whole = type_of(&left).filter(DataType::is_integer);
                let operation = Operation::of(op).filter(|_| whole.is_some() && whole == type_of(&right));
                Ok(match operation {
                    Some(operation) => Transformed::yes(checked(operation, *left, *right)),
                    None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
                })
            }
            Expr::Negative(inner) => {
                let signed = type_of(&inner).filter(DataType::is_signed_integer);
                let zero = signed.and_then(|data_type| ScalarValue::new_zero(&data_type).ok());
                Ok(match zero {
                    Some(zero) => Transformed::yes(checked(Operation::Subtract, Expr::Literal(zero, None), *inner)),
                    None => Transformed::no(Expr::Negative(inner)),
                })
            }
            Expr::AggregateFunction(mut function)
                if function.params.distinct && function.params.order_by.is_empty() =>
            {
                let mut changed = false;
                let arguments = function.params.args.into_iter().map(|argument| {
                    let zero = match type_of(&argument) {
                        Some(DataType::Float64) => lit(0.0_f64),
                        Some(DataType::Float32) => lit(0.0_f32),
                        _ => return argument,
                    };
                    changed = true;
                    checked(Operation::Add, argument, zero)
                });
                function.params.args = arguments.collect();
                let function = Expr::AggregateFunction(function);
                Ok(if changed { Transformed::yes(function) } else { Transformed::no(function) })
            }
            Expr::Case(case) if case.expr.is_none() && guard::computes_in_a_branch(&case) => {
                Ok(Transformed::yes(Expr::Case(guard::lazy(case))))
            }
            other => Ok(Transformed::no(other)),
        }
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
}

impl Operation {
    fn of(operator: Operator) -> Option<Self> {
        match operator {
            Operator::Plus => Some(Self::Add),
            Operator::Minus => Some(Self::Subtract),
            Operator::Multiply => Some(Self::Multiply),
            _ => None,
        }
    }

    /// Two values of one type, by the kernels that check.
    fn kernel(self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Add => add(left, right),
            Self::Subtract => sub(left, right),
            Self::Multiply => mul(left, right),
        }
    }
}

fn checked(operation: Operation, left: Expr, right: Expr) -> Expr {
    let function = Checked { operation, signature: Signature::any(2, Volatility::Immutable) };
    ScalarUDF::from(function).call(vec![left, right])
}

/// Arithmetic of two values of one type; the result has that type too, or is an error.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        match self.operation {
            Operation::Add => "checked_add",
            Operation::Subtract => "checked_subtract",
            Operation::Multiply => "checked_multiply",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        arguments.first().cloned().ok_or_else(|| missing(self.name()))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        let [left, right] = arguments.arg_fields else { return Err(missing(self.name())) };
        let nullable = left.is_nullable() || right.is_nullable();
        Ok(Arc::new(Field::new(self.name(), left.data_type().clone(), nullable)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let [left, right] = arguments.args.as_slice() else { return Err(missing(self.name())) };
        let data_type = arguments.return_field.data_type();
        apply(left, right, |left, right| {
            self.operation.kernel(left, right).map_err(|error| explained(error, data_type))
        })
    }
}

fn missing(function: &str) -> DataFusionError {
    DataFusionError::Internal(format!("{function} takes two values"))
}

/// `Overflow happened on: 1 + 2` in words that say what was too narrow.
fn explained(error: ArrowError, data_type: &DataType) -> ArrowError {
    match error {
        ArrowError::ArithmeticOverflow(text) => {
            let numbers = text.strip_prefix("Overflow happened on: ").unwrap_or(&text);
            ArrowError::ArithmeticOverflow(format!("{numbers} is out of the range of {data_type}"))
        }
        other => other,
    }
}
