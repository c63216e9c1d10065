use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use super::Translation;
use super::mention::refused;
use crate::DataError;

/// The plan of a parsed SELECT; what a query can still hide that writes, such as SELECT INTO, is refused.
pub(crate) async fn statement_plan(
    session: &SessionContext,
    statement: SqlStatement,
    translation: Translation,
) -> Result<LogicalPlan, DataError> {
    let statement = Statement::Statement(Box::new(statement));
    let plan = session.state().statement_to_plan(statement).await.map_err(|error| translation.error(&error))?;
    let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reading.verify_plan(&plan).map_err(|error| refused(error.strip_backtrace()))?;
    Ok(plan)
}

/// Refuses a plan with a function that answers differently from run to run: `random`, `uuid`, `now`, `current_date` …
pub(crate) fn refuse_volatile(plan: &LogicalPlan, translation: Translation) -> Result<(), DataError> {
    let mut found = None;
    let visited = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let Expr::ScalarFunction(call) = inner
                    && call.func.signature().volatility != Volatility::Immutable
                {
                    found = Some(call.name().to_owned());
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    visited.map_err(|error| translation.error(&error))?;
    found.map_or(Ok(()), |function| Err(DataError::Volatile { function }))
}
