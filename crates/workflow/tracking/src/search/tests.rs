//! What SQL answers, by every way that a plan could choose, against a plain reading of the same filters over the runs.

mod naive;
mod world;

use ropewalk_types::ExperimentId;

use super::condition::has_index;
use super::question::{Begin, MISSING, NUMBER, Place, Question};
use super::runs::by_drivers;
use super::sift::is_set;
use super::statement::Driver;
use super::{RunSearch, RunSearchPage};
use crate::filter::token::TokenError;
use crate::run::Lifecycle;
use crate::testing::tracking;
use crate::tracking::reading;
use crate::{DEFAULT_EXPERIMENT, Tracking, TrackingError};
use world::{Dice, World};

fn search_of(dice: &mut Dice, experiments: &[ExperimentId]) -> RunSearch {
    let lifecycle = *dice.one(&[Lifecycle::Active, Lifecycle::Active, Lifecycle::Deleted, Lifecycle::Any]);
    let experiments = if dice.chance(60) { experiments[..1].to_vec() } else { experiments.to_vec() };
    let limit = 1 + dice.below(9);
    RunSearch {
        filter: world::filter(dice),
        order: world::order(dice),
        lifecycle,
        limit,
        ..RunSearch::new(experiments)
    }
}

/// The ids of all pages, and that no page but the last is short.
async fn all_pages(tracking: &Tracking, mut search: RunSearch) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let RunSearchPage { runs, next } = tracking.run_search(search.clone()).await.expect("page");
        ids.extend(runs.iter().map(|run| run.info.id.to_string()));
        if next.is_none() {
            return ids;
        }
        assert_eq!(runs.len(), search.limit, "{search:?}");
        search.page = next;
    }
}

/// Every way to the answer that a plan could choose.
fn ways(question: &Question) -> Vec<Vec<Driver>> {
    let mut ways = vec![vec![Driver::Runs]];
    let conditions = question.conditions.iter().enumerate().filter(|(_, comparison)| has_index(comparison));
    ways.extend(conditions.map(|(position, _)| vec![Driver::Condition(position)]));
    if question.metric_first().is_some() && question.experiments.len() == 1 {
        ways.push((NUMBER..=MISSING).map(Driver::Class).collect());
        if question.by_place() && question.conditions.iter().any(is_set) {
            ways.push(vec![Driver::Sets]);
        }
    }
    ways
}

/// That a way goes on behind any place as it did from the beginning.
async fn rest_follows(
    tracking: &Tracking,
    search: &RunSearch,
    drivers: Vec<Driver>,
    places: &[Place],
    dice: &mut Dice,
) {
    let mut question = Question::read(search.clone()).expect("question");
    if !question.by_place() || places.is_empty() {
        return;
    }
    let last = dice.below(places.len());
    let class = places[last].class;
    let walked = matches!(drivers[..], [Driver::Class(_), ..]);
    let drivers = if walked { (class..=MISSING).map(Driver::Class).collect() } else { drivers };
    question.begin = Begin::After(places[last].clone());
    let shown = format!("{question:?} by {drivers:?}");
    let rest = reading!(tracking, |connection| by_drivers(connection, &question, &drivers, 1_000)).expect(&shown);
    assert_eq!(rest, places[last + 1..], "{shown}");
}

#[tokio::test]
async fn every_way_finds_what_a_plain_reading_finds() {
    let mut found = 0;
    for seed in 1..=3 {
        let mut dice = Dice::new(seed);
        let World { tracking, experiments, runs } = World::new(&mut dice, 70).await;
        for _ in 0..150 {
            let search = search_of(&mut dice, &experiments);
            let expected = naive::ids(&runs, &search);
            found += expected.len();
            for drivers in ways(&Question::read(search.clone()).expect("question")) {
                let question = Question::read(search.clone()).expect("question");
                let shown = format!("{search:?} by {drivers:?}");
                let way = drivers.clone();
                let places = reading!(tracking, |connection| by_drivers(connection, &question, &way, 1_000));
                let places = places.expect(&shown);
                let ids: Vec<&str> = places.iter().map(|place| place.id.as_str()).collect();
                assert_eq!(ids, expected, "{shown}");
                rest_follows(&tracking, &search, drivers, &places, &mut dice).await;
            }
            assert_eq!(all_pages(&tracking, search.clone()).await, expected, "{search:?}");
        }
    }
    // So that it is seen if the filters come to pass nothing.
    assert!(found > 2_000, "{found}");
}

#[tokio::test]
async fn a_later_page_by_a_walk_begins_behind_the_one_before() {
    let mut dice = Dice::new(9);
    let World { tracking, experiments, runs } = World::new(&mut dice, 150).await;
    for order in ["metrics.a", "metrics.a DESC", "metrics.c", "start_time DESC"] {
        let search = RunSearch { order: vec![order.to_owned()], limit: 7, ..RunSearch::new(experiments[..1].to_vec()) };
        let expected = naive::ids(&runs, &search);
        assert!(expected.len() > 50, "{order}");
        assert_eq!(all_pages(&tracking, search).await, expected, "{order}");
    }
}

#[tokio::test]
async fn a_search_without_experiments_is_empty_but_is_read() {
    let tracking = tracking().await;
    let search = RunSearch::new(Vec::new());
    let page = tracking.run_search(search.clone()).await.expect("page");
    assert_eq!(page, RunSearchPage { runs: Vec::new(), next: None });
    let wrong = RunSearch { filter: "metrics.a >".to_owned(), ..search };
    assert!(matches!(tracking.run_search(wrong).await, Err(TrackingError::Filter(_))));
}

#[tokio::test]
async fn a_token_of_another_search_is_refused() {
    let mut dice = Dice::new(5);
    let World { tracking, .. } = World::new(&mut dice, 20).await;
    let search = RunSearch { limit: 2, lifecycle: Lifecycle::Any, ..RunSearch::new(vec![DEFAULT_EXPERIMENT]) };
    let page = tracking.run_search(search.clone()).await.expect("page").next;
    assert!(page.is_some());
    let other = RunSearch { filter: "params.p = '1'".to_owned(), page, ..search };
    let refused = tracking.run_search(other).await;
    assert!(matches!(refused, Err(TrackingError::PageToken(TokenError::OtherSearch))), "{refused:?}");
}
