DROP VIEW request;
DROP VIEW attempt;

INSERT INTO request_fact SELECT id, time_ms, duration_us, cost_nanos, request_kind FROM answer;
INSERT INTO attempt_fact SELECT id, 1, attempt_time_ms, reserved_nanos, input_tokens_estimate, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_nanos, upstream_cost_nanos, ttft_us,
    attempt_duration_us, upstream_id, attempt_kind FROM answer;
DROP TABLE answer;
ALTER TABLE attempt_kind RENAME COLUMN ended TO outcome;

CREATE VIEW request AS SELECT * FROM request_fact JOIN request_kind USING (kind);

CREATE VIEW attempt AS
    SELECT *, nullif(ended, '') AS outcome FROM attempt_fact
    JOIN (SELECT kind, endpoint, provider, model, access, price_version, key, outcome AS ended, error, upstream_status,
                 estimated, finish_reason FROM attempt_kind) USING (kind);
