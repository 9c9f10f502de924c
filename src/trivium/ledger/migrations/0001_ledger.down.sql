DROP TABLE daily;
DROP TABLE journal_offset;
DROP TABLE open_request;
DROP TABLE attempt;
DROP TABLE request;
