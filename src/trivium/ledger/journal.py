"""The journal's writer: a process's records, appended to memory and handed to the kernel once a turn of the loop.

What `flush` has written survives the death of the process (`kill -9`); only a power cut needs `fsync`. Not one
record is dropped silently: where the disk refuses, new reservations are refused and settlements wait in memory.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
import weakref
from pathlib import Path

from trivium.errors import LedgerUnavailable
from trivium.ledger.record import Entry, Reserved
from trivium.ledger.segment import HEADER, bytes_in, frame, lock_path, segment_path
from trivium.transport.platform import FileLock
from trivium.types.ids import ulid

log = logging.getLogger("trivium.ledger")

KEPT_MAX_BYTES = 16 << 20
"""What may wait in memory while the disk refuses: about 100,000 settlements."""
_ROOM_SHARE = 16
"""This part of `max_bytes` (64 MiB of 1 GiB) is kept for settlements."""
_SCAN_SHARE = 128
"""After this part of `max_bytes` (8 MiB of 1 GiB) a writer looks at what the others have written."""
_RETRY_S = 1.0
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)


class JournalWriter:
    """A process's series of segments in `directory` (0700; the files 0600).

    One thread appends and flushes. After `fork` the child begins a series of its own, without what the parent had not
    yet flushed. `max_bytes` bounds what all writers of the directory together may leave unloaded.
    """

    def __init__(self, directory: Path, *, max_bytes: int = 1 << 30, segment_bytes: int = 64 << 20) -> None:
        self.refused = 0
        """Records that found no room in memory either: the bill lacks them."""
        self._directory = directory
        self._reservable_bytes = max_bytes - max_bytes // _ROOM_SHARE
        self._scan_bytes = max_bytes // _SCAN_SHARE
        # No larger than the room for settlements: otherwise one segment, deleted only as a whole, could fill it all.
        self._segment_bytes = min(segment_bytes, max_bytes // _ROOM_SHARE)
        self._begin()
        _writers.add(self)

    def _begin(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        self._tag = f"{ulid(now_ms, secrets.randbits(80))}-{os.getpid()}"
        self._lock = FileLock(lock_path(self._directory, self._tag))
        self._records: list[Entry] = []
        """Of this turn."""
        self._buffer = bytearray()
        """Frames that the disk has not taken yet."""
        self._number = 0
        self._fd = -1
        self._segment_size = 0
        self._trouble = ""
        self._lost = 0
        self._retry_at = 0.0
        self._measure()

    @property
    def pending(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._records or self._buffer)

    def append(self, record: Entry) -> None:
        """Take a record; it is safe once `flush` has returned True.

        Raises LedgerUnavailable for a `Reserved` while the journal is full or the disk refuses; all others are
        taken as long as `KEPT_MAX_BYTES` suffice, and counted in `refused` beyond.
        """
        if self._trouble and not self._admits(record):
            return
        self._records.append(record)

    def flush(self) -> bool:
        """Hand all that was appended to the kernel, in one write.

        False: the disk refuses. It stays in memory for the next flush, and what it reserves must not be sent.
        """
        buffer = self._buffer
        if self._records:
            records, self._records = self._records, []
            buffer += frame(records)
        if not buffer:
            return True
        try:
            if self._fd < 0:
                self._open()
            while buffer:
                written = os.write(self._fd, buffer)
                # What is written is gone from memory at once: after an error the next flush goes on behind it.
                del buffer[:written]
                self._segment_size += written
                self._used += written
        except OSError as error:
            self._refuse(f"The journal cannot be written: {error.strerror or error}.")
            return False
        try:
            if self._segment_size >= self._segment_bytes:
                self._close_segment()
            if self._trouble or self._used >= self._measure_at:
                self._measure()
        except OSError as error:  # what was to be written is written
            self._refuse(f"The journal cannot be measured: {error.strerror or error}.")
        return True

    def close(self) -> None:
        """Flush and end the series; what was reserved and not settled will be `unknown`."""
        if not self.flush():
            log.error("%s %d bytes of records are lost with this process.", self._trouble, len(self._buffer))
        self._report_lost()
        self._close_segment()
        self._lock.release()
        _writers.discard(self)

    def _admits(self, record: Entry) -> bool:
        if isinstance(record, Reserved):
            if time.monotonic() >= self._retry_at:
                self._retry_at = time.monotonic() + _RETRY_S
                if self.flush():
                    self._measure()
            if self._trouble:
                raise LedgerUnavailable(
                    self._trouble, remedy="Free disk space, or let the ledger load it.", retry_after_s=_RETRY_S
                )
        elif len(self._buffer) >= KEPT_MAX_BYTES:
            if not self._lost:
                log.error("%s %d bytes of records wait; further ones are lost.", self._trouble, len(self._buffer))
            self._lost += 1
            self.refused += 1
            return False
        return True

    def _refuse(self, trouble: str) -> None:
        if not self._trouble:
            log.error(
                "%s Its directory is `%s`. New requests are refused until that is over.", trouble, self._directory
            )
        self._trouble = trouble

    def _report_lost(self) -> None:
        if self._lost:
            log.error("While the journal could not be written, %d records were lost: the bill lacks them.", self._lost)
        self._lost = 0

    def _measure(self) -> None:
        """Look at the whole directory, after a flush: the others write too, and the loader deletes."""
        self._report_lost()
        self._used = bytes_in(self._directory)
        self._measure_at = self._used + self._scan_bytes
        if self._used < self._reservable_bytes:
            self._trouble = ""
            return
        if not self._trouble:
            # The loader deletes whole segments only: let it have this one.
            self._close_segment()
        self._refuse(f"The journal is full: {self._used} bytes are not loaded yet.")

    def _open(self) -> None:
        # The lock comes first: who finds a segment whose lock is free knows that its writer is dead.
        if not self._lock.acquire():
            raise OSError(f"`{self._lock.path}` is held by another process")
        fd = os.open(segment_path(self._directory, self._tag, self._number), _CREATE, 0o600)
        self._number += 1
        self._fd, self._segment_size = fd, 0
        # In front of the buffer, so that a full disk treats it like any other bytes.
        self._buffer[:0] = HEADER

    def _close_segment(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _after_fork(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._begin()


_writers: weakref.WeakSet[JournalWriter] = weakref.WeakSet()


def _begin_anew_in_child() -> None:
    for writer in list(_writers):
        writer._after_fork()  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)
