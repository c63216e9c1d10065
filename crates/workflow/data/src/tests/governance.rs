use futures::FutureExt as _;
use ropewalk_catalog::{Catalog, execute_script};
use ropewalk_lineage::{Link, Relation, link};
use ropewalk_types::{DatasetName, Diagnose as _, Digest, StageName, Timestamp, Uri, Zone};
use serde_json::json;

use crate::{
    AuditAction, AuditEvent, AuditFilter, AuditHead, Classification, DataError, DatasetFacts, DatasetVersion,
    Declaration, Inherited, MIGRATIONS, NO_REASON, Reason, Removal, Retention, audit_append, audit_list, audit_verify,
    classification_effective, declaration_get, declaration_history, declaration_record, facts_effective, retention_due,
    version_record, version_remove, version_resolve,
};

const DAY: i64 = 86_400_000;

async fn catalog() -> Catalog {
    Catalog::in_memory(&[MIGRATIONS, ropewalk_lineage::MIGRATIONS]).await.unwrap()
}

fn data(name: &str) -> Uri {
    Uri::Data { name: DatasetName::new(name).unwrap(), version: Digest::of(name.as_bytes()).to_string() }
}

async fn declare(catalog: &Catalog, name: &str, facts: DatasetFacts, why: &str) -> Result<bool, DataError> {
    Ok(declared_over(catalog, name, facts, why).await?.is_some())
}

/// Declares, and gives the facts that held before.
async fn declared_over(
    catalog: &Catalog,
    name: &str,
    facts: DatasetFacts,
    why: &str,
) -> Result<Option<DatasetFacts>, DataError> {
    let declaration = Declaration {
        name: DatasetName::new(name).unwrap(),
        facts,
        stage: None,
        who: "ann".to_owned(),
        why: why.to_owned(),
        at: Timestamp(7),
    };
    catalog.write(move |connection| async move { declaration_record(connection, &declaration).await }.boxed()).await
}

fn classified(classification: Classification) -> DatasetFacts {
    DatasetFacts { classification: Some(classification), ..DatasetFacts::default() }
}

async fn linked(catalog: &Catalog, links: &[(Uri, Uri)]) {
    let relation = Relation::Read;
    let links: Vec<_> =
        links.iter().map(|(child, parent)| Link { child: child.clone(), parent: parent.clone(), relation }).collect();
    catalog.write(move |connection| async move { link(connection, &links, Timestamp(1)).await }.boxed()).await.unwrap();
}

async fn record(catalog: &Catalog, name: &str, at: i64) {
    let version = DatasetVersion {
        name: DatasetName::new(name).unwrap(),
        digest: Digest::of(name.as_bytes()),
        zone: Zone::Raw,
        rows: 1,
        columns: Vec::new(),
        bytes: 1,
        quarantined: 0,
        stage_key: None,
        created_at: Timestamp(at),
    };
    catalog.write(move |connection| async move { version_record(connection, &version).await }.boxed()).await.unwrap();
}

#[tokio::test]
async fn another_name_says_what_the_thing_itself_does_not() {
    let catalog = catalog().await;
    let (files, crew, staff) = (data("files"), data("crew"), data("staff"));
    declare(&catalog, "crew", classified(Classification::Internal), "first").await.unwrap();
    declare(&catalog, "staff", classified(Classification::Personal), "names").await.unwrap();
    let declared = async |name: &str| {
        declaration_get(&catalog, &DatasetName::new(name).unwrap()).await.unwrap().expect("a declaration")
    };
    let mut found = facts_effective(&catalog, &files).await.unwrap();
    assert_eq!(found.undeclared, std::slice::from_ref(&files));
    found.add_name(&crew, &declared("crew").await);
    found.add_name(&staff, &declared("staff").await);
    assert_eq!(found.classification.value, Some(Classification::Personal));
    assert_eq!((&found.classification.from, found.undeclared.len()), (&vec![staff.clone()], 0));
    assert_eq!(found.reasons.iter().map(|reason| reason.why.as_str()).collect::<Vec<_>>(), ["names"]);
    declare(&catalog, "files", classified(Classification::Public), "as agreed").await.unwrap();
    let mut found = facts_effective(&catalog, &files).await.unwrap();
    found.add_name(&staff, &declared("staff").await);
    assert_eq!((found.classification.value, found.classification.from), (Some(Classification::Public), vec![files]));
    assert_eq!(found.inherited, Some(Classification::Personal));
}

