-- When a version last became the latest of its dataset: `position` in terms that other machines can compare.
ALTER TABLE dataset_version ADD COLUMN latest_at BIGINT NOT NULL DEFAULT 0;

UPDATE dataset_version SET latest_at = (
    SELECT MAX(earlier.created_at) FROM dataset_version AS earlier
    WHERE earlier.name = dataset_version.name AND earlier.position <= dataset_version.position
);

-- A version that was made elsewhere and came from a remote.
CREATE TABLE dataset_arrival (
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    remote TEXT NOT NULL,
    -- How it was made, as its record says; null if that says nothing.
    made_json TEXT,
    -- 1 once its bytes are here and were found to be what the record says; until then they are in the remote only.
    fetched BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (name, digest),
    FOREIGN KEY (name, digest) REFERENCES dataset_version (name, digest)
);

-- A tag that was taken away, so that it does not come back from a remote; it goes when the tag is set again.
CREATE TABLE dataset_untag (
    name TEXT NOT NULL,
    tag TEXT NOT NULL,
    who TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (name, tag)
);
