-- Records lie in segments now: Parquet files in the store, sorted by id. What is in the table `prediction` still is moved
-- into segments when a log is opened.
-- `models` is a JSON array of [name, version]; NULL where there are too many to be listed.
CREATE TABLE prediction_segment (
    digest    TEXT   NOT NULL PRIMARY KEY,
    first_id  TEXT   NOT NULL,
    last_id   TEXT   NOT NULL,
    from_at   BIGINT NOT NULL,
    to_at     BIGINT NOT NULL,
    rows      BIGINT NOT NULL,
    bytes     BIGINT NOT NULL,
    models    TEXT,
    made_at   BIGINT NOT NULL
);
CREATE INDEX prediction_segment_by_id ON prediction_segment (first_id);

-- Journals whose records are in a segment, until their files are removed: a journal is sealed once.
CREATE TABLE prediction_journal (
    name   TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL
);
