-- One row for each answered inference request. `id` sorts by time (UUID version 7), so it is also the order of
-- pages; `at` is the moment inside it, in milliseconds, for people who query the table themselves.
-- `inputs` and `outputs` are JSON objects of columns.
CREATE TABLE prediction (
    id         TEXT   NOT NULL PRIMARY KEY,
    request_id TEXT,
    model      TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    latency_us BIGINT NOT NULL,
    rows       BIGINT NOT NULL,
    inputs     TEXT   NOT NULL,
    outputs    TEXT   NOT NULL
);
CREATE INDEX prediction_by_model ON prediction (model, version, id);
