"""The operator's plane on its own port."""
