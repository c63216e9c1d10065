use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use super::Translation;
use crate::DataError;

/// The plan of `sql`, which must be one statement that only reads; a statement of any other kind is refused by name.
pub(crate) async fn select_plan(
    session: &SessionContext,
    sql: &str,
    translation: Translation,
) -> Result<LogicalPlan, DataError> {
    let mut statements = DFParser::parse_sql(sql).map_err(|error| translation.error(&error))?;
    let statement = match (statements.len(), statements.pop_front()) {
        (1, Some(statement)) => statement,
        (0, _) | (_, None) => return Err(refused("there is no statement in it")),
        (count, _) => return Err(refused(format!("it has {count} statements"))),
    };
    only_reads(&statement)?;
    let plan = session.state().statement_to_plan(statement).await.map_err(|error| translation.error(&error))?;
    // A query can still hide what writes, such as SELECT INTO.
    let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reading.verify_plan(&plan).map_err(|error| refused(error.strip_backtrace()))?;
    Ok(plan)
}

fn refused(reason: impl Into<String>) -> DataError {
    DataError::Refused { reason: reason.into() }
}

fn only_reads(statement: &Statement) -> Result<(), DataError> {
    match statement {
        Statement::Statement(inner) if matches!(**inner, SqlStatement::Query(_)) => Ok(()),
        other => {
            let text = other.to_string();
            let verb: Vec<_> = text.split_whitespace().take(2).collect();
            Err(refused(format!("`{}` is not a SELECT", verb.join(" "))))
        }
    }
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
