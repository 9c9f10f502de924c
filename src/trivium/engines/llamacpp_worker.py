"""The engine's process: llama.cpp's server, from the wheel `xllamacpp`, on a private port.

`python -m trivium.engines.llamacpp_worker LABEL` reads one line of JSON (`llamacpp.Launch`) from standard input, loads
the model, writes one line of JSON with its address to standard output and serves until standard input ends or its
parent dies. It is a process of its own because a hostile grammar can crash the engine, and must not crash the
gateway. Exit code 3: the model could not be loaded; the log has the reason.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from typing import Any

import msgspec

from trivium.engines.gguf import RANKS
from trivium.engines.llamacpp import Launch
from trivium.transport.platform import die_with_parent, watch_stdin_eof


def main() -> None:
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline()
    if not line:
        return  # the parent died before it said what to do
    launch = msgspec.json.decode(line, type=Launch)
    die_with_parent(launch.parent)
    watch_stdin_eof(lambda: os._exit(0))
    # The library may print; standard output is for the one line alone.
    out = os.dup(1)
    os.dup2(2, 1)
    address = _serve(launch)
    os.write(out, msgspec.json.encode({"address": address}) + b"\n")
    os.close(out)
    threading.Event().wait()


def _serve(launch: Launch) -> str:
    xllamacpp: Any = importlib.import_module("xllamacpp")  # a compiled module without types

    try:
        server = xllamacpp.Server(_parameters(launch, xllamacpp.CommonParams()))
    except RuntimeError as error:
        print(f"the model could not be loaded: {error}", file=sys.stderr, flush=True)
        os._exit(3)
    _kept.append(server)
    return str(server.listening_address)


_kept: list[Any] = []
"""The server ends when it is collected."""


def _parameters(launch: Launch, params: Any) -> Any:
    """`params` (CommonParams) filled in: everything that the engine could do beyond serving one model is off."""
    settings: dict[str, object] = {
        "hostnames": ["127.0.0.1"],
        "port": 0,
        "api_keys": [launch.key],
        "cors_origins": "",
        "model_alias": {launch.alias},
        "n_ctx": launch.context * launch.slots,
        "n_parallel": launch.slots,
        "cache_ram_mib": 256,  # llama.cpp's own default is 8192
        # Small batches, so that a long prompt shows progress.
        "n_batch": 512,
        "n_ubatch": 512,
        "fit_params": False,  # the supervisor has decided what fits
        "offline": True,
        "ui": False,
        "endpoint_metrics": True,
        "endpoint_slots": False,
        "endpoint_props": False,
        "server_tools": [],
        "mcp_servers_config": "",
        "mcp_servers_json": "",
        "ui_mcp_proxy": False,
        "path_prompts_log_dir": "",
        "no_extra_bufts": launch.safe,  # no repacking of weights: what crashed some builds at warm-up
    }
    if launch.operation != "chat":  # in one batch, since every token looks at all others
        settings |= {"embedding": True, "n_batch": launch.context, "n_ubatch": launch.context}
    if launch.operation == "rerank":
        settings["pooling_type"] = RANKS
    for name, value in (settings | launch.options).items():
        setattr(params, name, value)
    params.model.path = launch.path
    params.cpuparams.n_threads = launch.threads
    params.cpuparams_batch.n_threads = launch.threads
    return params


if __name__ == "__main__":
    main()
