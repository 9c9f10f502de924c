"""One request's way from admission to the ledger."""
