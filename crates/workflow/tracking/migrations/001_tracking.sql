-- Ids that are counted, not drawn. A row is locked while it is counted up, so that two servers never give one twice.
CREATE TABLE tracking_counter (
    name TEXT PRIMARY KEY,
    last BIGINT NOT NULL
);
INSERT INTO tracking_counter (name, last) VALUES ('experiment', 0), ('metric_series', 0);

CREATE TABLE experiment (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
INSERT INTO experiment (id, name, created_at, updated_at) VALUES (0, 'Default', 0, 0);

CREATE TABLE experiment_tag (
    experiment_id BIGINT NOT NULL REFERENCES experiment (id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (experiment_id, key)
);

-- owner: who must end the run; runs of an owner that died are found by it. Empty for runs of foreign clients.
CREATE TABLE run (
    id TEXT PRIMARY KEY,
    experiment_id BIGINT NOT NULL REFERENCES experiment (id),
    name TEXT NOT NULL,
    user_name TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    deleted_at BIGINT,
    owner TEXT
);
CREATE INDEX run_by_experiment ON run (experiment_id, started_at DESC, id);
CREATE INDEX run_by_start ON run (started_at DESC, id);
CREATE INDEX run_by_owner ON run (owner, status);

CREATE TABLE param (
    run_id TEXT NOT NULL REFERENCES run (id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
);

CREATE TABLE run_tag (
    run_id TEXT NOT NULL REFERENCES run (id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
);

-- One metric of one run. The row holds the latest point, so that a listing of runs never touches the history.
CREATE TABLE metric_series (
    id BIGINT NOT NULL UNIQUE,
    run_id TEXT NOT NULL REFERENCES run (id),
    key TEXT NOT NULL,
    step BIGINT NOT NULL,
    logged_at BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    not_a_number BIGINT NOT NULL,
    PRIMARY KEY (run_id, key)
);

-- The history. The key is the order in which it is read, and what makes two points the same. No foreign key:
-- a series is written in the same transaction, and a check for each of a hundred million points would cost.
CREATE TABLE metric_point (
    series BIGINT NOT NULL,
    logged_at BIGINT NOT NULL,
    step BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    not_a_number BIGINT NOT NULL,
    PRIMARY KEY (series, logged_at, step, value, not_a_number)
);

CREATE TABLE run_artifact (
    run_id TEXT NOT NULL REFERENCES run (id),
    path TEXT NOT NULL,
    folder TEXT NOT NULL,
    digest TEXT NOT NULL,
    size BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (run_id, path)
);
CREATE INDEX run_artifact_by_folder ON run_artifact (run_id, folder);

-- Every folder that holds an artifact, so that one level is listed without reading what lies deeper.
CREATE TABLE run_artifact_folder (
    run_id TEXT NOT NULL REFERENCES run (id),
    path TEXT NOT NULL,
    folder TEXT NOT NULL,
    PRIMARY KEY (run_id, path)
);
CREATE INDEX run_artifact_folder_by_folder ON run_artifact_folder (run_id, folder);
