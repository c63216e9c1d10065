use futures::FutureExt as _;
use ropewalk_catalog::{Catalog, MigrationSet, query};
use ropewalk_ingest::Column;
use ropewalk_lineage::{Link, Relation, upstream};
use ropewalk_types::{DatasetName, Diagnose as _, Digest, TagName, Timestamp, Uri, Zone};

use crate::{
    Adoption, DataError, DatasetFacts, DatasetVersion, Declaration, Latest, MIGRATIONS, Made, Removal, Renumbered,
    TableRecord, TableState, TagAdopted, TagMove, Tagged, Untag, VersionTag, arrival_fetched, arrival_made,
    declaration_adopt, declaration_record, removal_adopt, table_states, tag_adopt, tag_remove, tag_set, untag_record,
    version_elsewhere, version_history, version_record, version_remove, version_resolve, versions_adopt,
};

async fn catalog() -> Catalog {
    Catalog::in_memory(&[MIGRATIONS, ropewalk_lineage::MIGRATIONS]).await.unwrap()
}

fn name() -> DatasetName {
    DatasetName::new("flights").unwrap()
}

fn version(content: &[u8], at: i64) -> DatasetVersion {
    DatasetVersion {
        name: name(),
        digest: Digest::of(content),
        zone: Zone::Raw,
        rows: 3,
        columns: vec![Column { name: "id".to_owned(), data_type: "int64".to_owned() }],
        bytes: 100,
        quarantined: 0,
        stage_key: None,
        created_at: Timestamp(at),
    }
}

fn uri(content: &[u8]) -> Uri {
    Uri::Data { name: name(), version: Digest::of(content).to_string() }
}

/// A record of version `number` made at `at`, from a commit of git.
fn record(content: &[u8], number: u64, at: i64) -> TableRecord {
    let parent = Uri::Git("0a1b".to_owned());
    let links = vec![Link { child: uri(content), parent, relation: Relation::RanCode }];
    TableRecord::new(&version(content, at), number, links, Some(Made::default()))
}

fn adoption(records: Vec<TableRecord>) -> Adoption {
    let records = records.into_iter().map(|record| (record, true)).collect();
    Adoption { name: name(), remote: "origin".to_owned(), records, again: Vec::new(), latest: None, at: Timestamp(99) }
}

async fn adopt(catalog: &Catalog, adoption: Adoption) -> Result<Vec<Renumbered>, DataError> {
    catalog.write(move |connection| async move { versions_adopt(connection, &adoption).await }.boxed()).await
}

async fn make(catalog: &Catalog, version: DatasetVersion) {
    catalog
        .write::<_, DataError, _>(move |connection| async move { version_record(connection, &version).await }.boxed())
        .await
        .unwrap();
}

/// Number and digest of all versions, the latest first.
async fn history(catalog: &Catalog) -> Vec<(u64, Digest)> {
    let history = version_history(catalog, Some(&name())).await.unwrap();
    history.into_iter().map(|one| (one.number, one.version.digest)).collect()
}

#[tokio::test]
async fn versions_of_others_take_their_places_by_time() {
    let catalog = catalog().await;
    make(&catalog, version(b"ours 1", 10)).await;
    make(&catalog, version(b"ours 2", 30)).await;
    let came = adopt(&catalog, adoption(vec![record(b"theirs 3", 3, 25), record(b"theirs 1", 1, 5)])).await.unwrap();
    assert_eq!(came, [Renumbered { digest: Digest::of(b"theirs 1"), there: 1, here: 4 }]);
    let expected = [(2, b"ours 2".as_slice()), (3, b"theirs 3"), (1, b"ours 1"), (4, b"theirs 1")];
    assert_eq!(history(&catalog).await, expected.map(|(number, content)| (number, Digest::of(content))));
    assert_eq!(version_resolve(&catalog, &name(), "latest").await.unwrap().digest, Digest::of(b"ours 2"));
    let steps = upstream(&catalog, &uri(b"theirs 1")).await.unwrap();
    assert_eq!(steps.len(), 1);

    // The same again changes nothing, whatever the records say of what is known.
    let again = TableRecord { rows: 7, ..record(b"ours 1", 9, 1) };
    assert_eq!(adopt(&catalog, adoption(vec![again, record(b"theirs 1", 1, 50)])).await.unwrap(), []);
    assert_eq!(history(&catalog).await[0].1, Digest::of(b"ours 2"));
    assert_eq!(version_resolve(&catalog, &name(), "v1").await.unwrap().rows, 3);
    // What is made here afterwards counts on.
    make(&catalog, version(b"ours 5", 31)).await;
    assert_eq!(history(&catalog).await[0], (5, Digest::of(b"ours 5")));
    // Newer than all that is here.
    adopt(&catalog, adoption(vec![record(b"theirs 9", 9, 40)])).await.unwrap();
    assert_eq!(history(&catalog).await[0], (9, Digest::of(b"theirs 9")));
}

