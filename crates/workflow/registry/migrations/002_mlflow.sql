-- A model has a number of its own, so that a new name is one row; a number is never given twice.
CREATE TABLE registry_counter (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

ALTER TABLE alias_history RENAME TO alias_history_001;
ALTER TABLE model_alias RENAME TO model_alias_001;
ALTER TABLE model_version RENAME TO model_version_001;
ALTER TABLE registered_model RENAME TO registered_model_001;

-- `last_version` only grows, so a number is never given twice.
CREATE TABLE registered_model (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT,
    last_version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE registered_model_tag (
    model BIGINT NOT NULL REFERENCES registered_model (id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, key)
) WITHOUT ROWID;

-- `artifact`, `digest`, `size` and `signature` stand together, where the bytes are known here; else all are NULL.
-- `storage` is where a client finds the files: `source`, or what a `models:` source led to.
CREATE TABLE model_version (
    model BIGINT NOT NULL REFERENCES registered_model (id),
    version BIGINT NOT NULL,
    source TEXT NOT NULL,
    storage TEXT NOT NULL,
    run TEXT,
    run_link TEXT NOT NULL,
    logged_model TEXT,
    user_name TEXT,
    description TEXT,
    stage TEXT NOT NULL,
    artifact TEXT,
    digest TEXT,
    size BIGINT,
    signature TEXT,
    dataset TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (model, version),
    UNIQUE (model, run, digest)
);
CREATE INDEX model_version_by_stage ON model_version (model, stage, version);
CREATE INDEX model_version_by_run ON model_version (run);
CREATE INDEX model_version_by_update ON model_version (updated_at);

CREATE TABLE model_version_tag (
    model BIGINT NOT NULL,
    version BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, version, key),
    FOREIGN KEY (model, version) REFERENCES model_version (model, version)
) WITHOUT ROWID;

CREATE TABLE model_alias (
    model BIGINT NOT NULL,
    alias TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, version) REFERENCES model_version (model, version)
);

-- Every attempt to move an alias or to change a stage (`target` is `champion` or `stage:Production`), also the
-- refused ones (`moved` = 0); `version` is NULL where an alias was taken away. `outcome` is JSON. It outlives the
-- versions and the model: `name` is how the model was called last.
CREATE TABLE alias_history (
    model BIGINT NOT NULL,
    name TEXT NOT NULL,
    target TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    version BIGINT,
    previous BIGINT,
    moved BIGINT NOT NULL,
    gate TEXT,
    outcome TEXT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (model, target, sequence)
);
CREATE INDEX alias_history_by_name ON alias_history (name, at);

-- What was declared for a target of a model, the highest sequence holding; `declaration` is JSON, NULL for none.
CREATE TABLE model_gate (
    model BIGINT NOT NULL REFERENCES registered_model (id),
    target TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    declaration TEXT,
    who TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (model, target, sequence)
);

-- `target` NULL: for every alias and stage.
CREATE TABLE model_approval (
    model BIGINT NOT NULL,
    version BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    target TEXT,
    role TEXT,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (model, version, sequence)
);

CREATE TABLE registry_role_member (
    role TEXT NOT NULL,
    member TEXT NOT NULL,
    PRIMARY KEY (role, member)
) WITHOUT ROWID;

CREATE TABLE webhook (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    description TEXT,
    secret TEXT,
    active BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE webhook_event (
    webhook TEXT NOT NULL REFERENCES webhook (id),
    event TEXT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (webhook, event)
) WITHOUT ROWID;
CREATE INDEX webhook_event_by_event ON webhook_event (event);

-- What waits to be sent, written in the transaction of the event; a row goes when it was taken or given up.
CREATE TABLE webhook_delivery (
    id TEXT NOT NULL PRIMARY KEY,
    webhook TEXT NOT NULL REFERENCES webhook (id),
    body TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL
);
CREATE INDEX webhook_delivery_by_due ON webhook_delivery (due_at);

INSERT INTO registered_model (id, name, description, last_version, created_at, updated_at)
SELECT (SELECT COUNT(*) FROM registered_model_001 AS before WHERE before.name <= old.name),
       old.name, NULL, old.last_version, old.created_at,
       COALESCE((SELECT MAX(v.created_at) FROM model_version_001 AS v WHERE v.model = old.name), old.created_at)
FROM registered_model_001 AS old;

INSERT INTO registry_counter (name, value)
SELECT 'model', COUNT(*) FROM registered_model;

INSERT INTO model_version (model, version, source, storage, run, run_link, logged_model, user_name, description, stage,
                           artifact, digest, size, signature, dataset, created_at, updated_at)
SELECT m.id, v.version, 'runs:/' || v.run || '/' || v.artifact, 'runs:/' || v.run || '/' || v.artifact, v.run, '', NULL,
       NULL, v.description, 'None', v.artifact, v.digest, v.size, v.signature, v.dataset, v.created_at, v.created_at
FROM model_version_001 AS v JOIN registered_model AS m ON m.name = v.model;

INSERT INTO model_alias (model, alias, version)
SELECT m.id, a.alias, a.version FROM model_alias_001 AS a JOIN registered_model AS m ON m.name = a.model;

INSERT INTO alias_history (model, name, target, sequence, version, previous, moved, gate, outcome, who, why, at)
SELECT m.id, h.model, h.alias, h.sequence, h.version, h.previous, h.moved, h.gate, h.outcome, h.who, h.why, h.at
FROM alias_history_001 AS h JOIN registered_model AS m ON m.name = h.model;

DROP TABLE alias_history_001;
DROP TABLE model_alias_001;
DROP TABLE model_version_001;
DROP TABLE registered_model_001;
