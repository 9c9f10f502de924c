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
    dropped TEXT NOT NULL,  -- a JSON array, as are the tags
    tags TEXT NOT NULL,
    UNIQUE (requested_model, dialect, key, data_class, stream, status, error, attempts, endpoint, fallback, dropped, tags)
);

-- Kinds that differ in nothing that is kept become one.
INSERT INTO request_kind SELECT min(kind), requested_model, dialect, key, data_class, stream, status, error, attempts, endpoint, fallback,
    dropped, tags FROM before_kind
    GROUP BY requested_model, dialect, key, data_class, stream, status, error, attempts, endpoint, fallback, dropped, tags;
CREATE TABLE same_kind (kind INTEGER PRIMARY KEY, kept INTEGER NOT NULL);
INSERT INTO same_kind SELECT k.kind, n.kind FROM before_kind AS k JOIN request_kind AS n
    USING (requested_model, dialect, key, data_class, stream, status, error, attempts, endpoint, fallback, dropped, tags);
UPDATE request_fact SET kind = (SELECT kept FROM same_kind AS s WHERE s.kind = request_fact.kind);
UPDATE answer SET request_kind = (SELECT kept FROM same_kind AS s WHERE s.kind = answer.request_kind);
DROP TABLE same_kind;
DROP TABLE before_kind;

ALTER TABLE request_fact DROP COLUMN max_output_tokens;
ALTER TABLE answer DROP COLUMN max_output_tokens;

CREATE VIEW request AS
    SELECT id, time_ms, duration_us, cost_nanos, k.* FROM request_fact AS f JOIN request_kind AS k ON k.kind = f.kind
    UNION ALL
    SELECT id, time_ms, duration_us, cost_nanos, k.* FROM answer JOIN request_kind AS k ON k.kind = request_kind;