#[tokio::test]
async fn a_number_far_above_all_others_is_not_kept() {
    let catalog = catalog().await;
    make(&catalog, version(b"ours 1", 10)).await;
    let largest = 1 << 40;
    let came = adopt(&catalog, adoption(vec![record(b"theirs", largest, 20), record(b"near", 900, 21)])).await.unwrap();
    assert_eq!(came, [Renumbered { digest: Digest::of(b"theirs"), there: largest, here: 901 }]);
    make(&catalog, version(b"ours 2", 30)).await;
    let latest = version_history(&catalog, Some(&name())).await.unwrap().remove(0);
    assert_eq!((latest.number, latest.version.digest), (902, Digest::of(b"ours 2")));
    TableRecord::new(&latest.version, latest.number, Vec::new(), None).encode().unwrap();
}

#[tokio::test]
async fn what_known_versions_were_made_from_is_not_for_others_to_say() {
    let catalog = catalog().await;
    make(&catalog, version(b"ours", 10)).await;
    let read = |child: Uri, parent: Uri| Link { child, parent, relation: Relation::Read };
    let (secret, step) = (uri(b"secret"), uri(b"step"));
    let mut theirs = record(b"theirs", 2, 20);
    theirs.links.push(read(uri(b"theirs"), uri(b"ours")));
    theirs.links.push(read(uri(b"ours"), secret.clone()));
    theirs.links.push(read(uri(b"theirs"), step.clone()));
    theirs.links.push(read(step.clone(), Uri::Git("0a1b".to_owned())));
    adopt(&catalog, adoption(vec![theirs])).await.unwrap();
    assert_eq!(upstream(&catalog, &uri(b"ours")).await.unwrap(), [], "it is known here, and was made from nothing");
    let parents = async |content: &[u8]| {
        let steps = upstream(&catalog, &uri(content)).await.unwrap();
        steps.into_iter().map(|step| step.link.parent).collect::<Vec<_>>()
    };
    assert_eq!(parents(b"step").await, [Uri::Git("0a1b".to_owned())], "of which nothing was known");
    assert!(!parents(b"theirs").await.contains(&secret));
    // Neither of what is no version here but has a thread.
    let mut other = record(b"other", 3, 30);
    other.links.push(read(uri(b"other"), step.clone()));
    other.links.push(read(step, secret.clone()));
    adopt(&catalog, adoption(vec![other])).await.unwrap();
    assert_eq!(parents(b"step").await.len(), 1);
    // The version's own record is heard.
    let mut own = record(b"step", 4, 40);
    own.links.push(read(uri(b"step"), secret.clone()));
    adopt(&catalog, adoption(vec![own])).await.unwrap();
    assert!(parents(b"step").await.contains(&secret));
}

