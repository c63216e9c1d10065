use proptest::prelude::*;
use ropewalk_types::Diagnose as _;

use super::*;
use crate::Classification;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn name() -> DatasetName {
    DatasetName::new("flights").unwrap()
}

fn tag(text: &str) -> TagName {
    TagName::new(text).unwrap()
}

fn digest(number: u8) -> Digest {
    Digest::of(&[number])
}

fn tagged(at: i64, number: Option<u8>) -> Tagged {
    Tagged { at: Timestamp(at), digest: number.map(digest), who: "ann".to_owned() }
}

fn removed(at: i64) -> Removed {
    Removed { at: Timestamp(at), who: "ann".to_owned(), why: "gdpr".to_owned() }
}

fn declared(at: i64, classification: Option<Classification>) -> Declared {
    let facts = DatasetFacts { classification, ..DatasetFacts::default() };
    Declared { at: Timestamp(at), facts, stage: None, who: "ann".to_owned(), why: "said".to_owned() }
}

fn example() -> TableState {
    let mut state = TableState::empty(name());
    state.declaration = Some(declared(3, Some(Classification::Personal)));
    state.latest = Some(Latest { at: Timestamp(5), digest: digest(2) });
    state.tags = BTreeMap::from([(tag("good"), tagged(4, Some(2))), (tag("gone"), tagged(4, None))]);
    state.removed = BTreeMap::from([(digest(1), removed(6))]);
    state
}

#[test]
fn a_state_is_read_as_it_was_written() {
    let bytes = example().encode().unwrap();
    assert_eq!(TableState::decode(&bytes, &name(), NOW).unwrap(), example());
    assert!(TableState::empty(name()).is_empty() && !example().is_empty());
    let text = String::from_utf8(bytes).unwrap();
    for bad in [
        "{}".to_owned(),
        text.replace("\"flights\"", "\"other\""),
        text.replace("\"personal\"", "\"secret\""),
        text.replace("\"who\":\"ann\",\"why\":\"gdpr\"", "\"who\":\" \",\"why\":\"gdpr\""),
        text.replace("\"at\":6", "\"at\":9800000000000"),
        text.replace("\"good\"", "\"latest\""),
        text.replace(&digest(1).to_string(), "123"),
    ] {
        assert_ne!(bad, text);
        let error = TableState::decode(bad.as_bytes(), &name(), NOW).unwrap_err();
        assert_eq!(error.code(), "data.foreign", "{error}");
    }
    let newer = text.replace("\"format\":1", "\"format\":7");
    assert_eq!(TableState::decode(newer.as_bytes(), &name(), NOW).unwrap_err().code(), "data.newer_format");
}

#[test]
fn a_state_leaves_room_for_what_others_write() {
    let long = |length: usize| "x".repeat(length);
    let why = |length| Removed { why: long(length), ..removed(6) };
    let who = |length| Removed { who: long(length), ..removed(6) };
    let mut state = example();
    state.removed = BTreeMap::from([(digest(1), why(TEXT_BYTES)), (digest(2), who(NAME_BYTES))]);
    let bytes = state.encode().unwrap();
    assert_eq!(TableState::decode(&bytes, &name(), NOW).unwrap(), state);
    let text = |state: &TableState| serde_json::to_vec(state).unwrap();
    let mut refused = Vec::new();
    for removed in [why(TEXT_BYTES + 1), who(NAME_BYTES + 1)] {
        refused.push(TableState { removed: BTreeMap::from([(digest(1), removed)]), ..example() });
    }
    let tagged = Tagged { who: long(NAME_BYTES + 1), ..tagged(4, None) };
    refused.push(TableState { tags: BTreeMap::from([(tag("gone"), tagged)]), ..example() });
    let tags = (0..=TAGS).map(|number| (tag(&format!("t-{number}")), super::tests::tagged(4, None)));
    refused.push(TableState { tags: tags.collect(), ..example() });
    for (owner, description) in [(NAME_BYTES + 1, 1), (1, TEXT_BYTES + 1)] {
        let facts =
            DatasetFacts { owner: Some(long(owner)), description: Some(long(description)), ..DatasetFacts::default() };
        refused.push(TableState { declaration: Some(Declared { facts, ..declared(3, None) }), ..example() });
    }
    for state in refused {
        for error in [state.encode().unwrap_err(), TableState::decode(&text(&state), &name(), NOW).unwrap_err()] {
            assert!(error.code() == "data.foreign" && error.to_string().contains("are accepted"), "{error}");
        }
    }
}

#[test]
fn what_was_said_last_holds() {
    let mut other = TableState::empty(name());
    other.declaration = Some(declared(4, None));
    other.latest = Some(Latest { at: Timestamp(4), digest: digest(3) });
    let merged = example().merge(&other, TagMove::Refused).state;
    assert_eq!(merged.declaration, other.declaration, "it was withdrawn");
    assert_eq!(merged.latest, example().latest);
    other.declaration = Some(declared(2, Some(Classification::Public)));
    other.latest = Some(Latest { at: Timestamp(7), digest: digest(3) });
    let merged = example().merge(&other, TagMove::Refused).state;
    assert_eq!(merged.declaration, example().declaration);
    assert_eq!(merged.latest, other.latest);
}

