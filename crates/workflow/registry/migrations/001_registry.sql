-- `last_version` only grows, so a number is never given twice.
CREATE TABLE registered_model (
    name TEXT NOT NULL PRIMARY KEY,
    last_version BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE model_version (
    model TEXT NOT NULL REFERENCES registered_model (name),
    version BIGINT NOT NULL,
    run TEXT NOT NULL,
    artifact TEXT NOT NULL,
    digest TEXT NOT NULL,
    size BIGINT NOT NULL,
    signature TEXT NOT NULL,
    dataset TEXT,
    description TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (model, version),
    UNIQUE (model, run, digest)
);

CREATE TABLE model_alias (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, version) REFERENCES model_version (model, version)
);

-- Every attempt to move an alias, also the refused ones (`moved` = 0). `outcome` is JSON.
CREATE TABLE alias_history (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    version BIGINT NOT NULL,
    previous BIGINT,
    moved BIGINT NOT NULL,
    gate TEXT,
    outcome TEXT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (model, alias, sequence),
    FOREIGN KEY (model, version) REFERENCES model_version (model, version)
);