#[tokio::test]
async fn a_records_own_thread_replaces_what_others_said_before_it_came() {
    let link = |child: &Uri, parent: &Uri, relation| Link { child: child.clone(), parent: parent.clone(), relation };
    let stage = Uri::Stage { name: "totals".parse().unwrap(), key: Digest::of(b"key") };
    let (forged, own, lie, truth) = (uri(b"forged"), uri(b"own"), uri(b"lie"), uri(b"truth"));
    let thread = |parent: &Uri| vec![link(&own, &stage, Relation::Produced), link(&stage, parent, Relation::Read)];
    let mut first = record(b"forged", 1, 10);
    first.links.extend([link(&forged, &own, Relation::Read), link(&own, &lie, Relation::Read)]);
    first.links.extend(thread(&lie));
    let second = TableRecord { links: thread(&truth), ..record(b"own", 2, 20) };
    let parents = async |catalog: &Catalog| {
        let steps = upstream(catalog, &own).await.unwrap();
        steps.into_iter().map(|step| step.link.parent).collect::<Vec<_>>()
    };
    // One after the other, or both at once.
    let (apart, together) = (catalog().await, catalog().await);
    adopt(&apart, adoption(vec![first.clone()])).await.unwrap();
    assert!(parents(&apart).await.contains(&lie), "nothing else is known of it");
    adopt(&apart, adoption(vec![second.clone()])).await.unwrap();
    adopt(&together, adoption(vec![first, second])).await.unwrap();
    for catalog in [&apart, &together] {
        assert_eq!(parents(catalog).await, [stage.clone(), truth.clone()]);
    }
    // What a known version's stage read is not for the next that names the stage to say.
    let third =
        TableRecord { links: vec![link(&uri(b"third"), &stage, Relation::Produced)], ..record(b"third", 3, 30) };
    let links = [third.links.clone(), vec![link(&stage, &lie, Relation::Read)]].concat();
    adopt(&apart, adoption(vec![TableRecord { links, ..third }])).await.unwrap();
    assert_eq!(parents(&apart).await, [stage, truth]);
}

#[tokio::test]
async fn a_version_that_came_back_is_the_latest_everywhere() {
    let (here, there) = (catalog().await, catalog().await);
    make(&here, version(b"1", 10)).await;
    make(&here, version(b"2", 20)).await;
    make(&here, DatasetVersion { created_at: Timestamp(30), ..version(b"1", 10) }).await;
    let latest = table_states(&here).await.unwrap()[&name()].latest;
    assert_eq!(latest, Some(Latest { at: Timestamp(30), digest: Digest::of(b"1") }));
    let both = vec![record(b"1", 1, 10), record(b"2", 2, 20)];
    adopt(&there, Adoption { latest, ..adoption(both) }).await.unwrap();
    assert_eq!(history(&there).await, [(1, Digest::of(b"1")), (2, Digest::of(b"2"))]);
    // Also where both were known before.
    make(&there, DatasetVersion { created_at: Timestamp(40), ..version(b"2", 20) }).await;
    let later = Some(Latest { at: Timestamp(41), digest: Digest::of(b"1") });
    adopt(&there, Adoption { latest: later, ..adoption(Vec::new()) }).await.unwrap();
    assert_eq!(history(&there).await[0].1, Digest::of(b"1"));
    let earlier = Some(Latest { at: Timestamp(40), digest: Digest::of(b"2") });
    adopt(&there, Adoption { latest: earlier, ..adoption(Vec::new()) }).await.unwrap();
    assert_eq!(history(&there).await[0].1, Digest::of(b"1"));
}

#[tokio::test]
async fn a_tombstone_here_and_another_zone_stand_in_the_way() {
    let catalog = catalog().await;
    make(&catalog, version(b"1", 10)).await;
    let removal = Removal {
        name: name(),
        digest: Digest::of(b"1"),
        who: "ann".to_owned(),
        why: "gdpr".to_owned(),
        at: Timestamp(11),
    };
    catalog
        .write::<_, DataError, _>(move |connection| async move { version_remove(connection, &removal).await }.boxed())
        .await
        .unwrap();
    adopt(&catalog, adoption(vec![record(b"1", 1, 10)])).await.unwrap();
    let error = version_resolve(&catalog, &name(), "v1").await.unwrap_err();
    assert_eq!(error.code(), "data.removed");
    let processed = TableRecord { zone: Zone::Processed, ..record(b"2", 2, 20) };
    let error = adopt(&catalog, adoption(vec![record(b"3", 3, 30), processed])).await.unwrap_err();
    assert_eq!(error.code(), "data.zone_change");
    assert_eq!(history(&catalog).await.len(), 1, "nothing of it was recorded");
}

