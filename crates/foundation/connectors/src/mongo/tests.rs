use mongodb::bson::{self, doc, oid::ObjectId};

use super::*;

#[test]
fn every_bson_type_has_a_cell() {
    let id = ObjectId::from_bytes([0xab; 12]);
    let document = doc! {
        "_id": id,
        "whole": 1_i32,
        "long": i64::MIN,
        "half": 0.5,
        "text": "größe",
        "yes": true,
        "none": null,
        "at": bson::DateTime::from_millis(1500),
        "price": "1.50".parse::<bson::Decimal128>().unwrap(),
        "bytes": bson::Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255] },
        "uuid": bson::Binary { subtype: BinarySubtype::Uuid, bytes: vec![0xa0; 16] },
        "tags": ["a", "b"],
        "place": { "lat": 1.5 },
        "stamp": bson::Timestamp { time: 7, increment: 8 },
        "low": Bson::MinKey,
        "symbol": Bson::Symbol("old".to_owned()),
        "undefined": Bson::Undefined,
    };
    let Cell::Struct(fields) = document_cell(&document) else { panic!("no document") };
    let found = |name: &str| fields.iter().find(|(known, _)| known == name).unwrap().1.clone();
    assert_eq!(found("_id"), Cell::text("ab".repeat(12)));
    assert_eq!(found("whole"), Cell::Integer(1));
    assert_eq!(found("long"), Cell::Integer(i64::MIN));
    assert_eq!(found("none"), Cell::Null);
    assert_eq!(found("at"), Cell::Timestamp(1_500_000));
    assert_eq!(found("price"), Cell::Decimal("1.50".into()));
    assert_eq!(found("bytes"), Cell::Binary([0, 255][..].into(), 0));
    assert_eq!(found("uuid"), Cell::text("a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0"));
    assert_eq!(found("tags"), Cell::List(vec![Cell::text("a"), Cell::text("b")]));
    assert!(matches!(found("place"), Cell::Struct(_)));
    assert!(matches!(found("low"), Cell::Misfit(..)));
    assert_eq!((found("symbol"), found("undefined")), (Cell::text("old"), Cell::Null));
    assert_eq!(fields.len(), document.len());
}

#[test]
fn filters_are_extended_json() {
    let filter = extended_json(
        "filter",
        Some(r#"{"at": {"$gt": {"$date": "2024-01-01T00:00:00Z"}}, "n": {"$numberLong": "5"}}"#),
    );
    let filter = filter.unwrap().unwrap();
    assert_eq!(filter.get_i64("n").unwrap(), 5);
    let after = filter.get_document("at").unwrap().get_datetime("$gt").unwrap();
    assert_eq!(after.timestamp_millis(), 1_704_067_200_000);
    assert!(extended_json("filter", Some("{")).is_err());
    assert_eq!(extended_json("filter", None).unwrap(), None);
}

#[tokio::test]
async fn a_wrong_url_does_not_show_its_password() {
    let request = MongoRequest::new("mongodb://u:hunter2@h:port/x", "c");
    let options = ConnectionOptions::default();
    let error = mongo_open(&request, &options, &ropewalk_types::ManualAmbient::default()).await.unwrap_err();
    assert!(!error.to_string().contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{error:?}");
}
