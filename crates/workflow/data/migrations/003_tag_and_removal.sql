-- A name that a person gave to a version.
CREATE TABLE dataset_tag (
    name TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    who TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (name, tag),
    FOREIGN KEY (name, digest) REFERENCES dataset_version (name, digest)
);

CREATE INDEX dataset_tag_digest ON dataset_tag (name, digest);

-- A version whose bytes are gone or going; its row in dataset_version stays, because lineage names it.
CREATE TABLE dataset_removal (
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (name, digest),
    FOREIGN KEY (name, digest) REFERENCES dataset_version (name, digest)
);
