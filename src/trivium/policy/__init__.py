"""Who may do what: keys, data classes."""