#[tokio::test]
async fn what_is_made_from_personal_data_is_personal_unless_it_is_declared_otherwise() {
    let catalog = catalog().await;
    let stage: Uri = format!("stage:join@{}", Digest::of(b"key")).parse().unwrap();
    let (people, prices, joined, report) = (data("people"), data("prices"), data("joined"), data("report"));
    let unknown = data("unknown");
    linked(
        &catalog,
        &[
            (joined.clone(), stage.clone()),
            (stage.clone(), people.clone()),
            (stage, prices.clone()),
            (report.clone(), joined.clone()),
            (report.clone(), unknown.clone()),
        ],
    )
    .await;
    assert_eq!(classification_effective(&catalog, &report).await.unwrap().value, None);
    declare(&catalog, "people", classified(Classification::Personal), "names").await.unwrap();
    declare(&catalog, "prices", classified(Classification::Public), "on the web").await.unwrap();
    let found = facts_effective(&catalog, &report).await.unwrap();
    assert_eq!(found.classification.value, Some(Classification::Personal));
    assert_eq!((found.classification.from, found.undeclared), (vec![people.clone()], vec![unknown]));
    declare(&catalog, "joined", classified(Classification::Internal), "aggregated to 100 and more").await.unwrap();
    let found = facts_effective(&catalog, &joined).await.unwrap();
    assert_eq!(
        (found.classification.value, found.inherited),
        (Some(Classification::Internal), Some(Classification::Personal))
    );
    assert_eq!(found.declared.unwrap().why, "aggregated to 100 and more");
    let found = classification_effective(&catalog, &report).await.unwrap();
    assert_eq!((found.value, found.from), (Some(Classification::Internal), vec![joined.clone()]));
    let before = declared_over(&catalog, "joined", DatasetFacts::default(), "not said any longer").await.unwrap();
    assert_eq!(before, Some(classified(Classification::Internal)));
    let found = facts_effective(&catalog, &joined).await.unwrap();
    assert_eq!((found.classification.value, found.declared), (Some(Classification::Personal), None));
    assert!(!declare(&catalog, "joined", DatasetFacts::default(), "still not").await.unwrap());
    assert!(!declare(&catalog, "other", DatasetFacts::default(), "never said").await.unwrap());
    let name = DatasetName::new("joined").unwrap();
    assert_eq!(declaration_get(&catalog, &name).await.unwrap(), None);
    assert_eq!(declaration_history(&catalog, Some(&name)).await.unwrap().len(), 2, "what was said stays on record");
}

#[tokio::test]
async fn owners_and_descriptions_say_whose_they_are_and_reasons_who_gave_them() {
    let catalog = catalog().await;
    let (people, prices, joined) = (data("people"), data("prices"), data("joined"));
    linked(&catalog, &[(joined.clone(), people.clone()), (joined.clone(), prices.clone())]).await;
    let said = |owner: &str, description: Option<&str>, classification| DatasetFacts {
        owner: Some(owner.to_owned()),
        description: description.map(str::to_owned),
        classification: Some(classification),
        retention: None,
    };
    declare(&catalog, "people", said("ada", Some("who they are"), Classification::Personal), NO_REASON).await.unwrap();
    declare(&catalog, "prices", said("ada", None, Classification::Public), "on the web").await.unwrap();
    let found = facts_effective(&catalog, &joined).await.unwrap();
    let both = Inherited { value: Some("ada".to_owned()), from: vec![people.clone(), prices] };
    assert_eq!((found.owners.as_slice(), found.owned_by), (["ada".to_owned()].as_slice(), vec![both]));
    let description = Inherited { value: Some("who they are".to_owned()), from: vec![people] };
    assert_eq!((found.described_as, found.reasons), (vec![description], Vec::new()));
    declare(&catalog, "joined", said("bob", None, Classification::Internal), "sums only").await.unwrap();
    let found = facts_effective(&catalog, &joined).await.unwrap();
    let reason = Reason { of: joined.clone(), who: "ann".to_owned(), why: "sums only".to_owned(), at: Timestamp(7) };
    assert_eq!((found.reasons, found.owned_by[0].from.as_slice()), (vec![reason], [joined].as_slice()));
}