#[tokio::test]
async fn bytes_that_did_not_come_are_known_to_be_elsewhere_until_they_do() {
    let catalog = catalog().await;
    let lying = TableRecord { rows: 1000, ..record(b"2", 2, 20) };
    let records = vec![(record(b"1", 1, 10), false), (lying, false)];
    adopt(&catalog, Adoption { records, ..adoption(Vec::new()) }).await.unwrap();
    let elsewhere = async |content: &[u8]| version_elsewhere(&catalog, &name(), &Digest::of(content)).await.unwrap();
    assert_eq!(elsewhere(b"1").await.as_deref(), Some("origin"));
    assert_eq!(version_history(&catalog, None).await.unwrap()[0].elsewhere.as_deref(), Some("origin"));
    assert_eq!(arrival_made(&catalog, &name(), &Digest::of(b"1")).await.unwrap(), Some(Made::default()));
    catalog
        .write::<_, DataError, _>(|connection| {
            async move { arrival_fetched(connection, &name(), &Digest::of(b"1")).await }.boxed()
        })
        .await
        .unwrap();
    assert_eq!(elsewhere(b"1").await, None);
    // Made here after all: what is known of it is what was seen here.
    make(&catalog, version(b"2", 50)).await;
    assert_eq!(elsewhere(b"2").await, None);
    assert_eq!(version_resolve(&catalog, &name(), "v2").await.unwrap().rows, 3);
}

#[tokio::test]
async fn a_tag_that_was_taken_away_stays_on_record_until_it_is_set_again() {
    let catalog = catalog().await;
    make(&catalog, version(b"1", 10)).await;
    let tag = TagName::new("good").unwrap();
    let set = VersionTag {
        name: name(),
        tag: tag.clone(),
        digest: Digest::of(b"1"),
        who: "ann".to_owned(),
        at: Timestamp(11),
    };
    let untag = Untag { name: name(), tag: tag.clone(), who: "bob".to_owned(), at: Timestamp(12) };
    let (first, again) = (set.clone(), VersionTag { at: Timestamp(13), ..set });
    catalog
        .write::<_, DataError, _>(move |connection| {
            async move {
                tag_set(connection, &first, TagMove::Refused).await?;
                untag_record(connection, &untag).await?;
                tag_remove(connection, &untag.name, &untag.tag).await
            }
            .boxed()
        })
        .await
        .unwrap();
    let state = table_states(&catalog).await.unwrap().remove(&name()).unwrap();
    assert_eq!((state.tags[&tag].digest, state.tags[&tag].who.as_str()), (None, "bob"));
    catalog
        .write::<_, DataError, _>(move |connection| {
            async move { tag_set(connection, &again, TagMove::Refused).await.map(drop) }.boxed()
        })
        .await
        .unwrap();
    let state = table_states(&catalog).await.unwrap().remove(&name()).unwrap();
    assert_eq!(state.tags[&tag].digest, Some(Digest::of(b"1")));
}

#[tokio::test]
async fn an_older_catalogue_knows_when_its_latest_became_that() {
    let old = MigrationSet { owner: MIGRATIONS.owner, steps: &MIGRATIONS.steps[..5] };
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("catalog.db").display());
    let before = Catalog::open(&url, &[old, ropewalk_lineage::MIGRATIONS]).await.unwrap();
    before
        .write(|connection| {
            async move {
                // Version 1 came back after version 2.
                for (content, at, position, number) in [(b"1", 10, 3, 1), (b"2", 20, 2, 2)] {
                    query("INSERT INTO dataset_version VALUES ('flights', $1, 'raw', 0, '[]', 0, 0, NULL, $2, $3, $4)")
                        .bind(Digest::of(content).to_string())
                        .bind(at)
                        .bind(position)
                        .bind(number)
                        .execute(&mut *connection)
                        .await?;
                }
                Ok::<_, DataError>(())
            }
            .boxed()
        })
        .await
        .unwrap();
    before.close().await;
    let catalog = Catalog::open(&url, &[MIGRATIONS, ropewalk_lineage::MIGRATIONS]).await.unwrap();
    let latest = table_states(&catalog).await.unwrap()[&name()].latest;
    assert_eq!(latest, Some(Latest { at: Timestamp(20), digest: Digest::of(b"1") }));
    adopt(&catalog, adoption(vec![record(b"3", 3, 15)])).await.unwrap();
    assert_eq!(history(&catalog).await[0].1, Digest::of(b"1"));
}

fn removal(content: &[u8], at: i64) -> Removal {
    let (who, why, at) = ("ann".to_owned(), "gdpr".to_owned(), Timestamp(at));
    Removal { name: name(), digest: Digest::of(content), who, why, at }
}

