"""Every server the benchmark can start, one entry each.

A server runs in a folder of its own, `BENCH_HOME/run/NAME`, emptied at each start and holding a copy of its `conf`
file, so commands name files relative to it and nothing is left elsewhere.
"""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

KIT = Path(__file__).resolve().parent
HOME = Path(os.environ.get("BENCH_HOME") or Path(tempfile.gettempdir()) / "trivium-bench").resolve()
UPSTREAM = "http://127.0.0.1:9101"  # the mock; also written in conf/*
KEY = "sk-bench-key-0001"


@dataclass(frozen=True)
class Peer:
    port: int
    cmd: tuple[str, ...] = ()
    conf: str = ""
    """File in `conf/`; the part below its line `# --- translate` is left out unless a translate case is run."""
    env: dict[str, str] = field(default_factory=dict)
    headers: tuple[str, ...] = (f"Authorization: Bearer {KEY}",)
    model: str = "mock-model"
    """The `model` of its request bodies."""
    translate_model: str = ""
    """A model it serves from the Anthropic upstream; without one it takes no part in the translate cases."""
    translate_path: str = "/v1/chat/completions"
    translate_end: str = "[DONE]"
    boot_s: float = 30
    """How long it may take to answer its first request."""
    warm_s: float = 1
    rate_max: float = 1e9
    """Open-loop cases above this rate are left out, because the server cannot carry them."""
    program: str = ""
    """The file whose absence means "not installed"; the first word of `cmd` by default."""
    install: tuple[str, ...] = ()
    """How `--install` gets it: ("apt" | "pip" | "uv" | "npm", package...)."""
    venv: str = ""
    """Folder under `BENCH_HOME/venvs` for "pip" and "uv"."""


def venv(name: str, program: str) -> str:
    return str(HOME / "venvs" / name / "bin" / program)


def words(program: str, *arguments: str) -> tuple[str, ...]:
    return (program, *" ".join(arguments).split())


PORTKEY = str(HOME / "npm/node_modules/@portkey-ai/gateway/build/start-server.js")
TRIVIUM = str(Path(os.environ.get("TRIVIUM", ".venv/bin/trivium")).absolute())

PEERS = {
    # no gateway at all: the floor of every latency, and proof that core 1 is not the limit
    "direct": Peer(
        9101, translate_model="mock-model", translate_path="/v1/messages", translate_end='{"type":"message_stop"'
    ),
    "trivium": Peer(
        8120,
        (TRIVIUM, "serve", "--config", "trivium.toml"),
        conf="trivium.toml",
        env={"TRIVIUM_HOME": str(HOME / "run/trivium/home")},
        model="bench/mock-model",
        translate_model="bench-anthropic/mock-model",
    ),
    # reverse proxies: what a hop costs at least
    "nginx": Peer(
        8101, ("nginx", "-p", ".", "-c", "nginx.conf", "-e", "stderr"), conf="nginx.conf", install=("apt", "nginx")
    ),
    "haproxy": Peer(8102, ("haproxy", "-db", "-f", "haproxy.cfg"), conf="haproxy.cfg", install=("apt", "haproxy")),
    # gateways
    "ferrogw": Peer(
        8103,
        (venv("ferrogw", "ferrogw"), "serve"),
        conf="ferro.yaml",
        env={
            "GATEWAY_CONFIG": "ferro.yaml",
            "PORT": "8103",
            "MASTER_KEY": KEY,
            "LOG_LEVEL": "error",
            "OPENAI_API_KEY": "sk-up",
            "OPENAI_BASE_URL": f"{UPSTREAM}/v1",
            "ANTHROPIC_API_KEY": "sk-up",
            "ANTHROPIC_BASE_URL": UPSTREAM,
            "RATE_LIMIT_RPS": "1000000",
            "RATE_LIMIT_BURST": "1000000",  # 20 a second by default
        },
        translate_model="claude-mock",
        venv="ferrogw",
        install=("pip", "ferrogw==1.5.10"),
    ),
    "litellm": Peer(
        8104,
        words(venv("litellm", "litellm"), "--config litellm.yaml --host 127.0.0.1 --port 8104 --num_workers 1"),
        conf="litellm.yaml",
        env={
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_TELEMETRY": "False",
        },
        translate_model="mock-claude",
        boot_s=120,
        warm_s=4,
        rate_max=100,
        # opentelemetry-sdk: without it a failing optional import is retried on every request
        venv="litellm",
        install=("uv", "litellm[proxy]==1.109.1", "opentelemetry-sdk", "opentelemetry-exporter-otlp", "httptools"),
    ),
    "rolter": Peer(
        8105,
        (venv("rolter", "rolter"), "gateway", "-c", "rolter.toml"),
        conf="rolter.toml",
        env={"RUST_LOG": "error", "ROLTER_UPDATE_CHECK": "false"},
        translate_model="mock-claude",
        venv="rolter",
        install=("pip", "rolter==0.1.0"),
    ),
    "smg": Peer(
        8106,
        words(
            venv("smg", "smg"),
            "launch --host 127.0.0.1 --port 8106 --backend openai --history-backend none --log-level error",
            f"--worker-urls {UPSTREAM} --api-key {KEY} --max-concurrent-requests -1",
            "--prometheus-host 127.0.0.1 --prometheus-port 29106",
        ),
        venv="smg",
        install=("pip", "smg==1.13.0"),
    ),
    "portkey": Peer(
        8107,
        ("node", PORTKEY, "--port=8107", "--headless"),
        env={"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
        headers=("Authorization: Bearer sk-up", "x-portkey-provider: openai", f"x-portkey-custom-host: {UPSTREAM}/v1"),
        warm_s=4,
        program=PORTKEY,
        install=("npm", "@portkey-ai/gateway@1.15.2", "hono@4.9.7", "@hono/node-server@1.13.8"),
    ),
}
