use ropewalk_catalog::{CatalogError, Connection};

use super::question::{Place, Question};
use super::statement::{Driver, places};
use super::{RunSearchPage, plan, sift};
use crate::TrackingError;
use crate::run::read::by_numbers;

type PlaceRow = (i64, i64, f64, i64, String);

/// The page that a question asks for.
pub(super) async fn page(connection: &mut Connection, question: &Question) -> Result<RunSearchPage, TrackingError> {
    let wanted = question.limit as u64 + 1;
    let mut found = find(connection, question, wanted).await?;
    let more = found.len() > question.limit;
    found.truncate(question.limit);
    let next = found.last().filter(|_| more).map(|last| question.token_after(last));
    let numbers: Vec<i64> = found.iter().map(|place| place.number).collect();
    Ok(RunSearchPage { runs: by_numbers(connection, &numbers).await?, next })
}

async fn find(connection: &mut Connection, question: &Question, wanted: u64) -> Result<Vec<Place>, CatalogError> {
    let drivers = plan::drivers(connection, question, question.offset() + wanted).await?;
    by_drivers(connection, question, &drivers, wanted).await
}

/// The places that come after the page before, at most `wanted`.
pub(super) async fn by_drivers(
    connection: &mut Connection,
    question: &Question,
    drivers: &[Driver],
    wanted: u64,
) -> Result<Vec<Place>, CatalogError> {
    if *drivers == [Driver::Sets] {
        return sift::places(connection, question, wanted).await;
    }
    if let [driver] = *drivers {
        return fetch(connection, question, driver, wanted, question.offset()).await;
    }
    let offset = question.offset();
    let mut found: Vec<Place> = Vec::new();
    for driver in drivers {
        let missing = (offset + wanted).saturating_sub(found.len() as u64);
        if missing > 0 {
            found.append(&mut fetch(connection, question, *driver, missing, 0).await?);
        }
    }
    // One class alone cannot tell how many runs it passed over, so they are counted off here.
    found.drain(..found.len().min(offset as usize));
    Ok(found)
}

/// What one statement finds.
pub(super) async fn fetch(
    connection: &mut Connection,
    question: &Question,
    driver: Driver,
    limit: u64,
    offset: u64,
) -> Result<Vec<Place>, CatalogError> {
    let statement = places(question, connection.dialect(), driver, limit, offset);
    let rows: Vec<PlaceRow> = statement.query().fetch_all(connection).await?;
    let place = |(number, class, value, start, id): PlaceRow| Place { number, class, value, start, id };
    Ok(rows.into_iter().map(place).collect())
}
