"""The append-only record of requests, attempts, tokens and money."""
