"""Which endpoints serve a request, in which order: pure and deterministic."""
