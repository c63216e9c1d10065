use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, FixedSizeListArray, Int32Array, LargeStringArray, ListArray, RecordBatch, StringArray,
};
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};

use super::*;

fn written(batch: &RecordBatch, change: impl FnOnce(WriterPropertiesBuilder) -> WriterPropertiesBuilder) -> Bytes {
    let mut bytes = Vec::new();
    let properties = change(WriterProperties::builder()).build();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes.into()
}

/// A file of one column as it is written by default.
fn file(array: ArrayRef) -> Bytes {
    written(&RecordBatch::try_from_iter([("x", array)]).unwrap(), |properties| properties)
}

/// The file with another column in its footer.
fn forged(body: &Bytes, change: impl Fn(ColumnChunkMetaData) -> ColumnChunkMetaData) -> Bytes {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(body).unwrap();
    let groups = metadata.row_groups().iter().map(|group| {
        let columns = group.columns().iter().cloned().map(&change).collect();
        group.clone().into_builder().set_column_metadata(columns).build().unwrap()
    });
    let groups = groups.collect();
    let tail = body.len() - 8;
    let length = u32::from_le_bytes(body[tail..tail + 4].try_into().unwrap()) as usize;
    let mut bytes = body[..tail - length].to_vec();
    let metadata = metadata.into_builder().set_row_groups(groups).build();
    ParquetMetaDataWriter::new(&mut bytes, &metadata).finish().unwrap();
    bytes.into()
}

fn refused(body: Bytes, limits: &ScoringLimits) -> String {
    read(body, limits).unwrap_err().to_string()
}

#[test]
fn sizes_are_those_of_the_pages_and_not_those_of_the_footer() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100_000)]));
    let batch = RecordBatch::try_from_iter([("x", text)]).unwrap();
    let body = written(&batch, |properties| properties.set_compression(Compression::SNAPPY));
    assert!(body.len() < 20_000);
    let limits = ScoringLimits { parquet_bytes: 50_000, ..ScoringLimits::default() };
    let lying = forged(&body, |column| column.into_builder().set_total_uncompressed_size(1).build().unwrap());
    assert_eq!(refused(lying.clone(), &limits), "the table has more than 50000 bytes without compression");
    let read = read(lying, &ScoringLimits::default()).unwrap();
    assert_eq!((read.rows, read.columns.len()), (1, 1));
}

#[test]
fn what_the_crate_asserts_is_the_files_mistake() {
    // A page whose indices into the dictionary have more bits than there are.
    let wide = include_bytes!("../../../../../../fuzz/inference/seeds/invocations/parquet_wide_indices");
    let refusal = refused(Bytes::from_static(wide).slice(1..), &ScoringLimits::default());
    assert_eq!(refusal, "cannot read the request as Parquet: its data is damaged");
}

#[test]
fn the_schema_of_arrow_is_not_read() {
    let batch = RecordBatch::try_from_iter([("x", Arc::new(Int32Array::from(vec![7])) as ArrayRef)]).unwrap();
    let said = KeyValue::new("ARROW:schema".to_owned(), "no flatbuffer in base64".to_owned());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![said])).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut body = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut body, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let body = Bytes::from(body);
    assert!(ArrowReaderMetadata::load(&body, ArrowReaderOptions::new()).is_err(), "the crate would read it");
    assert_eq!(read(body, &ScoringLimits::default()).unwrap().columns, [[Json::Int(7)]]);
}

/// More columns than pandas is asked for, in more row groups than it writes of them.
#[test]
fn the_footer_of_a_wide_table_takes_some_megabytes() {
    let column: ArrayRef = Arc::new(Int32Array::from_iter_values(0..10));
    let columns = (0..1000).map(|place| (format!("column {place}"), Arc::clone(&column)));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let body = written(&batch, |properties| properties.set_max_row_group_row_count(Some(1)));
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&body).unwrap();
    assert_eq!(metadata.num_row_groups(), 10);
    // Of 128 MiB that there are for it.
    let taken = footer::check(&body, &ScoringLimits::default()).unwrap();
    assert!((metadata.memory_size()..16 << 20).contains(&taken), "{taken} bytes");
    let table = read(body, &ScoringLimits::default()).unwrap();
    assert_eq!((table.rows, table.columns.len()), (10, 1000));
}

