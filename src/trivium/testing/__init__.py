"""Public test tools: fake upstreams with faults on demand."""
