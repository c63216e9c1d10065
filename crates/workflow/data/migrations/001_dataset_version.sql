CREATE TABLE dataset_version (
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    zone TEXT NOT NULL,
    rows BIGINT NOT NULL,
    columns_json TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    quarantined BIGINT NOT NULL,
    stage_key TEXT,
    created_at BIGINT NOT NULL,
    -- Rises within a name each time that a version becomes the latest one, also when an older one comes back.
    position BIGINT NOT NULL,
    PRIMARY KEY (name, digest)
);

CREATE UNIQUE INDEX dataset_version_position ON dataset_version (name, position);
