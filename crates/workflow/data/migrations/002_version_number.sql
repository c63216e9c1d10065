-- Versions of a dataset are counted from 1 in the order in which they were first recorded; a number never changes.
ALTER TABLE dataset_version ADD COLUMN number BIGINT NOT NULL DEFAULT 0;

UPDATE dataset_version SET number = (
    SELECT COUNT(*) FROM dataset_version AS earlier
    WHERE earlier.name = dataset_version.name
    AND (
        earlier.created_at < dataset_version.created_at
        OR (earlier.created_at = dataset_version.created_at AND earlier.position <= dataset_version.position)
    )
);

CREATE UNIQUE INDEX dataset_version_number ON dataset_version (name, number);