#[test]
fn a_column_is_where_no_other_is() {
    let batch = RecordBatch::try_from_iter([
        ("a", Arc::new(StringArray::from(vec!["x".repeat(100_000)])) as ArrayRef),
        ("b", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
    ]);
    let body = written(&batch.unwrap(), |properties| properties);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&body).unwrap();
    let first = metadata.row_group(0).column(0);
    let same = forged(&body, |column| {
        let column = column.into_builder().set_dictionary_page_offset(first.dictionary_page_offset());
        column.set_total_compressed_size(first.compressed_size()).build().unwrap()
    });
    let refusal = refused(same, &ScoringLimits::default());
    assert_eq!(refusal, "cannot read the request as Parquet: its columns overlap");
    let far = forged(&body, |column| column.into_builder().set_total_compressed_size(1 << 40).build().unwrap());
    let refusal = refused(far, &ScoringLimits::default());
    assert!(refusal.ends_with("its footer or the head of a page is damaged"), "{refusal}");
}

#[test]
fn values_are_counted_before_they_are_decoded() {
    // A million missing values are some hundred bytes.
    let nulls = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![None; 1_000_000])]);
    let body = file(Arc::new(nulls));
    assert!(body.len() < 20_000);
    let limits = ScoringLimits { cells: 1000, ..ScoringLimits::default() };
    assert_eq!(refused(body.clone(), &limits), "the table has more than 1000 values");
    assert_eq!(read(body, &ScoringLimits::default()).unwrap().rows, 1);
}

#[test]
fn a_text_of_a_dictionary_is_not_repeated_for_each_row() {
    let keys = Int32Array::from(vec![0; 100]);
    let text = StringArray::from(vec!["x".repeat(512 << 10)]);
    let body = file(Arc::new(DictionaryArray::new(keys, Arc::new(text))));
    let metadata = bounded_metadata(&body, &ScoringLimits::default()).unwrap();
    assert_eq!(*metadata.schema().field(0).data_type(), DataType::Utf8View);
    let (refusal, limit) = (refused(body, &ScoringLimits::default()), 16 << 20);
    assert_eq!(refusal, format!("the table has more than {limit} values and bytes of text"));
}

#[test]
fn a_missing_list_of_fixed_length_takes_no_room() {
    let lists = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), Some(2)]), None], 2);
    let read = read(file(Arc::new(lists)), &ScoringLimits::default()).unwrap();
    assert_eq!(read.columns, [vec![Json::List(vec![Json::Int(1), Json::Int(2)]), Json::Null]]);
}

#[test]
fn long_texts_and_texts_in_lists_are_read() {
    let texts = LargeStringArray::from(vec![Some("a text of more than twelve bytes"), None, Some("")]);
    let text = |text: &str| Json::Text(text.to_owned());
    let table = read(file(Arc::new(texts)), &ScoringLimits::default()).unwrap();
    assert_eq!(table.columns, [vec![text("a text of more than twelve bytes"), Json::Null, text("")]]);
    let mut lists = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    lists.append_value([Some("a"), None]);
    lists.append_null();
    let table = read(file(Arc::new(lists.finish())), &ScoringLimits::default()).unwrap();
    assert_eq!(table.columns, [vec![Json::List(vec![text("a"), Json::Null]), Json::Null]]);
}

#[test]
fn encodings_that_make_room_for_any_number_are_refused() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "ab"]));
    let batch = RecordBatch::try_from_iter([("x", texts)]).unwrap();
    for encoding in [Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY] {
        let body = written(&batch, |properties| properties.set_dictionary_enabled(false).set_encoding(encoding));
        let refusal = refused(body, &ScoringLimits::default());
        let wanted = "column `x` has texts in a DELTA encoding: PLAIN and dictionaries are read";
        assert!(refusal.ends_with(wanted), "{refusal}");
    }
}
