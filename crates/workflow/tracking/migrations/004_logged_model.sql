INSERT INTO tracking_counter (name, last) VALUES ('logged_model', 0);

-- A model that was logged, with or without a run. status: PENDING, READY or FAILED. An empty model_type or
-- status_message is one that was not given. artifact_uri: where its files are, as clients are told.
CREATE TABLE logged_model (
    number BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    experiment_id BIGINT NOT NULL REFERENCES experiment (id),
    name TEXT NOT NULL,
    model_type TEXT NOT NULL,
    source_run TEXT,
    artifact_uri TEXT NOT NULL,
    status TEXT NOT NULL,
    status_message TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX logged_model_by_experiment ON logged_model (experiment_id, created_at DESC, id);
CREATE INDEX logged_model_by_source_run ON logged_model (source_run);

-- No foreign keys: whatever writes these rows has read the model's number in the same transaction, and models are
-- never removed.
CREATE TABLE logged_model_param (
    model BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, key)
) WITHOUT ROWID;

CREATE TABLE logged_model_tag (
    model BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, key)
) WITHOUT ROWID;

-- run: its number. Without a dataset its name and digest are empty. The key is the order in which it is read, and what
-- makes two points the same: unlike in MLflow, two datasets may be measured at one step in one millisecond.
CREATE TABLE logged_model_metric (
    model BIGINT NOT NULL,
    key TEXT NOT NULL,
    logged_at BIGINT NOT NULL,
    step BIGINT NOT NULL,
    run BIGINT NOT NULL,
    dataset_name TEXT NOT NULL,
    dataset_digest TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    not_a_number BIGINT NOT NULL,
    PRIMARY KEY (model, key, logged_at, step, run, dataset_name, dataset_digest, value, not_a_number)
) WITHOUT ROWID;
