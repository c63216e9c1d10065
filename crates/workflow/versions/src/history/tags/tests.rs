use proptest::prelude::*;

use super::*;

#[test]
fn tags_as_they_are_written() {
    let version = Digest::of(b"v");
    for (deletions, text) in [(0, format!("{version}\n")), (3, format!("{version} 3\n"))] {
        let at = TagAt { version, deletions };
        assert_eq!(encode(at), text.as_bytes());
        assert_eq!(decode(&text), Some(at));
    }
    assert_eq!(decode("nonsense"), None);
    assert_eq!(decode(&format!("{version} x")), None);
}

/// What a store knows of the tag `t`.
async fn known(store: &Store) -> Option<TagAt> {
    let name = DatasetName::new("x").unwrap();
    let refs = super::super::refs(store, &name).await.unwrap();
    refs.tags.get(&TagName::new("t").unwrap()).copied()
}

async fn carry(from: &Store, to: &Store) -> Carried {
    let name = DatasetName::new("x").unwrap();
    let (ours, theirs) = (super::super::refs(from, &name).await.unwrap(), super::super::refs(to, &name).await.unwrap());
    tags_carry(&ours, to, &name, &theirs, false).await.unwrap()
}

#[tokio::test]
async fn what_was_deleted_stays_so_until_it_is_set_anew() {
    let (here, there) = (Store::open("memory:").await.unwrap(), Store::open("memory:").await.unwrap());
    let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
    let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
    tag_set(&here, &name, &tag, &one, false).await.unwrap();
    assert_eq!(carry(&here, &there).await.set, 1);
    tag_delete(&here, &name, &tag).await.unwrap();
    assert_eq!((carry(&there, &here).await.set, known(&here).await), (0, None));
    assert_eq!((carry(&here, &there).await.deleted, known(&there).await), (vec![tag.clone()], None));
    // The same version again, and heard of by one that was told of the deletion.
    tag_set(&there, &name, &tag, &one, false).await.unwrap();
    assert_eq!(carry(&there, &here).await.set, 1);
    assert_eq!(known(&here).await, Some(TagAt { version: one, deletions: 1 }));
    // Deleted twice here, set elsewhere there before it was heard of: the larger count holds.
    tag_delete(&here, &name, &tag).await.unwrap();
    tag_set(&there, &name, &tag, &two, true).await.unwrap();
    assert_eq!(carry(&there, &here).await.set, 0);
    carry(&here, &there).await;
    assert_eq!((known(&here).await, known(&there).await), (None, None));
    tag_set(&here, &name, &tag, &two, false).await.unwrap();
    assert_eq!(carry(&here, &there).await.set, 1);
    // Who never heard of anything is no obstacle.
    let third = Store::open("memory:").await.unwrap();
    tag_set(&third, &name, &tag, &one, false).await.unwrap();
    carry(&here, &third).await;
    assert_eq!(known(&third).await, Some(TagAt { version: two, deletions: 2 }));
}

async fn refs_of(store: &Store) -> Refs {
    super::super::refs(store, &DatasetName::new("x").unwrap()).await.unwrap()
}

#[tokio::test]
async fn what_is_set_anew_while_a_deletion_is_on_its_way_stays() {
    let (here, there) = (Store::open("memory:").await.unwrap(), Store::open("memory:").await.unwrap());
    let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
    let (one, five) = (Digest::of(b"1"), Digest::of(b"5"));
    tag_set(&here, &name, &tag, &one, false).await.unwrap();
    carry(&here, &there).await;
    tag_delete(&here, &name, &tag).await.unwrap();
    let (ours, theirs) = (refs_of(&here).await, refs_of(&there).await);
    // While the push goes on, somebody who knows of the deletion sets the tag.
    deletions_raise(&there, &name, &tag, 1).await.unwrap();
    tag_set(&there, &name, &tag, &five, false).await.unwrap();
    let carried = tags_carry(&ours, &there, &name, &theirs, false).await.unwrap();
    assert_eq!((carried.deleted, known(&there).await), (Vec::new(), Some(TagAt { version: five, deletions: 1 })));
}

#[tokio::test]
async fn a_deletion_that_came_while_a_tag_was_on_its_way_holds() {
    let (here, there) = (Store::open("memory:").await.unwrap(), Store::open("memory:").await.unwrap());
    let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
    tag_set(&here, &name, &tag, &Digest::of(b"1"), false).await.unwrap();
    let (ours, theirs) = (refs_of(&here).await, refs_of(&there).await);
    deletions_raise(&there, &name, &tag, 1).await.unwrap();
    let carried = tags_carry(&ours, &there, &name, &theirs, true).await.unwrap();
    assert_eq!((carried.set, carried.gone), (0, vec![tag.clone()]));
    assert_eq!(known(&there).await, None);
    // Heard of, and set again, it arrives.
    carry(&there, &here).await;
    assert_eq!(known(&here).await, None);
    tag_set(&here, &name, &tag, &Digest::of(b"1"), false).await.unwrap();
    assert_eq!((carry(&here, &there).await.set, known(&there).await.is_some()), (1, true));
}

