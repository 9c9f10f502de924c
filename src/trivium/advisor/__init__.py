"""Which road to take, from real numbers."""