/// Runs statements in one transaction.
macro_rules! write {
    ($catalog:expr, $connection:ident => $statements:expr) => {
        $catalog.write::<_, DataError, _>(move |$connection| async move { $statements }.boxed()).await.unwrap()
    };
}

async fn state(catalog: &Catalog) -> TableState {
    table_states(catalog).await.unwrap().remove(&name()).unwrap()
}

#[tokio::test]
async fn what_supersedes_is_later_whatever_the_clock_says() {
    let catalog = catalog().await;
    let tag = TagName::new("good").unwrap();
    // A machine that was ahead of the clock, which says 10 now.
    let ahead = VersionTag {
        name: name(),
        tag: tag.clone(),
        digest: Digest::of(b"1"),
        who: "ann".to_owned(),
        at: Timestamp(1000),
    };
    let declared = |at: i64, owner: &str| Declaration {
        name: name(),
        facts: DatasetFacts { owner: Some(owner.to_owned()), ..DatasetFacts::default() },
        stage: None,
        who: "ann".to_owned(),
        why: "said".to_owned(),
        at: Timestamp(at),
    };
    make(&catalog, version(b"1", 1000)).await;
    let (set, said) = (ahead.clone(), declared(1000, "ada"));
    write!(catalog, connection => {
        tag_set(connection, &set, TagMove::Refused).await?;
        declaration_record(connection, &said).await.map(drop)
    });
    let there = state(&catalog).await;

    make(&catalog, version(b"2", 10)).await;
    let (untag, said) =
        (Untag { name: name(), tag: tag.clone(), who: "bob".to_owned(), at: Timestamp(10) }, declared(10, "bob"));
    write!(catalog, connection => {
        untag_record(connection, &untag).await?;
        tag_remove(connection, &untag.name, &untag.tag).await?;
        declaration_record(connection, &said).await?;
        version_remove(connection, &removal(b"1", 11)).await
    });
    let here = state(&catalog).await;
    assert_eq!(here.latest.unwrap().digest, Digest::of(b"2"));
    assert!(here.removal(&Digest::of(b"1"), Timestamp(1000)).is_some(), "{:?}", here.removed);
    for merged in [there.merge(&here, TagMove::Refused), here.merge(&there, TagMove::Refused)] {
        assert_eq!(merged.state, here);
    }
    let set = VersionTag { digest: Digest::of(b"2"), at: Timestamp(12), ..ahead };
    write!(catalog, connection => tag_set(connection, &set, TagMove::Refused).await);
    assert_eq!(here.merge(&state(&catalog).await, TagMove::Refused).state.tags[&tag].digest, Some(Digest::of(b"2")));
    // Made again, it is there again, and the latest.
    make(&catalog, version(b"1", 13)).await;
    let again = &version_history(&catalog, Some(&name())).await.unwrap()[0];
    assert_eq!(again.version.digest, Digest::of(b"1"));
    assert!(here.removal(&again.version.digest, again.version.created_at).is_none());
    let latest = here.merge(&state(&catalog).await, TagMove::Refused).state.latest;
    assert_eq!(latest.unwrap().digest, Digest::of(b"1"));
}

#[tokio::test]
async fn a_version_that_was_made_again_elsewhere_is_there_again() {
    let catalog = catalog().await;
    make(&catalog, version(b"1", 10)).await;
    make(&catalog, version(b"2", 20)).await;
    write!(catalog, connection => version_remove(connection, &removal(b"2", 30)).await);
    let again = |at: i64| Adoption { again: vec![(record(b"2", 2, at), false)], ..adoption(Vec::new()) };
    adopt(&catalog, again(30)).await.unwrap();
    assert_eq!(version_resolve(&catalog, &name(), "v2").await.unwrap_err().code(), "data.removed", "it is no later");
    adopt(&catalog, again(31)).await.unwrap();
    let latest = version_resolve(&catalog, &name(), "latest").await.unwrap();
    assert_eq!((latest.digest, latest.created_at), (Digest::of(b"2"), Timestamp(31)));
    assert_eq!(version_elsewhere(&catalog, &name(), &latest.digest).await.unwrap().as_deref(), Some("origin"));
    let expected = Latest { at: Timestamp(31), digest: latest.digest };
    assert_eq!(state(&catalog).await.latest, Some(expected), "else it would count as removed since");
    // Where the removal had not come: it is as old as it is there, and its bytes are where they were.
    make(&catalog, version(b"3", 40)).await;
    let newer = Adoption { again: vec![(record(b"1", 1, 35), false)], ..adoption(Vec::new()) };
    adopt(&catalog, newer).await.unwrap();
    let order = [b"3".as_slice(), b"1", b"2"].map(Digest::of);
    assert_eq!(history(&catalog).await.into_iter().map(|(_, digest)| digest).collect::<Vec<_>>(), order);
    assert_eq!(version_resolve(&catalog, &name(), "v1").await.unwrap().created_at, Timestamp(35));
    assert_eq!(version_elsewhere(&catalog, &name(), &Digest::of(b"1")).await.unwrap(), None);
}