#[tokio::test]
async fn what_a_stage_declares_holds_for_what_its_runs_leave_behind() {
    let catalog = catalog().await;
    let uri = |text: String| text.parse::<Uri>().unwrap();
    let stage = uri(format!("stage:train@{}", Digest::of(b"key")));
    let run = uri("runs:/0123456789abcdef0123456789abcdef".to_owned());
    let (file, made) = (uri(format!("{run}/model.onnx")), data("train"));
    linked(
        &catalog,
        &[(file.clone(), run.clone()), (run, stage.clone()), (made.clone(), stage.clone()), (stage, data("people"))],
    )
    .await;
    declare(&catalog, "people", classified(Classification::Personal), NO_REASON).await.unwrap();
    let value = async |uri: &Uri| facts_effective(&catalog, uri).await.unwrap().classification.value;
    assert_eq!(value(&file).await, Some(Classification::Personal));
    let declaration = Declaration {
        name: DatasetName::new("train").unwrap(),
        facts: classified(Classification::Internal),
        stage: Some(StageName::new("train").unwrap()),
        who: "ann".to_owned(),
        why: "weights only".to_owned(),
        at: Timestamp(7),
    };
    let other = Declaration { stage: Some(StageName::new("another").unwrap()), ..declaration.clone() };
    for (declaration, of_file) in [(declaration, Classification::Internal), (other, Classification::Personal)] {
        catalog
            .write(move |connection| async move { declaration_record(connection, &declaration).await }.boxed())
            .await
            .unwrap();
        assert_eq!(value(&file).await, Some(of_file));
        let found = facts_effective(&catalog, &made).await.unwrap();
        assert_eq!(
            (found.classification.value, found.inherited),
            (Some(Classification::Internal), Some(Classification::Personal)),
            "of a dataset it is said, not inherited from the stage"
        );
    }
}

#[test]
fn what_is_not_said_again_is_withdrawn() {
    let before: DatasetFacts = toml::from_str("owner = 'ann'\nclassification = 'public'\nretention = 30").unwrap();
    let now: DatasetFacts = toml::from_str("owner = 'bob'\ndescription = 'birds'").unwrap();
    let withdrawn: DatasetFacts = toml::from_str("classification = 'public'\nretention = 30").unwrap();
    assert_eq!(before.withdrawn(&now), withdrawn);
    assert!(now.withdrawn(&now).is_empty());
}

#[tokio::test]
async fn declarations_are_kept_and_need_a_reason() {
    let catalog = catalog().await;
    let facts: DatasetFacts = toml::from_str("owner = 'ann'\nclassification = 'public'\nretention = 30").unwrap();
    assert!(declare(&catalog, "a", facts.clone(), "first").await.unwrap());
    assert!(!declare(&catalog, "a", facts.clone(), "first").await.unwrap());
    assert!(declare(&catalog, "a", facts.clone(), "a better reason").await.unwrap());
    let longer = DatasetFacts { retention: Some(Retention::Forever), ..DatasetFacts::default() };
    assert!(declare(&catalog, "a", longer.over(&facts), "the law").await.unwrap());
    let name = DatasetName::new("a").unwrap();
    let held = declaration_get(&catalog, &name).await.unwrap().unwrap();
    assert_eq!((held.facts.owner.as_deref(), held.facts.retention), (Some("ann"), Some(Retention::Forever)));
    assert_eq!(declaration_history(&catalog, Some(&name)).await.unwrap().len(), 3);
    assert_eq!(declare(&catalog, "a", facts, " ").await.unwrap_err().code(), "data.statement");
    for wrong in ["retention = -1", "retention = 'never'", "classification = 'secret'", "ower = 'x'"] {
        assert!(toml::from_str::<DatasetFacts>(wrong).is_err(), "{wrong}");
    }
    assert_eq!(toml::from_str::<DatasetFacts>("retention = 'forever'").unwrap().retention, Some(Retention::Forever));
}

#[tokio::test]
async fn retention_is_inherited_and_what_is_over_is_due() {
    let catalog = catalog().await;
    for (name, at) in [("people", 0), ("made", DAY), ("kept", 0), ("other", 0)] {
        record(&catalog, name, at).await;
    }
    linked(&catalog, &[(data("made"), data("people")), (data("kept"), data("people"))]).await;
    let days = |retention| DatasetFacts { retention: Some(retention), ..DatasetFacts::default() };
    assert!(retention_due(&catalog, Timestamp(100 * DAY)).await.unwrap().is_empty());
    declare(&catalog, "people", days(Retention::Days(30)), "the law").await.unwrap();
    declare(&catalog, "kept", days(Retention::Forever), "no names in it").await.unwrap();
    let due = async |now| {
        let due = retention_due(&catalog, Timestamp(now)).await.unwrap();
        due.into_iter().map(|due| (due.version.version.name.to_string(), due.since.0, due.from)).collect::<Vec<_>>()
    };
    assert!(due(30 * DAY - 1).await.is_empty());
    let people = ("people".to_owned(), 30 * DAY, vec![data("people")]);
    assert_eq!(due(30 * DAY).await, std::slice::from_ref(&people));
    assert_eq!(due(31 * DAY).await, [people, ("made".to_owned(), 31 * DAY, vec![data("people")])]);
    let removal = Removal {
        name: DatasetName::new("people").unwrap(),
        digest: Digest::of(b"people"),
        who: "ann".to_owned(),
        why: "retention".to_owned(),
        at: Timestamp(32 * DAY),
    };
    assert!(
        catalog
            .write(move |connection| async move { version_remove(connection, &removal).await }.boxed())
            .await
            .unwrap()
    );
    assert_eq!(due(40 * DAY).await.len(), 1);
    let name = DatasetName::new("people").unwrap();
    let error = version_resolve(&catalog, &name, "v1").await.unwrap_err();
    assert!(error.to_string().contains("removed by ann: retention"), "{error}");
}

