-- Runs get a small number beside their id: what was logged lies clustered under it, so that one run is one range of
-- pages, and a key of an index is 8 bytes of run and not 32. `run` itself is rebuilt, so its children are rebuilt first:
-- SQLite checks foreign keys when a table is dropped.
ALTER TABLE experiment ADD COLUMN artifact_location TEXT;
ALTER TABLE experiment ADD COLUMN deleted_at BIGINT;

-- owner: who must end the run; runs of an owner that died are found by it. Empty for runs of foreign clients.
CREATE TABLE run_numbered (
    number BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    experiment_id BIGINT NOT NULL REFERENCES experiment (id),
    name TEXT NOT NULL,
    user_name TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    deleted_at BIGINT,
    owner TEXT
) WITHOUT ROWID;
INSERT INTO run_numbered
    (number, id, experiment_id, name, user_name, status, started_at, ended_at, deleted_at, owner)
SELECT ROW_NUMBER() OVER (ORDER BY started_at, id),
    id, experiment_id, name, user_name, status, started_at, ended_at, deleted_at, owner
FROM run;
INSERT INTO tracking_counter (name, last) SELECT 'run', COALESCE(MAX(number), 0) FROM run_numbered;
INSERT INTO tracking_counter (name, last) VALUES ('dataset', 0);

-- No foreign keys from here on: whatever writes these rows has read the run's number in the same transaction, and runs
-- are never removed.
CREATE TABLE param_numbered (
    run BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;
INSERT INTO param_numbered (run, key, value)
SELECT run_numbered.number, param.key, param.value FROM param JOIN run_numbered ON run_numbered.id = param.run_id;

CREATE TABLE run_tag_numbered (
    run BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;
INSERT INTO run_tag_numbered (run, key, value)
SELECT run_numbered.number, run_tag.key, run_tag.value
FROM run_tag JOIN run_numbered ON run_numbered.id = run_tag.run_id;

-- One metric of one run. The row holds the latest point, so that a listing of runs never touches the history.
CREATE TABLE metric_series_numbered (
    run BIGINT NOT NULL,
    key TEXT NOT NULL,
    id BIGINT NOT NULL UNIQUE,
    experiment_id BIGINT NOT NULL,
    step BIGINT NOT NULL,
    logged_at BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    not_a_number BIGINT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;
INSERT INTO metric_series_numbered (run, key, id, experiment_id, step, logged_at, value, not_a_number)
SELECT run_numbered.number, metric_series.key, metric_series.id, run_numbered.experiment_id, metric_series.step,
    metric_series.logged_at, metric_series.value, metric_series.not_a_number
FROM metric_series JOIN run_numbered ON run_numbered.id = metric_series.run_id;

-- The history. The key is the order in which it is read, and what makes two points the same.
CREATE TABLE metric_point_clustered (
    series BIGINT NOT NULL,
    logged_at BIGINT NOT NULL,
    step BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    not_a_number BIGINT NOT NULL,
    PRIMARY KEY (series, logged_at, step, value, not_a_number)
) WITHOUT ROWID;
INSERT INTO metric_point_clustered (series, logged_at, step, value, not_a_number)
SELECT series, logged_at, step, value, not_a_number FROM metric_point;

CREATE TABLE run_artifact_free (
    run_id TEXT NOT NULL,
    path TEXT NOT NULL,
    folder TEXT NOT NULL,
    digest TEXT NOT NULL,
    size BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (run_id, path)
);
INSERT INTO run_artifact_free (run_id, path, folder, digest, size, created_at)
SELECT run_id, path, folder, digest, size, created_at FROM run_artifact;

CREATE TABLE run_artifact_folder_free (
    run_id TEXT NOT NULL,
    path TEXT NOT NULL,
    folder TEXT NOT NULL,
    PRIMARY KEY (run_id, path)
);
INSERT INTO run_artifact_folder_free (run_id, path, folder) SELECT run_id, path, folder FROM run_artifact_folder;

DROP TABLE param;
DROP TABLE run_tag;
DROP TABLE metric_series;
DROP TABLE metric_point;
DROP TABLE run_artifact;
DROP TABLE run_artifact_folder;
DROP TABLE run;

ALTER TABLE run_numbered RENAME TO run;
ALTER TABLE param_numbered RENAME TO param;
ALTER TABLE run_tag_numbered RENAME TO run_tag;
ALTER TABLE metric_series_numbered RENAME TO metric_series;
ALTER TABLE metric_point_clustered RENAME TO metric_point;
ALTER TABLE run_artifact_free RENAME TO run_artifact;
ALTER TABLE run_artifact_folder_free RENAME TO run_artifact_folder;

CREATE INDEX run_by_experiment ON run (experiment_id, started_at DESC, id);
CREATE INDEX run_by_start ON run (started_at DESC, id);
CREATE INDEX run_by_owner ON run (owner, status) WHERE owner IS NOT NULL;
-- The beginning of the value only: PostgreSQL takes no entry of an index that is longer than a third of a page.
CREATE INDEX param_by_value ON param (key, substr(value, 1, 64), run);
CREATE INDEX run_tag_by_value ON run_tag (key, substr(value, 1, 64), run);
CREATE INDEX metric_series_by_value ON metric_series (experiment_id, key, not_a_number, value, run);
CREATE INDEX run_artifact_by_folder ON run_artifact (run_id, folder);
CREATE INDEX run_artifact_folder_by_folder ON run_artifact_folder (run_id, folder);

-- What runs read: one row for each dataset version that some run of the experiment named.
CREATE TABLE dataset (
    id BIGINT NOT NULL PRIMARY KEY,
    experiment_id BIGINT NOT NULL REFERENCES experiment (id),
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    source_type TEXT NOT NULL,
    source TEXT NOT NULL,
    schema TEXT,
    profile TEXT,
    UNIQUE (experiment_id, name, digest)
);
CREATE TABLE run_dataset (
    run BIGINT NOT NULL,
    dataset BIGINT NOT NULL,
    PRIMARY KEY (run, dataset)
) WITHOUT ROWID;
CREATE INDEX run_dataset_by_dataset ON run_dataset (dataset, run);
CREATE TABLE run_dataset_tag (
    run BIGINT NOT NULL,
    dataset BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, dataset, key)
) WITHOUT ROWID;

-- Logged models that a run read (role 'input', step 0) or made (role 'output').
CREATE TABLE run_model (
    run BIGINT NOT NULL,
    role TEXT NOT NULL,
    model TEXT NOT NULL,
    step BIGINT NOT NULL,
    PRIMARY KEY (run, role, model, step)
) WITHOUT ROWID;
CREATE INDEX run_model_by_model ON run_model (model, role);
