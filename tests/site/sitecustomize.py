"""Runs at the start of every Python process that has this folder on its path: switches on what its variables ask for.

Files are loaded by path, so that recording begins before Trivium is imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType


def _load(file: str) -> ModuleType:
    path = Path(__file__).parents[1] / file
    spec = importlib.util.spec_from_file_location(f"_tests_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if os.environ.get("TRIVIUM_PORTABLE") == "1":
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # as where it does not exist: an ImportError
if _log := os.environ.get("TRIVIUM_CONNECTS_LOG"):
    _load("connects.py").record_to_file(_log)
if os.environ.get("TRIVIUM_FAKE_NAMES"):
    _load("fake_names.py").from_environment()
