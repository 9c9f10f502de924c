"""Framing without I/O: server-sent events, newline-delimited JSON, splicing."""
