"""Where the configuration is looked for, and what a whole one becomes."""

import subprocess
import sys
from pathlib import Path

import pytest

from trivium.catalog.rows import Price
from trivium.config.load import load
from trivium.config.schema import Config
from trivium.config.secret import derive, root_secret
from trivium.config.trust import trust
from trivium.errors import ConfigError
from trivium.policy.key import digest_of
from trivium.routing.route import Hold, When
from trivium.types.data import DataClass, DataPolicy

FULL = """
[server]
listen = "0.0.0.0:3333"
workers = 2
drain = "5s"

[[providers]]
id = "openai"
api_key = "${OPENAI_API_KEY}"
timeouts = { total = "2m" }

[[providers]]
id = "lab"
access = "local"
base_url = "http://10.0.0.5:8000/v1/"
data = { premises = true }

[[engines]]
id = "tiny"
model = "smollm2-135m"
idle_unload = "never"
context = 4096

[[routes]]
name = "assistant"
targets = ["fast", "openrouter:anthropic/claude-haiku-4.5", "lab/qwen:7b", "local/tiny"]
data_class = "no_training"
timeouts = { connect = "3s", first_content = "12s", idle = "20s", total = "10m" }
attempts = 6
breaker = { failures = 2, cooldown = "1m" }
fallback = "same-family"
cache = "off"

[[keys]]
name = "ci"
key = "${CI_KEY}"
data_class = "zero_retention"
models = ["assistant"]
roads = ["local"]
tags = ["t"]
team = "red"
expires = 2027-01-31T12:00:00Z

[aliases]
quick = "fast"
fast = "openai/gpt-5-mini"
bot = "assistant"

[[models]]
id = "lab/qwen:7b"
price = { input = 0.25, output = 2, request = 0.001 }
context = 32768
capabilities = ["tools"]

[policy]
data_class = "no_training"
timeouts = { connect = "1s" }

[ledger]
journal_max = "2GiB"

[local]
watts = 90
price_kwh = 0.3

[defaults]
model = "quick"
budget = "2.50 USD / day"
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "OPENAI_API_KEY": " sk-env ", "CI_KEY": "tr-ci"}


@pytest.fixture
def full(tmp_path: Path, env: dict[str, str]) -> Config:
    (tmp_path / "full.toml").write_text(FULL)
    return load(file="full.toml", env=env, cwd=tmp_path)


def test_without_a_file_everything_has_a_default(tmp_path: Path):
    config = load(env={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert config.file is None
    assert config.trusted
    assert config.home == tmp_path / ".local/share/trivium"
    assert not config.home.exists()
    assert config.defaults.budget_nanos_day == 1_000_000_000
    assert config.providers["openai"].credential is None
    assert (config.routes, config.keys, config.notes) == ({}, (), ())


def test_providers_keep_the_catalog_s_order_and_end_with_the_configured(full: Config):
    names = list(full.providers)
    assert names[:3] == ["openai", "anthropic", "google"]
    assert names[-1] == "lab"
    assert full.configured == {"openai", "lab"}


def test_a_whole_file(full: Config):
    assert (full.server.listen, full.server.workers, full.server.drain_s) == ("0.0.0.0:3333", 2, 5.0)
    tiny = full.engines["tiny"]
    assert (tiny.kind, tiny.model, tiny.idle_unload_s, tiny.context) == ("llamacpp", "smollm2-135m", None, 4096)
    assert full.policy.data_class is DataClass.NO_TRAINING
    assert full.policy.timeouts.connect_s == 1.0
    assert (full.ledger.durability, full.ledger.journal_max_bytes) == ("process", 2 << 30)
    assert (full.local.watts, full.local.price_kwh, full.local.purchase) == (90, 0.3, None)
    assert (full.defaults.model, full.defaults.budget_nanos_day) == ("openai/gpt-5-mini", 2_500_000_000)


def test_a_configured_provider_inherits_what_it_does_not_set(full: Config):
    openai = full.providers["openai"]
    assert openai.row.base_url == "https://api.openai.com/v1"
    assert openai.row.timeouts.total_s == 120.0
    assert openai.credential is not None
    assert openai.credential.reveal() == "sk-env"
    assert (openai.credential_from, openai.trusted_origin) == ("trivium.toml", False)


def test_a_new_provider_is_openai_shaped(full: Config):
    lab = full.providers["lab"]
    assert (lab.row.access, lab.row.dialect, lab.row.base_url) == ("local", "openai_chat", "http://10.0.0.5:8000/v1")
    assert lab.row.data.ceiling is DataClass.PREMISES
    assert lab.trusted_origin
    assert lab.credential is None


def test_a_route_has_its_targets_resolved_and_its_times_in_seconds(full: Config):
    route = full.routes["assistant"]
    assert route.targets == (
        "openai/gpt-5-mini", "openrouter/anthropic/claude-haiku-4.5", "lab/qwen:7b", "local/tiny",
    )  # fmt: skip
    assert route.data_class is DataClass.NO_TRAINING
    assert (route.timeouts.first_content_s, route.timeouts.tls_s) == (12.0, None)
    assert (route.attempts, route.retries, route.fallback) == (6, 1, "same-family")
    assert (route.breaker.failures, route.breaker.cooldown_s) == (2, 60.0)
    assert FULL.splitlines()[route.line - 1] == 'name = "assistant"'


def test_aliases_name_what_they_stand_for_in_the_end(full: Config):
    assert full.aliases == {"quick": "openai/gpt-5-mini", "fast": "openai/gpt-5-mini", "bot": "assistant"}


def test_a_key_is_kept_as_its_digest_only(full: Config):
    (key,) = full.keys
    assert key.digest == digest_of(derive(root_secret(full.home, {}), "virtual-keys"), "tr-ci")
    assert (key.models, key.roads, key.tags, key.team) == (("assistant",), ("local",), ("t",), "red")
    assert (key.data_class, key.expires_s) == (DataClass.ZERO_RETENTION, 1801396800.0)
    assert "tr-ci" not in repr(full)


def test_a_described_model_has_its_price_in_nano_dollars(full: Config):
    model = full.models["lab/qwen:7b"]
    assert model.price == Price(input=250_000_000, output=2_000_000_000, request=1_000_000, version=str(full.file))
    assert (model.context, model.capabilities) == (32768, ("tools",))


def test_the_order_in_which_files_count(tmp_path: Path, env: dict[str, str]):
    def file(path: Path, workers: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"[server]\nworkers = {workers}\n")
        return path

    cwd = tmp_path / "work"
    cwd.mkdir()
    own = file(tmp_path / ".config/trivium/trivium.toml", 1)
    assert (load(env=env, cwd=cwd).file, load(env=env, cwd=cwd).server.workers) == (own, 1)
    here = file(cwd / "trivium.toml", 2)
    assert load(env=env, cwd=cwd).file == here
    assert load(env=env, cwd=cwd).server.workers == 1
    trust(load(env=env, cwd=cwd).home, here)
    assert load(env=env, cwd=cwd).server.workers == 2
    env["TRIVIUM_CONFIG"] = str(file(tmp_path / "named.toml", 3))
    assert load(env=env, cwd=cwd).server.workers == 3
    assert load(env=env, cwd=cwd, file=file(tmp_path / "flag.toml", 4)).server.workers == 4


def test_in_the_user_s_own_folder_the_working_directory_is_trusted(tmp_path: Path, env: dict[str, str]):
    own = tmp_path / ".config/trivium"
    own.mkdir(parents=True)
    (own / "trivium.toml").write_text("[server]\nworkers = 7\n")
    assert load(env=env, cwd=own).server.workers == 7


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("", False), ("0", False), ("no", False)])
def test_offline_by_argument_or_environment(value: str, offline: bool, tmp_path: Path):
    env = {"HOME": str(tmp_path), "TRIVIUM_OFFLINE": value}
    assert load(env=env, cwd=tmp_path).offline is offline
    assert load(env=env, cwd=tmp_path, offline=True).offline


def test_a_file_without_a_budget_sets_no_bound(tmp_path: Path, env: dict[str, str]):
    (tmp_path / "c.toml").write_text("")
    assert load(file="c.toml", env=env, cwd=tmp_path).defaults.budget_nanos_day is None


@pytest.mark.parametrize(
    "limit", ['budget = "1 USD"', "rpm = 1", "tpm = 1", "concurrency = 1", 'regions = ["eu"]', "filters = {}"]
)
@pytest.mark.parametrize(
    "table", ["[[keys]]\nname='k'\nkey='s'", "[[routes]]\nname='r'\ntargets=['openai/x']", "[policy]"]
)
def test_a_limit_that_is_not_enforced_is_refused_and_never_ignored(limit: str, table: str, tmp_path: Path):
    (tmp_path / "c.toml").write_text(f"{table}\n{limit}\n")
    with pytest.raises(ConfigError, match="does not enforce it yet"):
        load(file="c.toml", env={"HOME": str(tmp_path)}, cwd=tmp_path)


def test_without_a_file_nothing_is_imported_that_reads_one(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from trivium.config.load import load;"
        "load(env={'HOME': sys.argv[1]}, cwd=Path(sys.argv[1]));"
        "print({'keyring', 'trivium.config.raw', 'genai_prices'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_unknown_data_policies_stay_unknown(tmp_path: Path):
    config = load(env={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert config.providers["ollama"].row.data == DataPolicy()


@pytest.mark.parametrize(
    ("written", "held"),
    [
        ("", None),
        ('rescue = "hold"', Hold()),
        ('rescue = "hold"\nhold = { tokens = 5 }', Hold(tokens=5)),
        ("hold = { ms = 9 }", Hold(ms=9)),
        ('hold = "complete"', Hold(complete=True)),
        ('rescue = "continue"\nrescue_other_model = true', None),
    ],
)
def test_what_a_route_holds_back(tmp_path: Path, written: str, held: Hold | None):
    file = tmp_path / "trivium.toml"
    file.write_text(f'[[routes]]\nname = "a"\ntargets = ["openai/x", "openai/y"]\n{written}\n')
    route = load(file=str(file), env={}, cwd=tmp_path, home=tmp_path / "home").routes["a"]
    assert route.hold == held


def test_everything_about_routing(tmp_path: Path) -> None:
    file = tmp_path / "trivium.toml"
    file.write_text("""
