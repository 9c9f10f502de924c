-- What a plan was made for, so that it can be made again. Of requests of before `operation` is empty: nobody said.
DROP VIEW request;

CREATE TABLE before_kind AS SELECT * FROM request_kind;
DROP TABLE request_kind;

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
    operation TEXT NOT NULL,
    needs TEXT NOT NULL,  -- capabilities, with commas between them
    models TEXT NOT NULL,  -- a JSON array
    dropped TEXT NOT NULL,
    tags TEXT NOT NULL,
    UNIQUE (requested_model, dialect, key, data_class, stream, status, error, attempts, endpoint, fallback,
        operation, needs, models, dropped, tags)
);

INSERT INTO request_kind SELECT kind, requested_model, dialect, key, data_class, stream, status, error, attempts, endpoint,
    fallback, '', '', '[]', dropped, tags FROM before_kind;
DROP TABLE before_kind;

ALTER TABLE request_fact ADD COLUMN max_output_tokens INTEGER;
ALTER TABLE answer ADD COLUMN max_output_tokens INTEGER;

CREATE VIEW request AS
    SELECT id, time_ms, duration_us, cost_nanos, max_output_tokens, k.* FROM request_fact AS f JOIN request_kind AS k ON k.kind = f.kind
    UNION ALL
    SELECT id, time_ms, duration_us, cost_nanos, max_output_tokens, k.* FROM answer JOIN request_kind AS k ON k.kind = request_kind;
