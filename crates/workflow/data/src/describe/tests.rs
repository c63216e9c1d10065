use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, UInt64Array};
use serde_json::json;

use crate::tests::fixture::Project;
use crate::{Description, Distinct, QueryLimits, QueryTables, TableSource, describe, describe_query};

async fn described(csv: &str) -> Description {
    let project = Project::new().await;
    let tree = project.csv(csv).await;
    describe(&tree, &project.store, &QueryLimits::new(project.scratch())).await.unwrap()
}

#[tokio::test]
async fn figures_of_a_small_table_are_exact() {
    let csv = "id,price,name,late,at\n1,0.5,a,true,2013-01-01T00:00:00\n2,,b,false,2013-01-02T00:00:00\n\
               3,NaN,a,true,2013-01-03T00:00:00\n4,2.5,,true,2013-01-05T00:00:00\n";
    let found = described(csv).await;
    assert_eq!(found.rows, 4);
    let [id, price, name, late, at] = found.columns.as_slice() else { panic!("{found:?}") };
    assert_eq!((id.min.clone(), id.max.clone(), id.mean.clone()), (Some(json!(1)), Some(json!(4)), Some(json!(2.5))));
    assert!((id.standard_deviation.unwrap() - 1.290_994_448_735_805_6).abs() < 1e-12);
    let quantiles = id.quantiles.clone().unwrap();
    assert_eq!((quantiles.q25, quantiles.q50, quantiles.q75), (json!(1.75), json!(2.5), json!(3.25)));
    assert!(quantiles.exact && id.distinct.exact && id.distinct.count == 4);
    assert_eq!((price.nulls, price.not_finite, price.mean.clone()), (1, 1, Some(json!(1.5))));
    assert_eq!((price.min.clone(), price.max.clone()), (Some(json!(0.5)), Some(json!(2.5))));
    assert_eq!((name.nulls, name.distinct.count), (1, 2));
    let frequent = name.frequent.clone().unwrap();
    assert_eq!((frequent.values, frequent.missed), (vec![("a".to_owned(), 2), ("b".to_owned(), 1)], 0));
    assert_eq!(late.frequent.clone().unwrap().values[0], ("true".to_owned(), 3));
    assert_eq!((late.min.clone(), late.max.clone()), (Some(json!(false)), Some(json!(true))));
    assert_eq!(at.data_type, "timestamp");
    assert_eq!(
        (at.min.clone(), at.max.clone()),
        (Some(json!("2013-01-01T00:00:00")), Some(json!("2013-01-05T00:00:00")))
    );
    assert_eq!(at.quantiles.clone().unwrap().q50, json!("2013-01-02T12:00:00"));
    assert_eq!(at.histogram.as_ref().unwrap().counts.iter().sum::<u64>(), 4);
    assert!(at.standard_deviation.is_none() && name.histogram.is_none());
}

#[tokio::test]
async fn ends_have_every_digit() {
    let decimals = Decimal128Array::from(vec![Some(12_345_678_901_234_567_890_123), None, Some(-5)]);
    let columns: [(&str, ArrayRef); 3] = [
        ("d", Arc::new(decimals.with_precision_and_scale(38, 2).unwrap())),
        ("u", Arc::new(UInt64Array::from(vec![u64::MAX, 1, u64::MAX - 1]))),
        ("i", Arc::new(Int64Array::from(vec![i64::MAX - 1, i64::MIN + 1, 0]))),
    ];
    let project = Project::new().await;
    let tree = project.table(&[RecordBatch::try_from_iter(columns).unwrap()]).await;
    let found = describe(&tree, &project.store, &QueryLimits::new(project.scratch())).await.unwrap();
    let [d, u, i] = found.columns.as_slice() else { panic!("{found:?}") };
    assert_eq!((d.min.clone(), d.max.clone()), (Some(json!("-0.05")), Some(json!("123456789012345678901.23"))));
    assert!(d.mean.as_ref().unwrap().is_f64() && d.histogram.is_some());
    assert_eq!((u.min.clone(), u.max.clone()), (Some(json!(1)), Some(json!(u64::MAX))));
    assert_eq!((i.min.clone(), i.max.clone()), (Some(json!(i64::MIN + 1)), Some(json!(i64::MAX - 1))));
}

#[test]
fn an_estimate_is_no_more_than_there_are_values() {
    let estimate = Distinct { count: 1009, exact: false };
    assert_eq!(estimate.at_most(1000), Distinct { count: 1000, exact: false });
    assert_eq!(estimate.at_most(2000), estimate);
}

#[tokio::test]
async fn a_table_without_rows_has_a_description() {
    let project = Project::new().await;
    let mut tables = QueryTables::default();
    tables.insert("t", TableSource::Version(project.csv("id,name\n1,a\n").await));
    let limits = QueryLimits::new(project.scratch());
    let sql = "SELECT id, name, [id] AS list FROM t WHERE id > 5";
    let found = describe_query(sql, &tables, &project.store, &limits).await.unwrap();
    assert_eq!((found.rows, found.columns.len()), (0, 3));
    let id = &found.columns[0];
    assert_eq!((&id.min, &id.mean, &id.quantiles, &id.histogram), (&None, &None, &None, &None));
    assert_eq!(id.distinct.count, 0);
}

#[tokio::test]
async fn large_columns_are_estimated_and_the_estimates_are_near() {
    let mut csv = String::from("id,text,skewed\n");
    for row in 0..60_000_u64 {
        let skewed = if row % 3 == 0 { "often".to_owned() } else { format!("t{row}") };
        writeln!(csv, "{},x{row},{skewed}", row.wrapping_mul(2_654_435_761) % 60_000).unwrap();
    }
    let found = described(&csv).await;
    let id = &found.columns[0];
    assert!(!id.distinct.exact && (id.distinct.count as f64 / 60_000.0 - 1.0).abs() < 0.03, "{id:?}");
    let quantiles = id.quantiles.clone().unwrap();
    assert!(!quantiles.exact);
    for (found, wanted) in [(quantiles.q25, 15_000.0), (quantiles.q50, 30_000.0), (quantiles.q75, 45_000.0)] {
        assert!((found.as_f64().unwrap() - wanted).abs() < 600.0, "{found} {wanted}");
    }
    let histogram = id.histogram.clone().unwrap();
    assert_eq!((histogram.counts.iter().sum::<u64>(), histogram.counts.len()), (60_000, 15));
    assert!(found.columns.iter().all(|column| column.distinct.count <= 60_000), "no more than there are values");
    let frequent = found.columns[2].frequent.clone().unwrap();
    assert_eq!(frequent.values[0].0, "often");
    assert!(frequent.values[0].1 + frequent.missed >= 20_000);
    assert_eq!(found, described(&csv).await);
}