#[tokio::test]
async fn what_was_done_here_while_a_table_came_holds() {
    let catalog = catalog().await;
    for (content, at) in [(b"1", 10), (b"2", 20), (b"3", 30)] {
        make(&catalog, version(content, at)).await;
    }
    let tag = TagName::new("prod").unwrap();
    let set = |content: &[u8], at: i64| {
        let (name, tag, who, at) = (name(), tag.clone(), "ann".to_owned(), Timestamp(at));
        VersionTag { name, tag, digest: Digest::of(content), who, at }
    };
    let there = |content: Option<&[u8]>, at: i64| Tagged {
        at: Timestamp(at),
        digest: content.map(Digest::of),
        who: "bob".to_owned(),
    };
    let take = async |base: Option<Tagged>, there: Tagged| {
        let tag = tag.clone();
        write!(catalog, connection => tag_adopt(connection, (&name(), &tag), base.as_ref(), &there).await)
    };
    // Set here since the base was read.
    let moved = set(b"2", 50);
    write!(catalog, connection => tag_set(connection, &moved, TagMove::Refused).await);
    let kept = Some(Digest::of(b"2"));
    assert_eq!(take(None, there(Some(b"1"), 45)).await, TagAdopted::Kept(kept));
    assert_eq!(take(Some(there(Some(b"2"), 40)), there(None, 45)).await, TagAdopted::Kept(kept));
    let base = state(&catalog).await.tags[&tag].clone();
    assert_eq!((base.digest, base.at), (kept, Timestamp(50)), "untouched");
    // As it was: it follows.
    assert_eq!(take(Some(base.clone()), there(None, 60)).await, TagAdopted::Taken);
    assert_eq!(state(&catalog).await.tags[&tag], there(None, 60));
    assert_eq!(take(Some(base), there(None, 70)).await, TagAdopted::Kept(None), "it is gone already");
    // Its version was removed since.
    write!(catalog, connection => version_remove(connection, &removal(b"1", 71)).await);
    assert_eq!(take(Some(there(None, 60)), there(Some(b"1"), 72)).await, TagAdopted::Kept(None));
    assert_eq!(take(Some(there(None, 60)), there(Some(b"2"), 72)).await, TagAdopted::Taken);

    // A removal there of what has a tag here since, and of what was made again here since.
    let adopted = async |content: &'static [u8], at: i64| write!(catalog, connection => removal_adopt(connection, &removal(content, at)).await);
    assert!(!adopted(b"2", 80).await, "it has a tag");
    assert!(!adopted(b"3", 29).await, "it was made after that");
    assert!(adopted(b"3", 30).await);

    let declared = |at: i64, owner: &str| Declaration {
        name: name(),
        facts: DatasetFacts { owner: Some(owner.to_owned()), ..DatasetFacts::default() },
        stage: None,
        who: "ann".to_owned(),
        why: "said".to_owned(),
        at: Timestamp(at),
    };
    let (here, earlier, later) = (declared(50, "ada"), declared(45, "bob"), declared(51, "bob"));
    write!(catalog, connection => declaration_record(connection, &here).await);
    assert_eq!(write!(catalog, connection => declaration_adopt(connection, &earlier).await), None);
    assert!(write!(catalog, connection => declaration_adopt(connection, &later).await).is_some());
    assert_eq!(state(&catalog).await.declaration.unwrap().at, Timestamp(51));
}
