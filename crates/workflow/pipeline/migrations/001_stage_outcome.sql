-- What a key once made: the cache of stages, and the record of who made what.
CREATE TABLE stage_outcome (
    key TEXT NOT NULL PRIMARY KEY,
    stage TEXT NOT NULL,
    kind TEXT NOT NULL,
    run TEXT NOT NULL,
    outputs TEXT NOT NULL,
    summary TEXT NOT NULL,
    milliseconds BIGINT NOT NULL,
    finished_at BIGINT NOT NULL
);