[aliases]
quick = "openai/gpt-5-mini"

[[providers]]
id = "openai"
api_key = ["${FIRST}", "${SECOND}"]

[[routes]]
name = "a"
targets = ["quick", "groq/x:direct"]
strategy = "balanced"
weight = { quick = 3, "groq/x:direct" = 0.5 }
on_refusal = "next"
max_wait = "1.5s"
fallbacks = { context_length = ["google/gemini-2.5-pro"] }

[[routes]]
name = "a"
targets = ["groq/x"]
when = { models = ["gpt-*"], keys = ["ci"], metadata = { tier = "x" }, tokens_min = 9, tools = true, images = false }
""")
    config = load(file=file, env={"FIRST": "sk-1", "SECOND": "sk-2"}, cwd=tmp_path, home=tmp_path / "home")
    bound = config.providers["openai"]
    assert [key.reveal() for key in bound.credentials if key] == ["sk-1", "sk-2"]
    route = config.routes["a"]
    assert (route.strategy, route.weights, route.on_refusal) == (
        "balanced",
        {"openai/gpt-5-mini": 3, "groq/x": 0.5},
        "next",
    )
    assert (route.max_wait_s, route.fallbacks) == (1.5, {"context_length": ("google/gemini-2.5-pro",)})
    (other,) = config.conditional
    assert other.when == When(
        models=("gpt-*",), keys=("ci",), metadata={"tier": "x"}, tokens_min=9, tools=True, images=False
    )
