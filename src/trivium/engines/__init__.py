"""Local server processes that Trivium finds, starts and supervises, and the models they need."""
