-- Requests, their attempts, how far each journal is loaded, and sums by day. Money is in nano-dollars; NULL is unknown.
-- The ids begin with the time of arrival: they are the index by time too. The columns of `request` and `attempt` stand
-- in the order of the records' fields.

CREATE TABLE request (
    id TEXT PRIMARY KEY,
    time_ms INTEGER NOT NULL,
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
    duration_us INTEGER NOT NULL,
    cost_nanos INTEGER,
    tags TEXT NOT NULL
) WITHOUT ROWID;

-- An attempt without outcome is under way. An `unknown` one ended with its process: its bound stands for its cost.
CREATE TABLE attempt (
    id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    access TEXT NOT NULL,
    key TEXT NOT NULL,
    price_version TEXT NOT NULL,
    reserved_nanos INTEGER,
    input_tokens_estimate INTEGER NOT NULL,
    ended_ms INTEGER,
    outcome TEXT,
    error TEXT NOT NULL DEFAULT '',
    upstream_status INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cache_read_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    estimated INTEGER NOT NULL DEFAULT 0,
    cost_nanos INTEGER,
    upstream_cost_nanos INTEGER,
    ttft_us INTEGER NOT NULL DEFAULT -1,
    duration_us INTEGER NOT NULL DEFAULT 0,
    upstream_id TEXT NOT NULL DEFAULT '',
    finish_reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (id, attempt)
) WITHOUT ROWID;

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
