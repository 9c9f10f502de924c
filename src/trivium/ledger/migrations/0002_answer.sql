DROP VIEW request;
DROP VIEW attempt;

ALTER TABLE attempt_kind RENAME COLUMN outcome TO ended;  -- empty: under way

-- Requests that their first attempt answered, as nearly all are: both in one row.
CREATE TABLE answer (
    id TEXT PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    attempt_time_ms INTEGER NOT NULL,
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
    attempt_duration_us INTEGER NOT NULL,
    upstream_id TEXT NOT NULL,
    request_kind INTEGER NOT NULL REFERENCES request_kind,
    attempt_kind INTEGER NOT NULL REFERENCES attempt_kind
) WITHOUT ROWID;

CREATE VIEW request AS
    SELECT id, time_ms, duration_us, cost_nanos, k.* FROM request_fact AS f JOIN request_kind AS k ON k.kind = f.kind
    UNION ALL
    SELECT id, time_ms, duration_us, cost_nanos, k.* FROM answer JOIN request_kind AS k ON k.kind = request_kind;

-- Both halves have the same affinities, without which SQLite would read them whole for every question.
CREATE VIEW attempt AS
    SELECT id, attempt, time_ms, reserved_nanos, input_tokens_estimate, input_tokens, output_tokens, cache_read_tokens,
        cache_write_tokens, reasoning_tokens, cost_nanos, upstream_cost_nanos, ttft_us, duration_us, upstream_id,
        k.*, nullif(ended, '') AS outcome
    FROM attempt_fact AS f JOIN attempt_kind AS k ON k.kind = f.kind
    UNION ALL
    SELECT id, CAST(1 AS INTEGER), attempt_time_ms, reserved_nanos, input_tokens_estimate, input_tokens, output_tokens, cache_read_tokens,
        cache_write_tokens, reasoning_tokens, cost_nanos, upstream_cost_nanos, ttft_us, attempt_duration_us, upstream_id,
        k.*, nullif(ended, '')
    FROM answer JOIN attempt_kind AS k ON k.kind = attempt_kind;
