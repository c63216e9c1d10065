use ropewalk_catalog::query;
use ropewalk_types::Diagnose;

use super::*;
use crate::{MIGRATIONS, Relation, link};

fn uri(text: &str) -> Uri {
    text.parse().expect(text)
}

/// A dataset named by its letter or number.
fn data(name: &str) -> Uri {
    uri(&format!("data:d{name}@1"))
}

async fn linked(links: &[(Uri, Uri)]) -> Catalog {
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.expect("catalog");
    let links: Vec<Link> = links
        .iter()
        .map(|(child, parent)| Link { child: child.clone(), parent: parent.clone(), relation: Relation::Read })
        .collect();
    write(&catalog, links, 1).await.expect("links");
    catalog
}

async fn write(catalog: &Catalog, links: Vec<Link>, at: i64) -> Result<(), LineageError> {
    catalog.write(move |connection| Box::pin(async move { link(connection, &links, Timestamp(at)).await })).await
}

fn seen(steps: &[Step]) -> Vec<(u32, String, String)> {
    steps.iter().map(|step| (step.depth, step.link.child.to_string(), step.link.parent.to_string())).collect()
}

fn row(depth: u32, child: &str, parent: &str) -> (u32, String, String) {
    (depth, data(child).to_string(), data(parent).to_string())
}

#[tokio::test]
async fn a_diamond_gives_each_link_once_nearest_first() {
    let pairs = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "e"), ("x", "e")];
    let catalog = linked(&pairs.map(|(child, parent)| (data(child), data(parent)))).await;
    let up = upstream(&catalog, &data("a")).await.expect("up");
    assert_eq!(seen(&up), [row(1, "a", "b"), row(1, "a", "c"), row(2, "b", "d"), row(2, "c", "d"), row(3, "d", "e")]);
    let down = downstream(&catalog, &data("d")).await.expect("down");
    assert_eq!(seen(&down), [row(1, "b", "d"), row(1, "c", "d"), row(2, "a", "b"), row(2, "a", "c")]);
    assert!(upstream(&catalog, &data("e")).await.expect("root").is_empty());
    assert!(upstream(&catalog, &data("unknown")).await.expect("unknown").is_empty());
}

#[tokio::test]
async fn rings_end() {
    let pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("b", "b")];
    let catalog = linked(&pairs.map(|(child, parent)| (data(child), data(parent)))).await;
    let ring = upstream(&catalog, &data("a")).await.expect("ring");
    assert_eq!(seen(&ring), [row(1, "a", "b"), row(2, "b", "b"), row(2, "b", "c"), row(3, "c", "a")]);
}

#[tokio::test]
async fn many_ways_through_a_lattice_stay_quick() {
    let mut pairs = Vec::new();
    for layer in 0..40 {
        for (from, to) in [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")] {
            pairs.push((data(&format!("{from}{layer}")), data(&format!("{to}{}", layer + 1))));
        }
    }
    let catalog = linked(&pairs).await;
    assert_eq!(upstream(&catalog, &data("a0")).await.expect("lattice").len(), 2 + 39 * 4);
}

#[tokio::test]
async fn a_thread_that_is_too_long_is_an_error() {
    let chain = |length: u32| -> Vec<(Uri, Uri)> {
        (0..length).map(|at| (data(&at.to_string()), data(&(at + 1).to_string()))).collect()
    };
    let catalog = linked(&chain(DEPTH)).await;
    assert_eq!(upstream(&catalog, &data("0")).await.expect("just fits").len(), DEPTH as usize);
    let catalog = linked(&chain(DEPTH + 1)).await;
    assert_eq!(upstream(&catalog, &data("0")).await.expect_err("too long").code(), "lineage.too_deep");
    assert_eq!(
        downstream(&catalog, &data(&(DEPTH + 1).to_string())).await.expect_err("long").code(),
        "lineage.too_deep"
    );
}

#[tokio::test]
async fn writing_again_keeps_the_first_time() {
    let catalog = linked(&[(data("a"), data("b"))]).await;
    let again = Link { child: data("a"), parent: data("b"), relation: Relation::Read };
    let other = Link { relation: Relation::Produced, ..again.clone() };
    write(&catalog, vec![again, other], 9).await.expect("again");
    let steps = upstream(&catalog, &data("a")).await.expect("up");
    let times: Vec<_> = steps.iter().map(|step| (step.link.relation, step.at.millis())).collect();
    assert_eq!(times, [(Relation::Produced, 9), (Relation::Read, 1)]);
}

#[tokio::test]
async fn movable_names_are_refused_and_nothing_is_written() {
    let catalog = linked(&[]).await;
    for movable in ["models:/m@champion", "data:flights@latest"] {
        let links = vec![
            Link { child: data("a"), parent: data("b"), relation: Relation::Read },
            Link { child: data("a"), parent: uri(movable), relation: Relation::Read },
        ];
        assert_eq!(write(&catalog, links, 1).await.expect_err(movable).code(), "lineage.movable");
    }
    assert!(upstream(&catalog, &data("a")).await.expect("none").is_empty());
}

#[tokio::test]
async fn a_row_of_a_newer_program_is_said() {
    let catalog = linked(&[]).await;
    let written: Result<(), LineageError> = catalog
        .write(|connection| {
            Box::pin(async move {
                let sql = "INSERT INTO lineage_link (child, parent, relation, at) VALUES ($1, $2, 'dreamt', 1)";
                query(sql).bind("data:da@1").bind("data:db@1").execute(connection).await?;
                Ok(())
            })
        })
        .await;
    written.expect("row");
    let error = upstream(&catalog, &data("a")).await.expect_err("unknown relation");
    assert_eq!(error.code(), "lineage.damaged");
    assert!(error.to_string().contains("dreamt"), "{error}");
}