#[test]
fn a_version_that_was_removed_since_is_the_latest_no_longer() {
    let mut other = TableState::empty(name());
    other.latest = Some(Latest { at: Timestamp(9), digest: digest(1) });
    other.removed = BTreeMap::from([(digest(2), removed(5)), (digest(3), removed(8))]);
    let mut example = example();
    example.tags.clear();
    assert_eq!(example.merge(&other, TagMove::Refused).state.latest, other.latest, "it was made again");
    other.latest = Some(Latest { at: Timestamp(6), digest: digest(1) });
    for (one, two) in [(&example, &other), (&other, &example)] {
        assert_eq!(one.merge(two, TagMove::Refused).state.latest, None, "both were removed");
    }
    other.latest = Some(Latest { at: Timestamp(4), digest: digest(0) });
    for (one, two) in [(&example, &other), (&other, &example)] {
        assert_eq!(one.merge(two, TagMove::Refused).state.latest, other.latest, "the one before it");
    }
}

#[test]
fn tags_move_only_explicitly_and_go_when_they_were_taken_away_later() {
    let mut other = TableState::empty(name());
    other.tags = BTreeMap::from([
        (tag("good"), tagged(9, Some(3))),
        (tag("gone"), tagged(3, Some(3))),
        (tag("new"), tagged(1, Some(3))),
    ]);
    let merged = example().merge(&other, TagMove::Refused);
    assert_eq!(merged.conflicts, [TagConflict { tag: tag("good"), kept: digest(2), refused: digest(3) }]);
    assert_eq!(merged.state.tags[&tag("good")].digest, Some(digest(2)));
    assert_eq!(merged.state.tags[&tag("gone")].digest, None, "it was set before it was taken away");
    assert_eq!(merged.state.tags[&tag("new")].digest, Some(digest(3)));
    let merged = example().merge(&other, TagMove::Allowed);
    assert_eq!((merged.conflicts.len(), merged.state.tags[&tag("good")].digest), (0, Some(digest(3))));
    other.tags = BTreeMap::from([(tag("good"), tagged(9, None)), (tag("gone"), tagged(9, Some(3)))]);
    let merged = example().merge(&other, TagMove::Refused).state;
    assert_eq!(merged.tags[&tag("good")].digest, None);
    assert_eq!(merged.tags[&tag("gone")].digest, Some(digest(3)), "it was set again");
}

#[test]
fn a_version_with_a_tag_is_not_removed_by_others() {
    let mut other = TableState::empty(name());
    other.removed = BTreeMap::from([(digest(1), removed(2)), (digest(2), removed(8)), (digest(3), removed(8))]);
    let merged = example().merge(&other, TagMove::Refused);
    assert_eq!(merged.protected, [(digest(2), tag("good"))]);
    assert_eq!(merged.state.removed.len(), 2);
    assert_eq!(merged.state.removed[&digest(1)].at, Timestamp(6), "the later one");
    assert!(merged.state.removal(&digest(3), Timestamp(8)).is_some());
    assert!(merged.state.removal(&digest(3), Timestamp(9)).is_none(), "it was made again");
}

prop_compose! {
    fn any_state()(
        latest in prop::option::of((0..9_i64, 0..4_u8)),
        declaration in prop::option::of(0..9_i64),
        tags in prop::collection::btree_map("[a-c]x", (0..9_i64, prop::option::of(0..4_u8)), 0..3),
        removals in prop::collection::btree_map(0..4_u8, 0..9_i64, 0..3),
    ) -> TableState {
        let mut state = TableState::empty(name());
        state.latest = latest.map(|(at, number)| Latest { at: Timestamp(at), digest: digest(number) });
        // Nobody says two things at once.
        state.declaration = declaration.map(|at| declared(at, (at % 2 == 0).then_some(Classification::Internal)));
        state.tags = tags.into_iter().map(|(name, (at, number))| (tag(&name), tagged(at, number))).collect();
        state.removed = removals.into_iter().map(|(number, at)| (digest(number), removed(at))).collect();
        // Nobody says that what was removed is the latest.
        state.latest = state.latest.filter(|latest| state.removal(&latest.digest, latest.at).is_none());
        state
    }
}

proptest! {
    #[test]
    fn merging_again_changes_nothing(ours in any_state(), theirs in any_state()) {
        for moving in [TagMove::Refused, TagMove::Allowed] {
            let once = ours.merge(&theirs, moving).state;
            prop_assert_eq!(&once.merge(&theirs, moving).state, &once);
            prop_assert_eq!(&once.merge(&ours.clone(), TagMove::Refused).state.latest, &once.latest);
            let dead = once.latest.and_then(|latest| once.removal(&latest.digest, latest.at));
            prop_assert_eq!(dead, None);
            prop_assert_eq!(ours.merge(&ours.clone(), moving).state, ours.clone());
            let bytes = once.encode().unwrap();
            prop_assert_eq!(TableState::decode(&bytes, &name(), NOW).unwrap(), once);
        }
    }
}
