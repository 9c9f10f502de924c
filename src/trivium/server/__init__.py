"""The program that listens: data plane, control socket, workers."""
