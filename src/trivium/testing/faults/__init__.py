"""Faults on demand; importing this package fills the table."""

from trivium.testing.faults import framing, statuses, streams, timing
from trivium.testing.faults.table import FAULTS, Fault, answer, fault, find

__all__ = ["FAULTS", "Fault", "answer", "fault", "find", "framing", "statuses", "streams", "timing"]
