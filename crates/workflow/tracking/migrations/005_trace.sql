-- Traces: what one request to an application did, as a tree of spans. A trace has a small number beside its id, under
-- which all that belongs to it lies; it is MAX(number) + 1 at the time, so what belongs to a deleted one goes with it.
CREATE TABLE trace (
    number BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    experiment_id BIGINT NOT NULL,
    requested_at BIGINT NOT NULL,
    duration BIGINT,
    state TEXT NOT NULL,
    client_request_id TEXT,
    request_preview TEXT,
    response_preview TEXT,
    finalized BIGINT NOT NULL
);
CREATE INDEX trace_by_experiment ON trace (experiment_id, requested_at DESC, id);

CREATE TABLE trace_tag (
    trace BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (trace, key)
) WITHOUT ROWID;

CREATE TABLE trace_metadata (
    trace BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (trace, key)
) WITHOUT ROWID;

-- content: the span as MLflow writes it down, JSON with the attributes' values as JSON texts. It may be long, so the
-- rows lie in the order of their coming and not under the key.
CREATE TABLE trace_span (
    trace BIGINT NOT NULL,
    id TEXT NOT NULL,
    parent TEXT,
    name TEXT NOT NULL,
    kind TEXT,
    status TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    content TEXT NOT NULL,
    PRIMARY KEY (trace, id)
);

-- value: JSON. number: the value, if it is a finite number, for comparisons.
CREATE TABLE trace_assessment (
    trace BIGINT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    number DOUBLE PRECISION,
    error TEXT,
    source_kind TEXT NOT NULL,
    source_id TEXT,
    span_id TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    rationale TEXT,
    metadata TEXT NOT NULL,
    overrides TEXT,
    valid BIGINT NOT NULL,
    PRIMARY KEY (trace, id)
);

-- By id: clients may link a trace before its first span has come.
CREATE TABLE trace_run (
    trace_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    PRIMARY KEY (trace_id, run_id)
) WITHOUT ROWID;

CREATE TABLE trace_prompt (
    trace BIGINT NOT NULL,
    prompt TEXT NOT NULL,
    PRIMARY KEY (trace, prompt)
) WITHOUT ROWID;
