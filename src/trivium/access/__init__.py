"""How an attempt becomes an HTTP request: credentials and quirks."""
