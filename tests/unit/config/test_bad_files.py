# ruff: noqa: E501 -- messages stand on one line, as people read them
"""A corpus of bad files: every one names its line, its key, what is wrong and what to write instead."""

from pathlib import Path
from typing import NamedTuple

import pytest

from trivium.config.load import load
from trivium.errors import EXIT_CONFIG, ConfigError


class case(NamedTuple):  # noqa: N801
    line: int
    message: str
    remedy: str
    key: str
    text: str


CASES = [
    case(
        1,
        "this is not TOML: Expected ']' at the end of a table declaration",
        "See https://toml.io for the format.",
        "",
        r"""
[server
""",
    ),
    case(
        2,
        "`server.listen`: expected text, got a whole number",
        "",
        "server.listen",
        r"""
[server]
listen = 127
""",
    ),
    case(
        2,
        "unknown key `listn` in `server`",
        "Did you mean `listen`?",
        "server.listn",
        r"""
[server]
listn = "127.0.0.1:1"
""",
    ),
    case(
        1,
        "unknown key `sever` at the top level",
        "Did you mean `server`?",
        "sever",
        r"""
[sever]
listen = "127.0.0.1:1"
""",
    ),
    case(
        2,
        "unknown key `route` at the top level",
        "Did you mean `routes`?",
        "route",
        r"""
# once
[[route]]
name = "a"
""",
    ),
    case(
        2,
        "unknown key `sever` at the top level",
        "Did you mean `server`?",
        "sever",
        r"""
# inside a table that is not written itself
[sever.limits]
""",
    ),
    case(
        2,
        "`aliases.fast`: `nosuch` is neither provider/model nor an alias",
        "Write it as provider/model.",
        "aliases.fast",
        r"""
[aliases]
fast = "nosuch"
""",
    ),
    case(
        2,
        "`server.workers`: expected a whole number, got text",
        "",
        "server.workers",
        r"""
[server]
workers = "two"
""",
    ),
    case(
        2,
        "`server.workers`: expected a whole number >= 1",
        "",
        "server.workers",
        r"""
[server]
workers = 0
""",
    ),
    case(
        1,
        "unknown key `x` at the top level",
        "Valid here: `aliases`, `defaults`, `engines`, `keys`, `ledger`, `local`, `models`, `policy`, `providers`, `routes`, `server`.",
        "x",
        r"""
x = 1
""",
    ),
    case(
        1,
        "`routes[0]` needs the key `targets`",
        "",
        "routes[0]",
        r"""
[[routes]]
name = "a"
""",
    ),
    case(
        3,
        "`routes[0].targets`: expected a list of length >= 1",
        "",
        "routes[0].targets",
        r"""
[[routes]]
name = "a"
targets = []
""",
    ),
    case(
        3,
        "`routes[0].targets[0]`: there is no provider `opnai` for the model `opnai/gpt-5`",
        "Did you mean `openai`?",
        "routes[0].targets[0]",
        r"""
[[routes]]
name = "a"
targets = ["opnai/gpt-5"]
""",
    ),
    case(
        4,
        "`routes[0].targets[1]`: `gpt-5` is neither provider/model nor an alias",
        "Valid here: `a`. Write it as provider/model.",
        "routes[0].targets[1]",
        r"""
[[routes]]
name = "a"

targets = [
  "openai/gpt-5",
  "gpt-5",
]
""",
    ),
    case(
        5,
        "unknown key `conect` in `routes[0].timeouts`",
        "Did you mean `connect`?",
        "routes[0].timeouts.conect",
        r"""
[[routes]]
name = "a"
targets = ["openai/x"]
[routes.timeouts]
conect = "3s"
""",
    ),
    case(
        4,
        '`routes[0].timeouts.total`: \'3 parsecs\' is not a duration: write a number and a unit, such as "250ms", "3s", "10m", "1h"',
        "",
        "routes[0].timeouts.total",
        r"""
[[routes]]
name = "a"
targets = ["openai/x"]
timeouts.total = "3 parsecs"
""",
    ),
    case(
        4,
        "`routes[0].timeouts.total` must be longer than 0",
        "",
        "routes[0].timeouts.total",
        r"""
[[routes]]
name = "a"
targets = ["openai/x"]
timeouts = { total = "0s" }
""",
    ),
    case(
        4,
        "`routes[0].strategy` cannot be 'cheepest'",
        "Did you mean `cheapest`?",
        "routes[0].strategy",
        r"""
[[routes]]
name = "a"
targets = ["openai/x"]
strategy = "cheepest"
""",
    ),
    case(
        4,
        '`strategy = "smart"` is valid, but this version does not enforce it yet',
        'Write `strategy = "balanced"`.',
        "routes[0].strategy",
        r"""
[[routes]]
name = "a"
targets = ["openai/x"]
strategy = "smart"
""",
    ),
    case(
        4,
        '`rescue = "continue"` needs somebody who goes on',
        'Name a second target, or write `rescue = "terminate"`.',
        "routes[0].rescue",
        r"""
[[routes]]
name = "a"
targets = ["openai/x"]
rescue = "continue"
""",
    ),
    case(
        5,
        '`hold` is not possible with `rescue = "restart"`',
        'Remove it, or write `rescue = "hold"` or "auto".',
        "routes[0].hold",
        r"""
[[routes]]
name = "a"
targets = ["openai/x", "openai/y"]
rescue = "restart"
hold = "complete"
""",
    ),
    case(
        5,
        '`rescue_other_model` means nothing beside `rescue = "hold"`, which lets nobody go on',
        'Remove it, or write `rescue = "auto"`.',
        "routes[0].rescue_other_model",
        r"""
[[routes]]
name = "a"
targets = ["openai/x", "openai/y"]
rescue = "hold"
rescue_other_model = true
""",
    ),
    case(
        4,
        "`routes[0].hold.tokens`: expected a whole number >= 1",
        "",
        "routes[0].hold.tokens",
        r"""
[[routes]]
name = "a"
targets = ["openai/x", "openai/y"]
hold = { tokens = 0 }
""",
    ),
    case(
        4,
        "unknown key `second` in `routes[0].hold`",
        "Valid here: `ms`, `tokens`.",
        "routes[0].hold.second",
        r"""
[[routes]]
name = "a"
targets = ["openai/x", "openai/y"]
hold = { second = 1 }
""",
    ),
    case(
        4,
        "`routes[0].hold` cannot be 'whole'",
        "Valid here: `complete`.",
        "routes[0].hold",
        r"""
[[routes]]
name = "a"
targets = ["openai/x", "openai/y"]
hold = "whole"
""",
    ),
    case(
        4,
        '`cache = "exact"` is valid, but this version does not enforce it yet',
        'Write `cache = "off"`.',
        "routes[0].cache",
        r"""
[[routes]]
name = "a"
targets = ["openai/x"]
cache = "exact"
""",
    ),
    case(
        5,
        "the route `a` stands in line 2 already",
        "Give one of them conditions: `when = { … }`.",
        "routes[1].name",
        r"""
[[routes]]
name = "a"
targets = ["openai/x"]
[[routes]]
name = "a"
targets = ["openai/x"]
""",
    ),
    case(
        4,
        "`openai/z` is no target of the route",
        "Did you mean `openai/x`?",
        "routes[0].weight.openai/z",
        r"""
[[routes]]
name = "a"
targets = ["openai/x"]
weight = { "openai/z" = 2 }
""",
    ),
    case(
        4,
        "`routes[0].fallbacks.context_length[0]`: there is no provider `opnai` for the model `opnai/x`",
        "Did you mean `openai`?",
        "routes[0].fallbacks.context_length[0]",
        r"""
[[routes]]
name = "a"
targets = ["openai/x"]
fallbacks = { context_length = ["opnai/x"] }
""",
    ),
    case(
        4,
        "unknown key `model` in `routes[0].when`",
        "Did you mean `models`?",
        "routes[0].when.model",
        r"""
[[routes]]
name = "a"
targets = ["openai/x"]
when = { model = "gpt-*" }
""",
    ),
    case(
        3,
        "the `api_key` has a key twice, which has no more to give than once",
        "",
        "providers[0].api_key",
        r"""
[[providers]]
id = "openai"
api_key = ["sk-a", "sk-a"]
""",
    ),
    case(
        3,
        "the route `a` targets itself",
        "",
        "routes[0].targets[0]",
        r"""
[[routes]]
name = "a"
targets = ["a"]
""",
    ),
    case(
        3,
        "`b` is a route, and a route cannot target another one",
        "Name its targets here: a route's own deadlines and data class cannot be taken over.",
        "routes[0].targets[0]",
        r"""
[[routes]]
name = "a"
targets = ["b"]
[[routes]]
name = "b"
targets = ["openai/x"]
""",
    ),
    case(
        3,
        "the aliases go in a circle: one → two → one",
        "",
        "aliases.two",
        r"""
[aliases]
one = "two"
two = "one"
""",
    ),
    case(
        2,
        "`aliases.fast`: there is no provider `nowhere` for the model `nowhere/x`",
        "Did you mean `cohere`?",
        "aliases.fast",
        r"""
[aliases]
fast = "nowhere/x"
""",
    ),
    case(
        2,
        "`a` is the name of a route as well",
        "",
        "aliases.a",
        r"""
[aliases]
a = "openai/x"
[[routes]]
name = "a"
targets = ["openai/x"]
""",
    ),
    case(
        2,
        "the catalog has no provider `lab`, so it needs a `base_url`",
        "Add `base_url`, with the version segment, or use an id that `trivium providers` lists.",
        "providers[0].id",
        r"""
[[providers]]
id = "lab"
""",
    ),
    case(
        2,
        "`Lab` is no provider id",
        "Use lower-case letters, digits, `-`, `_` and `.`.",
        "providers[0].id",
        r"""
[[providers]]
id = "Lab"
base_url = "http://x/v1"
""",
    ),
    case(
        2,
        "`local` is the name of this machine's own engines",
        "Engines that Trivium starts stand under [[engines]].",
        "providers[0].id",
        r"""
[[providers]]
id = "local"
base_url = "http://x/v1"
""",
    ),
    case(
        3,
        "the `base_url` must begin with http:// or https://",
        "",
        "providers[0].base_url",
        r"""
[[providers]]
id = "lab"
base_url = "ftp://x/v1"
""",
    ),
    case(
        3,
        "the `base_url` must not hold a user name or password: use `api_key` or `headers`",
        "",
        "providers[0].base_url",
        r"""
[[providers]]
id = "lab"
base_url = "https://user:hunter2@x/v1"
""",
    ),
    case(
        3,
        "the `base_url` names a cloud metadata service, which is never a model's server",
        "",
        "providers[0].base_url",
        r"""
[[providers]]
id = "lab"
base_url = "http://169.254.169.254/v1"
""",
    ),
    case(
        5,
        "the provider `lab` stands in line 2 already",
        "",
        "providers[1].id",
        r"""
[[providers]]
id = "lab"
base_url = "http://x/v1"
[[providers]]
id = "lab"
base_url = "http://y/v1"
""",
    ),
    case(
        4,
        "`Content-Length` is no header that can be sent",
        "",
        "providers[0].headers.Content-Length",
        r"""
[[providers]]
id = "lab"
base_url = "http://x/v1"
headers = { Content-Length = "5" }
""",
    ),
    case(
        3,
        "`models[0].price.input`: expected a number <= 1000000000.0",
        "",
        "models[0].price.input",
        r"""
[[models]]
id = "openai/x"
price = { input = inf, output = 1 }
""",
    ),
    case(
        2,
        "`local.watts`: expected a number <= 1000000000.0",
        "",
        "local.watts",
        r"""
[local]
watts = inf
""",
    ),
    case(
        4,
        "`X-A` is no header that can be sent",
        "",
        "providers[0].headers.X-A",
        r"""
[[providers]]
id = "lab"
base_url = "http://x/v1"
headers = { "X-A" = "a\nb" }
""",
    ),
    case(
        3,
        "`providers[0].api_key` needs the environment variable NOPE, which is not set",
        "Set it, or write ${NOPE:-default}.",
        "providers[0].api_key",
        r"""
[[providers]]
id = "openai"
api_key = "${NOPE}"
""",
    ),
    case(
        3,
        "`providers[0].api_key` needs the file {folder}/nope.txt, which cannot be read: No such file or directory",
        "",
        "providers[0].api_key",
        r"""
[[providers]]
id = "openai"
api_key = "${file:nope.txt}"
""",
    ),
    case(
        3,
        "`providers[0].api_key`: `${}` is no reference",
        "Write ${NAME}, ${NAME:-default} or ${file:path}.",
        "providers[0].api_key",
        r"""
[[providers]]
id = "openai"
api_key = "${}"
""",
    ),
    case(
        3,
        "`providers[0].dialect` cannot be 'opanai_chat'",
        "Did you mean `openai_chat`?",
        "providers[0].dialect",
        r"""
[[providers]]
id = "openai"
dialect = "opanai_chat"
""",
    ),
    case(
        1,
        "the key `k` needs either `key` or `hash`",
        'Write key = "${NAME}", and set NAME in the environment.',
        "keys[0]",
        r"""
[[keys]]
name = "k"
""",
    ),
    case(
        3,
        "the `hash` of the key `k` is no digest",
        "It is hmac-sha256:<8 hex digits>:<64 hex digits>; the secret itself is a `key`.",
        "keys[0].hash",
        r"""
[[keys]]
name = "k"
hash = "abc"
""",
    ),
    case(
        6,
        "this key is also that of the key in line 1",
        "",
        "keys[1].key",
        r"""
[[keys]]
name = "k"
key = "s"
[[keys]]
name = "l"
key = "s"
""",
    ),
    case(
        4,
        "`keys[0].rpm` is valid, but this version does not enforce it yet",
        "Remove it, or use a version that does.",
        "keys[0].rpm",
        r"""
[[keys]]
name = "k"
key = "s"
rpm = 600
""",
    ),
    case(
        4,
        "`expires` is no date",
        "Write expires = 2027-01-31T12:00:00Z.",
        "keys[0].expires",
        r"""
[[keys]]
name = "k"
key = "s"
expires = "soon"
""",
    ),
    case(
        2,
        "`policy.filters` is valid, but this version does not enforce it yet",
        "Remove it, or use a version that does.",
        "policy.filters",
        r"""
[policy]
filters = { pii = "redact" }
""",
    ),
    case(
        2,
        "`policy.data_class` cannot be 'none'",
        "Valid here: `any`, `no_training`, `premises`, `zero_retention`.",
        "policy.data_class",
        r"""
[policy]
data_class = "none"
""",
    ),
    case(
        2,
        '`defaults.budget`: \'5 EUR\' is not an amount: write it as "1 USD" or "25 USD / month"',
        "",
        "defaults.budget",
        r"""
[defaults]
budget = "5 EUR"
""",
    ),
    case(
        2,
        "`defaults.budget` is what `auto` may spend a day, not a month",
        'Write it as "1 USD / day".',
        "defaults.budget",
        r"""
[defaults]
budget = "25 USD / month"
""",
    ),
    case(
        2,
        "`defaults.model`: `gpt` is neither provider/model nor an alias",
        "Write it as provider/model.",
        "defaults.model",
        r"""
[defaults]
model = "gpt"
""",
    ),
    case(
        2,
        '`ledger.journal_max`: \'1 gig\' is not a size: write a number and a unit, such as "512MiB", "1GiB", "10GB"',
        "",
        "ledger.journal_max",
        r"""
[ledger]
journal_max = "1 gig"
""",
    ),
    case(
        2,
        "a ledger outside SQLite is valid, but this version does not enforce it yet",
        "Write `sqlite:///path/to/ledger.db`.",
        "ledger.url",
        r"""
[ledger]
url = "postgresql://x/y"
""",
    ),
    case(
        2,
        "`server.listen`: 0.0.0.0:3333 can be reached from other machines, and no key guards it",
        "Add a [[keys]] table, or listen on 127.0.0.1.",
        "server.listen",
        r"""
[server]
listen = "0.0.0.0:3333"
""",
    ),
    case(
        2,
        "`server.admin`: 0.0.0.0:3334 can be reached from other machines, and no key guards it",
        "The admin plane asks for no key: let it listen on 127.0.0.1.",
        "server.admin",
        r"""
[server]
admin = "0.0.0.0:3334"
[[keys]]
name = "a"
key = "sk-1"
""",
    ),
    case(
        2,
        '`server.listen`: \'3333\' is no address: write "127.0.0.1:3333" or "[::1]:3333"',
        "",
        "server.listen",
        r"""
[server]
listen = "3333"
""",
    ),
    case(
        3,
        "`models[0].price` needs the key `output`",
        "",
        "models[0].price",
        r"""
[[models]]
id = "openai/x"
price = { input = 1 }
""",
    ),
    case(
        3,
        "`models[0].price.input`: expected a number >= 0.0",
        "",
        "models[0].price.input",
        r"""
[[models]]
id = "openai/x"
price = { input = -1, output = 2 }
""",
    ),
    case(
        3,
        "`models[0].capabilities[0]` cannot be 'tool'",
        "Did you mean `tools`?",
        "models[0].capabilities[0]",
        r"""
[[models]]
id = "openai/x"
capabilities = ["tool"]
""",
    ),
    case(
        3,
        '`kind = "vllm"` is valid, but this version does not enforce it yet',
        'Start that server yourself and name it under [[providers]] with `access = "local"`.',
        "engines[0].kind",
        r"""
[[engines]]
id = "e"
kind = "vllm"
model = "x"
""",
    ),
    case(
        3,
        "`routes[0].rpm` is valid, but this version does not enforce it yet",
        "Remove it, or use a version that does.",
        "routes[0].rpm",
        r"""
[[routes]]
name = "a"
rpm = 6
targets = ["openai/x"]
""",
    ),
    case(
        4,
        "`routes[0].timeouts.headers` is valid, but this version does not enforce it yet",
        "Remove it, or use a version that does.",
        "routes[0].timeouts.headers",
        r"""
[[routes]]
name = "a"
targets = ["openai/x"]
timeouts = { headers = "3s" }
""",
    ),
    case(
        3,
        "`providers[0].timeouts.headers` is valid, but this version does not enforce it yet",
        "Remove it, or use a version that does.",
        "providers[0].timeouts.headers",
        r"""
[[providers]]
id = "openai"
timeouts.headers = "3s"
""",
    ),
    case(
        2,
        "`policy.timeouts.headers` is valid, but this version does not enforce it yet",
        "Remove it, or use a version that does.",
        "policy.timeouts.headers",
        r"""
[policy]
timeouts = { headers = "3s" }
""",
    ),
    case(
        4,
        "`engines[0].max_cold_start` is valid, but this version does not enforce it yet",
        "Remove it, or use a version that does.",
        "engines[0].max_cold_start",
        r"""
[[engines]]
id = "e"
model = "x"
max_cold_start = "10m"
""",
    ),
    case(
        4,
        "`engines[0].pull` is valid, but this version does not enforce it yet",
        "Remove it, or use a version that does.",
        "engines[0].pull",
        r"""
[[engines]]
id = "e"
model = "x"
pull = "never"
""",
    ),
    case(
        2,
        "`ledger.retention` is valid, but this version does not enforce it yet",
        "Remove it, or use a version that does.",
        "ledger.retention",
        r"""
[ledger]
retention = "30d"
""",
    ),
    case(
        2,
        '`durability = "power_loss"` is valid, but this version does not enforce it yet',
        'Write `durability = "process"`.',
        "ledger.durability",
        r"""
[ledger]
durability = "power_loss"
""",
    ),
    case(
        2,
        "`local.utilisation`: expected a number <= 1.0",
        "",
        "local.utilisation",
        r"""
[local]
utilisation = 3
""",
    ),
    case(
        2,
        "`routes[0].name`: expected text, got a whole number",
        "",
        "routes[0].name",
        r"""
[[routes]]
name = 3
targets = ["openai/x"]
""",
    ),
    case(
        1,
        "`providers`: expected a list, got a whole number",
        "",
        "providers",
        r"""
providers = 3
""",
    ),
    case(
        1,
        "`aliases`: expected text, got a whole number",
        "",
        "aliases",
        r"""
[aliases]
a = 3
""",
    ),
    case(
        4,
        "`engines[0].options`: expected true or false or a whole number or a number or text, got a list",
        "",
        "engines[0].options",
        r"""
[[engines]]
id = "e"
model = "x"
options = { a = [1] }
""",
    ),
]


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: f"{bad.key or 'syntax'}: {bad.message[:40]}")
def test_a_bad_file_names_place_key_and_remedy(bad: case, tmp_path: Path):
    file = tmp_path / "bad.toml"
    file.write_text(bad.text.removeprefix("\n"))
    with pytest.raises(ConfigError) as caught:
        load(file=file, env={"HOME": str(tmp_path)}, cwd=tmp_path)
    error = caught.value
    assert error.message == f"{file}:{bad.line}: {bad.message}.".replace("{folder}", str(tmp_path))
    assert (error.remedy, error.key, error.line, error.file) == (bad.remedy, bad.key, bad.line, str(file))
    assert error.exit_code == EXIT_CONFIG


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'a = 1\nb = "\xff"\n', "2: this is not UTF-8 text"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, " this is no usable TOML: a number is too large or the nesting too deep"),
        (b"a = " + b"[" * 100 + b"]" * 100, " values are nested deeper than 64 levels"),
        (b"a = " + b"9" * 5000, " this is no usable TOML: a number is too large or the nesting too deep"),
        (b"[server]\nworkers = 1\nworkers = 2\n", "3: this is not TOML: Cannot overwrite a value"),
        (b"[server]\n[server]\n", "2: this is not TOML: Cannot declare ('server',) twice"),
        (b"#" * (5 << 20), " the configuration is longer than 4194304 bytes"),
    ],
    ids=["encoding", "nesting", "depth", "number", "twice", "table twice", "length"],
)
def test_hostile_bytes_are_refused(data: bytes, message: str, tmp_path: Path):
    file = tmp_path / "bad.toml"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load(file=file, env={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert caught.value.message == f"{file}:{message}."


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(file="nowhere.toml", env={"HOME": str(tmp_path)}, cwd=tmp_path)


def test_no_message_repeats_a_password(tmp_path: Path):
    file = tmp_path / "bad.toml"
    file.write_text('[[providers]]\nid = "lab"\nbase_url = "${URL}"\n')
    with pytest.raises(ConfigError) as caught:
        load(file=file, env={"HOME": str(tmp_path), "URL": "https://me:hunter2@x/v1"}, cwd=tmp_path)
    assert "hunter2" not in str(caught.value)
