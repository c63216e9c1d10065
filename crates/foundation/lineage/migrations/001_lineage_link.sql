-- `child` came from `parent`; both are URIs in their one spelling.
CREATE TABLE lineage_link (
    child TEXT NOT NULL,
    parent TEXT NOT NULL,
    relation TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (child, parent, relation)
);

CREATE INDEX lineage_link_parent ON lineage_link (parent);