fn event(who: &str, action: AuditAction, object: &str, at: i64) -> AuditEvent {
    let details = json!({"b": 1.5, "a": "ü"});
    AuditEvent { at: Timestamp(at), who: who.to_owned(), action, object: object.to_owned(), details }
}

async fn append(catalog: &Catalog, event: AuditEvent) -> AuditHead {
    catalog
        .write::<_, DataError, _>(move |connection| async move { audit_append(connection, &event).await }.boxed())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_trail_is_listed_and_paged() {
    let catalog = catalog().await;
    for number in 0..10 {
        let who = if number % 2 == 0 { "ann" } else { "bob" };
        let action = if number < 5 { AuditAction::Read } else { AuditAction::Write };
        append(&catalog, event(who, action, &format!("data:t{}@x", number % 3), number)).await;
    }
    let numbers = async |filter: AuditFilter, before| {
        let found = audit_list(&catalog, &filter, before, 3).await.unwrap();
        found.into_iter().map(|entry| entry.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(AuditFilter::default(), None).await, [10, 9, 8]);
    assert_eq!(numbers(AuditFilter::default(), Some(3)).await, [2, 1]);
    let ann = AuditFilter { who: Some("ann".to_owned()), action: Some(AuditAction::Read), ..AuditFilter::default() };
    assert_eq!(numbers(ann, None).await, [5, 3, 1]);
    let object = AuditFilter { object: Some("data:t2".to_owned()), ..AuditFilter::default() };
    assert_eq!(numbers(object, None).await, [9, 6, 3]);
    let time = AuditFilter { since: Some(Timestamp(2)), until: Some(Timestamp(4)), ..AuditFilter::default() };
    assert_eq!(numbers(time, None).await, [4, 3]);
    let entry = audit_list(&catalog, &AuditFilter::default(), None, 1).await.unwrap().remove(0);
    assert_eq!(
        (entry.details, entry.action, entry.at),
        (json!({"b": 1.5, "a": "ü"}), AuditAction::Write, Timestamp(9))
    );
}

#[tokio::test]
async fn tampering_with_the_trail_is_seen() {
    for (statement, says) in [
        ("UPDATE audit SET who = 'eve' WHERE number = 3", vec![(3, "changed")]),
        ("UPDATE audit SET details_json = '{}' WHERE number = 5", vec![(5, "changed"), (5, "is not there")]),
        ("DELETE FROM audit WHERE number = 2", vec![(3, "missing"), (3, "does not follow")]),
        ("UPDATE audit SET digest = previous WHERE number = 4", vec![(4, "changed"), (5, "does not follow")]),
        ("DELETE FROM audit WHERE number = 5", vec![(5, "is not there")]),
        ("DELETE FROM audit", vec![(5, "is not there")]),
        ("SELECT 1", Vec::new()),
    ] {
        let catalog = catalog().await;
        let mut head = None;
        for number in 1..=5 {
            head = Some(append(&catalog, event("ann", AuditAction::Delete, "data:a@b", number)).await);
        }
        catalog
            .write(move |connection| {
                async move { Ok::<_, DataError>(execute_script(connection, statement).await?) }.boxed()
            })
            .await
            .unwrap();
        let report = audit_verify(&catalog, head).await.unwrap();
        let found: Vec<_> = report.faults.iter().map(|fault| fault.number).collect();
        assert_eq!(found, says.iter().map(|(number, _)| *number).collect::<Vec<_>>(), "{statement}: {report:?}");
        for (fault, (_, text)) in report.faults.iter().zip(&says) {
            assert!(fault.reason.contains(text), "{statement}: {report:?}");
        }
        if says.is_empty() {
            assert_eq!((report.entries, report.head), (5, head));
            let text = head.unwrap().to_string();
            assert_eq!(text.parse::<AuditHead>().ok(), head);
            assert!(text.replace(':', "-").parse::<AuditHead>().is_err());
        }
    }
}
