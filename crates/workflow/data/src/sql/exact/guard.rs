//! Conditions that keep rows from arithmetic that they would make overflow.
//!
//! AND and OR are evaluated on all rows of a batch, both sides. Arithmetic that wraps around does not mind; arithmetic that
//! checks would fail for rows that another condition leaves out.

use std::collections::HashSet;

use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Case, Expr, LogicalPlan, Operator, lit};

use super::Checked;

/// Asks the conditions of a filter that compute only of rows for which the others hold.
///
/// The others stay as they are: scans and joins find them where they look for them. So does one that tables are joined on. What
/// asks of one table is not put behind what asks of others, so that it still goes to where that table is read.
pub(super) fn guarded(plan: LogicalPlan) -> LogicalPlan {
    let LogicalPlan::Filter(mut filter) = plan else { return plan };
    let conditions = split_conjunction_owned(filter.predicate);
    let (computing, others): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(computes);
    let guards: Vec<&Expr> = others.iter().filter(|other| can_be_moved(other)).collect();
    let after = |condition: Expr| {
        let asked = tables(&condition);
        if is_join(&condition, asked.len()) {
            return condition;
        }
        let guards = guards.iter().filter(|guard| tables(guard).is_subset(&asked));
        match conjunction(guards.map(|guard| (*guard).clone())) {
            Some(guard) if can_be_moved(&condition) => Expr::Case(Case {
                expr: Some(Box::new(guard)),
                when_then_expr: vec![(Box::new(lit(true)), Box::new(condition))],
                else_expr: Some(Box::new(lit(false))),
            }),
            _ => condition,
        }
    };
    let computing: Vec<Expr> = computing.into_iter().map(after).collect();
    filter.predicate = conjunction(others.into_iter().chain(computing)).unwrap_or_else(|| lit(true));
    LogicalPlan::Filter(filter)
}

/// `CASE WHEN a THEN b` as `CASE true WHEN a THEN b`, which is the same. DataFusion makes ANDs and ORs of the first form where
/// `b` is a condition, and then nothing keeps rows from `b`.
pub(super) fn lazy(mut case: Case) -> Case {
    case.expr = Some(Box::new(lit(true)));
    case
}

/// Whether one of its branches has arithmetic that checks.
pub(super) fn computes_in_a_branch(case: &Case) -> bool {
    let branches = case.when_then_expr.iter().flat_map(|(when, then)| [when, then]);
    branches.chain(&case.else_expr).any(|branch| computes(branch))
}

/// Whether it has arithmetic with columns that checks.
fn computes(expression: &Expr) -> bool {
    let checks = |one: &Expr| match one {
        Expr::ScalarFunction(function) if function.func.inner().is::<Checked>() => {
            function.args.iter().any(Expr::any_column_refs)
        }
        _ => false,
    };
    expression.exists(|one| Ok(checks(one))).unwrap_or(false)
}

/// Whether it may stand in a CASE, and be evaluated twice: subqueries are joins, which are made of whole conditions.
fn can_be_moved(condition: &Expr) -> bool {
    let stays = |one: &Expr| {
        matches!(
            one,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::ScalarSubquery(_)
                | Expr::OuterReferenceColumn(..)
        ) || one.is_volatile_node()
    };
    !condition.exists(|one| Ok(stays(one))).unwrap_or(true)
}

/// The tables whose columns it looks at.
fn tables(condition: &Expr) -> HashSet<Option<TableReference>> {
    condition.column_refs().into_iter().map(|column| column.relation.clone()).collect()
}

fn is_join(condition: &Expr, tables: usize) -> bool {
    let equal = |operator| matches!(operator, Operator::Eq | Operator::IsNotDistinctFrom);
    tables > 1 && matches!(condition, Expr::BinaryExpr(comparison) if equal(comparison.op))
}
