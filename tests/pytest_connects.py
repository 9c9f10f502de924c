"""A pytest plugin: no test may connect off this machine. Switched on in `conftest.py`.

Python children of the tests are watched too, through the environment; what they did shows at the end of the test
during which it was written.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from connects import environment, read_log, record_connects, unexpected

_DIRECTORY = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None):
        return  # pytest-xdist: the tests run in other processes, each of which comes here
    directory = config.stash[_DIRECTORY] = tempfile.TemporaryDirectory(prefix="trivium-connects-")
    config.add_cleanup(directory.cleanup)
    os.environ.update(environment(Path(directory.name) / "log"))


def _watched(item: pytest.Item) -> Generator[None, object, object]:
    log = Path(item.config.stash[_DIRECTORY].name) / "log"
    try:
        with record_connects() as acts:
            result = yield
    finally:
        children = read_log(log)
        log.unlink(missing_ok=True)
    if found := unexpected([*acts, *children]):
        lines = [f"{act.kind} {act.target} from {act.where}" for act in found]
        pytest.fail("\n".join(["something off this machine was contacted:", *lines]), pytrace=False)
    return result


pytest_runtest_setup = pytest.hookimpl(wrapper=True)(_watched)
pytest_runtest_call = pytest.hookimpl(wrapper=True)(_watched)
pytest_runtest_teardown = pytest.hookimpl(wrapper=True)(_watched)
