use ropewalk_lineage::Relation;
use ropewalk_types::Diagnose as _;
use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

fn link(child: &Uri, parent: &Uri) -> Link {
    Link { child: child.clone(), parent: parent.clone(), relation: Relation::Read }
}

fn example() -> TableRecord {
    let version = DatasetVersion {
        name: DatasetName::new("flights").unwrap(),
        digest: Digest::of(b"tree"),
        zone: Zone::Processed,
        rows: 3,
        columns: vec![Column { name: "id".to_owned(), data_type: "int64".to_owned() }],
        bytes: 100,
        quarantined: 1,
        stage_key: Some(Digest::of(b"key")),
        created_at: Timestamp(1_700_000_000_000),
    };
    let own = uri(&format!("data:flights@{}", version.digest));
    let stage = uri(&format!("stage:flights@{}", Digest::of(b"key")));
    let raw = uri(&format!("data:raw@{}", Digest::of(b"raw")));
    let links = vec![link(&own, &stage), link(&stage, &raw), link(&stage, &uri("git:0a1b"))];
    let made = Made {
        imports: Vec::new(),
        stage: Some(MadeBy {
            finished_at: Timestamp(1_700_000_000_001),
            kind: "sql".to_owned(),
            milliseconds: 12,
            name: StageName::new("flights").unwrap(),
            summary: json!({ "rows": 3, "share": 0.1 }),
        }),
    };
    TableRecord::new(&version, 2, links, Some(made))
}

fn decode(bytes: &[u8]) -> Result<TableRecord, DataError> {
    let TableRecord { name, digest, .. } = example();
    TableRecord::decode(bytes, &name, &digest, NOW)
}

#[test]
fn a_record_is_read_as_it_was_written_and_sorted() {
    let bytes = example().encode().unwrap();
    assert!(bytes.starts_with(br#"{"bytes":100,"columns":[{"name":"id","type":"int64"}],"created_at":1700000000000,"#));
    assert_eq!(decode(&bytes).unwrap(), example());
    assert_eq!(decode(&bytes).unwrap().version().stage_key, Some(Digest::of(b"key")));
}

#[test]
fn what_is_no_record_of_that_version_is_refused() {
    let good = String::from_utf8(example().encode().unwrap()).unwrap();
    let other = Digest::of(b"other").to_string();
    for (bad, says) in [
        (String::new(), "EOF"),
        ("{}".to_owned(), "no `ropewalk.table_version`"),
        (good.replace(&Digest::of(b"tree").to_string(), &other), "it is the record of"),
        (good.replace("\"name\":\"flights\",\"number\"", "\"name\":\"fl\",\"number\""), "of `fl`"),
        (good.replace("\"name\":\"flights\",\"number\"", "\"name\":\"../f\",\"number\""), "cannot name a dataset"),
        (good.replace("\"zone\":\"processed\"", "\"zone\":\"cooked\""), "cooked"),
        (good.replace("\"rows\":3,\"stage_key\"", "\"rows\":-3,\"stage_key\""), "-3"),
        (good.replace("\"rows\":3,\"stage_key\"", "\"rows\":18446744073709551615,\"stage_key\""), "no number of rows"),
        (good.replace("\"number\":2", "\"number\":0"), "no number of a version"),
        (good.replace("\"created_at\":1700000000000", "\"created_at\":1900000000000"), "clocks"),
        (good.replace("\"created_at\":1700000000000", "\"created_at\":-1"), "clocks"),
        (good.replace("\"bytes\"", "\"bites\""), "bites"),
        (good.replace("data:raw@", "data:raw@v"), "cannot stand in its lineage"),
        (good.replace("\"child\":\"stage:flights@", "\"child\":\"stage:other@"), "a link begins at `stage:other@"),
        (good.replace("\"format\":1", "\"format\":0"), "never written"),
    ] {
        assert_ne!(bad, good, "{says}");
        let error = decode(bad.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "data.foreign", "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    let error = decode(good.replace("\"format\":1", "\"format\":2").as_bytes()).unwrap_err();
    assert_eq!((error.code(), error.hint().is_some()), ("data.newer_format", true));
}

#[test]
fn a_record_is_bounded() {
    let mut long = example();
    let mut last = uri(&format!("data:flights@{}", Digest::of(b"tree")));
    long.links.clear();
    for step in 0..70 {
        let next = uri(&format!("git:{step:04x}"));
        long.links.push(link(&last, &next));
        last = next;
    }
    assert!(long.encode().unwrap_err().to_string().contains("longer than 64 steps"));
    let mut wide = example();
    let column = |number| Column { name: format!("c{number}"), data_type: "text".to_owned() };
    wide.columns = (0..=COLUMNS).map(column).collect();
    assert!(wide.encode().unwrap_err().to_string().contains("columns"));
    let mut large = example();
    large.columns[0].name = "x".repeat(TableRecord::MAX_BYTES as usize);
    assert!(large.encode().unwrap_err().to_string().contains("bytes"));
    let mut twice = example();
    twice.columns.push(twice.columns[0].clone());
    assert!(twice.encode().unwrap_err().to_string().contains("two columns"));
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_changed_byte_never_panics(at in proptest::prelude::any::<proptest::sample::Index>(), byte: u8) {
        let mut bytes = example().encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(&bytes);
    }
}
