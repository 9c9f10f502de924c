"""Runs at the start of a Python child with faked names: does what Trivium's own file does, then fakes them."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]

runpy.run_path(str(TESTS.parent / "src/trivium/testing/site/sitecustomize.py"))
_spec = importlib.util.spec_from_file_location("_fake_names", TESTS / "fake_names.py")
if _spec is None or _spec.loader is None:
    raise ImportError("cannot load fake_names.py")
_module = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _module
_spec.loader.exec_module(_module)
_module.from_environment()
