"""The admin plane's thread: an ordinary web application, loaded when somebody first comes.

It is 5 MB and a quarter of a second, which a server that nobody looks at need not spend.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
from typing import TYPE_CHECKING

from trivium.admin.app import Samples

if TYPE_CHECKING:
    import uvicorn

CLOSE_S = 5.0


class AdminThread:
    """Serves the admin application on `sock`."""

    def __init__(self, sock: socket.socket, samples: Samples) -> None:
        self._sock = sock
        self._samples = samples
        self._server: uvicorn.Server | None = None
        self._closing, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="trivium-admin", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.close()
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(CLOSE_S)
        with contextlib.suppress(OSError):
            self._sock.close()

    def _run(self) -> None:
        with self._end:
            if self._end in select.select([self._sock, self._end], [], [])[0]:
                return
        import uvicorn

        from trivium.admin.app import application

        config = uvicorn.Config(
            application(self._samples), log_level=logging.ERROR, access_log=False, lifespan="off", loop="asyncio"
        )
        self._server = uvicorn.Server(config)
        self._server.run(sockets=[self._sock])
