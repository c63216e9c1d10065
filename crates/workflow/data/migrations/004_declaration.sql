-- What people say about a dataset. Rows are only added; the one with the highest number holds.
CREATE TABLE dataset_declaration (
    name TEXT NOT NULL,
    number BIGINT NOT NULL,
    owner TEXT,
    description TEXT,
    classification TEXT,
    -- Null: not said. -1: kept for ever. Else days.
    retention_days BIGINT,
    -- The stage on whose behalf it was declared, if a stage was.
    stage TEXT,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (name, number)
);
