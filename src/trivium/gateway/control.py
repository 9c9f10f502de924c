"""The control socket: how the programs of one home speak with the owner of that home.

One JSON object a line, `{"id", "op", …}` there and `{"id", "ok" | "error"}` back, answers in any order.
The owner itself is a client like all others, so that there is one way. Same user only (0600, and the
kernel's word for it where it gives one).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from trivium.config.schema import Engine
from trivium.errors import EngineUnavailable, InternalError, TriviumError, Unavailable
from trivium.gateway.runtime import Running
from trivium.routing.statistics import Statistics
from trivium.transport.platform import connect_local, serve_local

log = logging.getLogger("trivium.owner")

LINE_BYTES_MAX = 16 * 1024 * 1024
"""The largest message is the counters of a worker with thousands of endpoints."""
FIND_S = 10.0
"""How long a client looks for an owner: long enough for another process to take over."""
RETRY_S = 0.05
ANSWER_S = 120.0
"""How long an answer may take: long enough to load a full journal."""
START_S = 1800.0
"""The same for the start of an engine, which may wait for those of others."""

Handler = Callable[[dict[str, Any]], Awaitable[object]]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Shared(msgspec.Struct, frozen=True):
    """What all processes have measured of the endpoints that one asked about."""

    measured: dict[str, Statistics]
    failing: frozenset[str]


class OwnerError(TriviumError):
    """What the owner answered instead of a result; keeps the words of the original."""

    kind = "owner"


_ERRORS: dict[str, type[TriviumError]] = {
    known.kind: known for known in (EngineUnavailable, Unavailable, InternalError)
}


class Control:
    """A client's end. Connects on first use and anew after the owner has changed; one a loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._next = 0
        self._connecting = asyncio.Lock()

    async def call(self, op: str, **arguments: object) -> Any:
        """Ask the owner. Raises what it raises, or Unavailable when there is none, or no answer, for long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + FIND_S
        while True:
            try:
                writer, waiting = await self._connected()
                deadline = math.inf  # until this owner is lost
                self._next += 1
                number = self._next
                answer = waiting[number] = loop.create_future()
                writer.write(_encode({"id": number, "op": op, **arguments}) + b"\n")
                try:
                    async with asyncio.timeout(START_S if op == "ensure" else ANSWER_S):
                        return await answer
                except TimeoutError:
                    raise Unavailable(
                        f"The owner of the home `{self._path.parent}` does not answer `{op}`.", remedy="Restart it."
                    ) from None
                finally:
                    waiting.pop(number, None)
            except OSError as error:
                deadline = min(deadline, loop.time() + FIND_S)
                if loop.time() > deadline:
                    raise Unavailable(
                        f"Nobody owns the home of `{self._path.parent}`: {error}.",
                        remedy="Look at its `owner.lock`, or set `TRIVIUM_HOME`.",
                    ) from error
                await asyncio.sleep(RETRY_S)

    async def _connected(self) -> tuple[asyncio.StreamWriter, dict[int, asyncio.Future[Any]]]:
        """A connection, and who waits for an answer on it."""
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                reader, self._writer = await connect_local(self._path, limit=LINE_BYTES_MAX)
                self._waiting = {}
                self._reader = asyncio.get_running_loop().create_task(_read(reader, self._writer, self._waiting))
            return self._writer, self._waiting

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()  # or asyncio's own loop would find it unclosed at its end
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader

    # ---- gateway.runtime.Owner

    async def ensure(self, engine: str, spec: Engine | None) -> Running:
        return msgspec.convert(await self.call("ensure", engine=engine, spec=spec), Running)

    async def touch(self, engines: list[str]) -> None:
        await self.call("touch", engines=engines)

    async def spent(self, since_ms: int, requested_model: str) -> int:
        return await self.call("spent", since_ms=since_ms, requested_model=requested_model)

    async def share(self, told: dict[str, Statistics], failing: list[str], known: list[str]) -> Shared:
        return msgspec.convert(await self.call("share", told=told, failing=failing, known=known), Shared, strict=False)


async def _read(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: dict[int, asyncio.Future[Any]]
) -> None:
    try:
        while line := await reader.readline():
            message = _decode(line)
            answer = waiting.get(message["id"])
            if answer is not None and not answer.done():
                if "error" in message:
                    answer.set_exception(_error(message["error"]))
                else:
                    answer.set_result(message.get("ok"))
    except (OSError, ValueError, msgspec.DecodeError):
        pass  # a broken line and a lost owner are the same: whoever waits asks the next owner
    finally:
        writer.close()
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("the owner is gone"))


def _error(told: Mapping[str, Any]) -> TriviumError:
    kind = _ERRORS.get(told.get("kind", ""), OwnerError)
    return kind(told.get("message", "The owner failed."), remedy=told.get("remedy", ""))


async def serve_control(path: Path, handlers: Mapping[str, Handler]) -> asyncio.Server:
    """Answer on the control socket. Each request is a task of its own, so that a slow one holds up nobody."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                task = asyncio.get_running_loop().create_task(_answer(line, writer, handlers))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except (OSError, ValueError):
            pass  # a line over the limit, or a client that is gone
        except asyncio.CancelledError:
            pass  # the owner ends; Python 3.11 would report a cancelled connection as a defect
        finally:
            for task in tasks:
                task.cancel()
            writer.close()

    return await serve_local(path, serve, limit=LINE_BYTES_MAX)


async def _answer(line: bytes, writer: asyncio.StreamWriter, handlers: Mapping[str, Handler]) -> None:
    number: object = None
    try:
        message = _decode(line)
        number = message.pop("id")
        handler = handlers.get(message.pop("op"))
        if handler is None:
            raise InternalError("This version of Trivium does not know that request; restart the older program.")
        reply = _encode({"id": number, "ok": await handler(message)})
    except TriviumError as error:
        reply = _refusal(number, error)
    except Exception as error:
        # The outermost boundary of a request: without an answer its caller would wait for long.
        log.exception("A request on the control socket failed.")
        reply = _refusal(number, InternalError(f"The owner failed with {type(error).__name__}.", remedy="See its log."))
    if not writer.is_closing():
        writer.write(reply + b"\n")


def _refusal(number: object, error: TriviumError) -> bytes:
    return _encode({"id": number, "error": {"kind": error.kind, "message": error.message, "remedy": error.remedy}})