#[tokio::test]
async fn what_is_set_while_another_deletes_the_tag_is_there_or_was_refused() {
    let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
    let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
    let store = Store::open("memory:").await.unwrap();
    tag_set(&store, &name, &tag, &one, false).await.unwrap();
    // One writer has read the count, the other deletes the tag, and the first finds none.
    let read = deletions_at(&store, &untagged_ref(&name, &tag).unwrap()).await.unwrap();
    tag_delete(&store, &name, &tag).await.unwrap();
    tag_set_since(&store, (&name, &tag), &two, false, read).await.unwrap();
    assert_eq!(known(&store).await, Some(TagAt { version: two, deletions: 1 }), "it was told to be set");
    // The deletion has counted, and is about to take away what it knew: not what was set after it.
    let read = 1;
    deletions_raise(&store, &name, &tag, 2).await.unwrap();
    tag_set_since(&store, (&name, &tag), &one, true, read).await.unwrap();
    assert!(!tag_drop(&store, &name, &tag, 2, None).await.unwrap());
    assert_eq!(known(&store).await, Some(TagAt { version: one, deletions: 2 }));
    // One that another set after the deletion is in the way, as always.
    tag_delete(&store, &name, &tag).await.unwrap();
    tag_set(&store, &name, &tag, &two, false).await.unwrap();
    let error = tag_set_since(&store, (&name, &tag), &one, false, 2).await.unwrap_err();
    assert!(matches!(error, VersionsError::TagExists { version, .. } if version == two), "{error}");
}

#[tokio::test]
async fn a_tag_that_was_deleted_while_it_was_on_its_way_is_gone() {
    let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
    let at = TagAt { version: Digest::of(b"1"), deletions: 0 };
    let store = Store::open("memory:").await.unwrap();
    tag_set(&store, &name, &tag, &Digest::of(b"2"), false).await.unwrap();
    tag_delete(&store, &name, &tag).await.unwrap();
    let arrived = tag_carry_since(&store, (&name, &tag), at, false, 0, None).await.unwrap();
    assert!(matches!(arrived, Arrived::Gone), "not said to be set");
    assert_eq!(known(&store).await, None);
    assert_eq!(store.ref_get(&tag_ref(&name, &tag).unwrap()).await.unwrap(), None, "and nothing is left of it");
}

#[tokio::test]
async fn a_deletion_that_was_killed_half_way_counts() {
    let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
    let store = Store::open("memory:").await.unwrap();
    tag_set(&store, &name, &tag, &Digest::of(b"1"), false).await.unwrap();
    deletions_raise(&store, &name, &tag, 1).await.unwrap();
    assert_eq!(known(&store).await, None);
    tag_set(&store, &name, &tag, &Digest::of(b"2"), false).await.unwrap();
    assert_eq!(known(&store).await.map(|at| at.version), Some(Digest::of(b"2")));
}

/// What somebody does with the tag in one of three stores.
#[derive(Clone, Copy, Debug)]
enum Done {
    Set(usize, u8),
    Delete(usize),
    Carry(usize, usize),
}

fn done() -> impl Strategy<Value = Done> {
    let store = 0..3_usize;
    prop_oneof![
        (store.clone(), any::<u8>()).prop_map(|(store, version)| Done::Set(store, version)),
        store.clone().prop_map(Done::Delete),
        (store.clone(), store).prop_map(|(from, to)| Done::Carry(from, to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_whatever_order_they_hear_of_it_all_agree_whether_there_is_a_tag(history in prop::collection::vec(done(), 0..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut stores = Vec::new();
            for _ in 0..3 {
                stores.push(Store::open("memory:").await.unwrap());
            }
            let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
            for done in history {
                match done {
                    Done::Set(store, version) => {
                        tag_set(&stores[store], &name, &tag, &Digest::of(&[version]), true).await.unwrap();
                    }
                    // Only a tag that is there can be deleted.
                    Done::Delete(store) if known(&stores[store]).await.is_some() => {
                        tag_delete(&stores[store], &name, &tag).await.unwrap();
                    }
                    Done::Delete(_) => {}
                    Done::Carry(from, to) => drop(carry(&stores[from], &stores[to]).await),
                }
            }
            for _ in 0..2 {
                for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
                    carry(&stores[from], &stores[to]).await;
                }
            }
            let mut counts = Vec::new();
            for store in &stores {
                counts.push(known(store).await.map(|at| at.deletions));
            }
            assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        });
    }
}
