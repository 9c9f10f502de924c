"""A look-up: an answer that the owner of the home has to give, to a caller that may leave meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec

from trivium.dialects.base import Dialect
from trivium.errors import InternalError, TriviumError
from trivium.gateway.runtime import Runtime
from trivium.gateway.sink import JSON, Connection, refuse


class Lookup:
    """Follows one call of the owner; its caller's leaving ends it."""

    def __init__(
        self, runtime: Runtime, connection: Connection, dialect: Dialect, extra: bytes, found: Coroutine[Any, Any, Any]
    ) -> None:
        self._runtime = runtime
        self._connection = connection
        self._dialect = dialect
        self._extra = extra
        connection.stream = self
        self._task = runtime.task(self._run(found))

    async def _run(self, found: Coroutine[Any, Any, Any]) -> None:
        try:
            body = msgspec.json.encode(await found)
        except TriviumError as error:
            self._refuse(error)
        except asyncio.CancelledError:
            if self._runtime.ending is not None:  # whoever waits in this process would wait for ever
                self._refuse(self._runtime.ending)
            raise
        except Exception as error:
            self._runtime.report(error)
            self._refuse(InternalError("An internal error."))
        else:
            self._connection.whole(200, JSON + self._extra, body)

    def _refuse(self, error: TriviumError) -> None:
        refuse(self._connection, self._dialect, error, self._runtime.new_id(), self._extra)

    # ---- transport.server.Stream

    def on_caller_gone(self) -> None:
        self._task.cancel()

    def on_caller_writable(self, *, writable: bool) -> None:
        """An answer is one write."""
