-- Requests, their attempts, how far each journal is loaded, and sums by day. Money is in nano-dollars; NULL is unknown.
-- The ids begin with the time of arrival: they are the index by time too. What many rows share stands once, in a `kind`;
-- the views `request` and `attempt` put both together, and are what to ask. Columns stand in the order of the records' fields.

CREATE TABLE request_kind (
    kind INTEGER PRIMARY KEY,
    requested_model TEXT NOT NULL,
    dialect TEXT NOT NULL,
    key TEXT NOT NULL,
    data_class INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    status INTEGER NOT NULL,
    error TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    fallback TEXT NOT NULL,
    dropped TEXT NOT NULL,  -- a JSON array, as are the tags
    tags TEXT NOT NULL,
    UNIQUE (requested_model, dialect, key, data_class, stream, status, error, attempts, endpoint, fallback, dropped, tags)
);

CREATE TABLE request_fact (
    id TEXT PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    cost_nanos INTEGER,
    kind INTEGER NOT NULL REFERENCES request_kind
) WITHOUT ROWID;

CREATE VIEW request AS SELECT * FROM request_fact JOIN request_kind USING (kind);

CREATE TABLE attempt_kind (
    kind INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    access TEXT NOT NULL,
    price_version TEXT NOT NULL,
    key TEXT NOT NULL,
    outcome TEXT NOT NULL,  -- empty: under way
    error TEXT NOT NULL,
    upstream_status INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    finish_reason TEXT NOT NULL,
    UNIQUE (endpoint, provider, model, access, price_version, key, outcome, error, upstream_status, estimated, finish_reason)
);

-- An `unknown` attempt ended with its process: its bound stands for its cost.
CREATE TABLE attempt_fact (
    id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    reserved_nanos INTEGER,
    input_tokens_estimate INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost_nanos INTEGER,
    upstream_cost_nanos INTEGER,
    ttft_us INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    upstream_id TEXT NOT NULL,
    kind INTEGER NOT NULL REFERENCES attempt_kind,
    PRIMARY KEY (id, attempt)
) WITHOUT ROWID;

CREATE VIEW attempt AS
    SELECT *, nullif(ended, '') AS outcome FROM attempt_fact
    JOIN (SELECT kind, endpoint, provider, model, access, price_version, key, outcome AS ended, error, upstream_status,
                 estimated, finish_reason FROM attempt_kind) USING (kind);

-- Requests that have begun and not been closed, by the journal that they are in.
CREATE TABLE open_request (
    writer TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (writer, id)
) WITHOUT ROWID;

CREATE TABLE journal_offset (
    segment TEXT PRIMARY KEY,
    offset INTEGER NOT NULL
) WITHOUT ROWID;

-- A request counts under the endpoint that ended it, an attempt under its own.
CREATE TABLE daily (
    day TEXT NOT NULL,  -- UTC, as 2026-11-23
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    access TEXT NOT NULL,
    key TEXT NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0,
    errors INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    failed_attempts INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cache_read_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    nanos INTEGER NOT NULL DEFAULT 0,
    held_nanos INTEGER NOT NULL DEFAULT 0,  -- the bounds of attempts whose cost is not known
    unknown_cost INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, model, provider, access, key)
) WITHOUT ROWID;
