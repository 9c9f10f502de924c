"""Which credential goes with which origin, and what a changed row keeps."""

from pathlib import Path

import pytest

from trivium.config import credentials
from trivium.config.load import load
from trivium.config.schema import BoundProvider, TokenCommand
from trivium.errors import ConfigError
from trivium.types.data import DataClass, DataPolicy

OPENAI = "https://api.openai.com:443"


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


def bound(tmp_path: Path, text: str, provider: str = "openai", **env: str) -> BoundProvider:
    (tmp_path / "c.toml").write_text(text)
    return load(file="c.toml", env={"HOME": str(tmp_path), **env}, cwd=tmp_path, home=tmp_path / "home").providers[
        provider
    ]


def revealed(provider: BoundProvider) -> tuple[str | None, str]:
    return provider.credential.reveal() if provider.credential else None, provider.credential_from


def test_the_file_comes_before_the_environment_and_that_before_the_login(tmp_path: Path):
    credentials.save(tmp_path / "home", "openai", "sk-login", OPENAI)
    assert revealed(bound(tmp_path, "")) == ("sk-login", "trivium login")
    assert revealed(bound(tmp_path, "", OPENAI_API_KEY="sk-env")) == ("sk-env", "OPENAI_API_KEY")
    row = '[[providers]]\nid = "openai"\napi_key = "sk-file"\n'
    assert revealed(bound(tmp_path, row, OPENAI_API_KEY="sk-env")) == ("sk-file", "trivium.toml")


def test_the_first_of_several_names_that_is_set_wins(tmp_path: Path):
    assert revealed(bound(tmp_path, "", "google", GOOGLE_API_KEY="b")) == ("b", "GOOGLE_API_KEY")
    assert revealed(bound(tmp_path, "", "google", GOOGLE_API_KEY="b", GEMINI_API_KEY="a")) == ("a", "GEMINI_API_KEY")
    assert revealed(bound(tmp_path, "", "google", GOOGLE_API_KEY="b", GEMINI_API_KEY=" ")) == ("b", "GOOGLE_API_KEY")


def test_no_key_follows_a_row_to_another_origin_unless_the_file_says_so(tmp_path: Path):
    credentials.save(tmp_path / "home", "openai", "sk-login", OPENAI)
    moved = '[[providers]]\nid = "openai"\nbase_url = "https://proxy.example/v1"\n'
    assert revealed(bound(tmp_path, moved, OPENAI_API_KEY="sk-env")) == (None, "")
    named = moved + 'api_key = "${OPENAI_API_KEY}"\n'
    assert revealed(bound(tmp_path, named, OPENAI_API_KEY="sk-env")) == ("sk-env", "trivium.toml")
    same = '[[providers]]\nid = "openai"\nbase_url = "https://API.openai.com:443/v2"\n'
    assert revealed(bound(tmp_path, same, OPENAI_API_KEY="sk-env")) == ("sk-env", "OPENAI_API_KEY")


@pytest.mark.parametrize(
    "url", ["http://api.openai.com/v1", "https://api.openai.com:8443/v1", "https://api.openai.com.evil.example/v1"]
)
def test_scheme_port_and_host_make_an_origin(url: str, tmp_path: Path):
    row = f'[[providers]]\nid = "openai"\nbase_url = "{url}"\n'
    assert revealed(bound(tmp_path, row, OPENAI_API_KEY="sk-env")) == (None, "")


def test_a_kept_key_of_a_provider_of_one_s_own_belongs_to_its_origin(tmp_path: Path):
    credentials.save(tmp_path / "home", "lab", "k", "http://lab:80")
    assert revealed(bound(tmp_path, '[[providers]]\nid = "lab"\nbase_url = "http://lab/v1"\n', "lab")) == (
        "k",
        "trivium login",
    )
    assert revealed(bound(tmp_path, '[[providers]]\nid = "lab"\nbase_url = "https://lab/v1"\n', "lab")) == (None, "")


def test_what_the_catalog_says_about_data_holds_for_its_own_server_only(tmp_path: Path):
    assert bound(tmp_path, "").row.data == DataPolicy(trains=False, retains_days=30)
    moved = '[[providers]]\nid = "openai"\nbase_url = "https://proxy.example/v1"\n'
    assert bound(tmp_path, moved).row.data == DataPolicy()
    own = '[[providers]]\nid = "openai"\ndata = { retains_days = 0 }\n'
    assert bound(tmp_path, own).row.data.ceiling is DataClass.ZERO_RETENTION


def test_a_stated_policy_holds_for_every_model(tmp_path: Path):
    assert bound(tmp_path, "", "deepinfra").row.data_for
    own = '[[providers]]\nid = "deepinfra"\ndata = { trains = false }\n'
    assert bound(tmp_path, own, "deepinfra").row.data_for is None


def test_base_url_alone_points_a_row_elsewhere(tmp_path: Path):
    row = bound(tmp_path, '[[providers]]\nid = "anthropic"\nbase_url = "http://127.0.0.1:9/v1"\n', "anthropic")
    assert (row.row.dialect, row.row.auth, row.row.base_url) == (
        "anthropic_messages",
        "x-api-key",
        "http://127.0.0.1:9/v1",
    )
    assert row.trusted_origin
    assert not bound(tmp_path, "", "anthropic").trusted_origin


def test_servers_of_this_machine_are_meant_and_can_be_moved_by_their_variable(tmp_path: Path):
    assert bound(tmp_path, "", "ollama").trusted_origin
    assert bound(tmp_path, "", "ollama", OLLAMA_HOST="gpu:9").row.base_url == "http://gpu:9"
    row = '[[providers]]\nid = "ollama"\nbase_url = "http://here:1"\n'
    assert bound(tmp_path, row, "ollama", OLLAMA_HOST="gpu:9").row.base_url == "http://here:1"
    with pytest.raises(ConfigError, match=r"^\$OLLAMA_HOST must begin with"):
        bound(tmp_path, "", OLLAMA_HOST="ftp://gpu")


@pytest.mark.parametrize("url", ["http://here:1/v1", "http://here:1/v1/", "http://here:1/"])
def test_the_address_that_its_openai_clients_use_means_the_same_server(tmp_path: Path, url: str):
    row = f'[[providers]]\nid = "ollama"\nbase_url = "{url}"\n'
    assert bound(tmp_path, row, "ollama").row.base_url == "http://here:1"
    assert bound(tmp_path, "", "ollama", OLLAMA_HOST=url).row.base_url == "http://here:1"
    as_before = f'{row}dialect = "openai_chat"\n'
    assert bound(tmp_path, as_before, "ollama").row.base_url == url.rstrip("/")


def test_a_key_for_a_server_that_needs_none_is_sent(tmp_path: Path):
    assert bound(tmp_path, "", "vllm").row.auth == "none"
    assert bound(tmp_path, '[[providers]]\nid = "vllm"\napi_key = "k"\n', "vllm").row.auth == "bearer"


def test_a_credential_is_not_in_the_repr(tmp_path: Path):
    assert "sk-env" not in repr(bound(tmp_path, "", OPENAI_API_KEY="sk-env"))


PLACED = "https://bedrock-mantle.eu-west-1.api.aws/v1"


@pytest.mark.parametrize(
    ("provider", "env", "base_url"),
    [
        ("bedrock", {"AWS_REGION": "eu-west-1"}, PLACED),
        (
            "azure",
            {"AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com/"},
            "https://mine.openai.azure.com/openai/v1",
        ),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "mine.openai.azure.com"}, "https://mine.openai.azure.com/openai/v1"),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "https://mine.test/openai/v1/"}, "https://mine.test/openai/v1"),
        (
            "watsonx",
            {"WATSONX_URL": "https://us-south.ml.cloud.ibm.com"},
            "https://us-south.ml.cloud.ibm.com/ml/gateway/v1",
        ),
    ],
)
def test_the_environment_says_the_places_of_an_address(
    provider: str, env: dict[str, str], base_url: str, tmp_path: Path
):
    found = bound(tmp_path, "", provider, **env)
    assert (found.row.base_url, found.row.places, found.trusted_origin) == (base_url, [], False)


@pytest.mark.parametrize(
    "said",
    [
        "",
        " ",
        "a/b",
        "../x",
        "user@host",
        "a b",
        "http://mine.test",
        "https://",
        "https://u:p@h",
        "169.254.169.254",
        "a\r\nb",
    ],
)
def test_what_makes_no_address_leaves_it_open(said: str, tmp_path: Path):
    found = bound(tmp_path, "", "azure", AZURE_OPENAI_ENDPOINT=said, AZURE_OPENAI_API_KEY="k")
    assert found.row.places == ["AZURE_OPENAI_ENDPOINT"]


def test_a_key_of_the_environment_goes_to_the_address_of_the_environment_only(tmp_path: Path):
    env = {"AWS_REGION": "eu-west-1", "AWS_BEARER_TOKEN_BEDROCK": "k"}
    row = '[[providers]]\nid = "bedrock"\nbase_url = "https://bedrock-mantle.us-east-1.api.aws/v1"\n'
    assert revealed(bound(tmp_path, "", "bedrock", **env)) == ("k", "AWS_BEARER_TOKEN_BEDROCK")
    assert revealed(bound(tmp_path, row, "bedrock", **env)) == (None, "")
    named = row + 'api_key = "${AWS_BEARER_TOKEN_BEDROCK}"\n'
    assert revealed(bound(tmp_path, named, "bedrock", **env)) == ("k", "trivium.toml")


def test_a_configured_row_needs_its_address_and_is_told_how(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"c.toml:2: `azure` is served at an address of your own") as caught:
        bound(tmp_path, '[[providers]]\nid = "azure"\napi_key = "k"\n', "azure")
    assert caught.value.remedy == (
        'Write base_url = "https://{AZURE_OPENAI_ENDPOINT}/openai/v1" with yours, or set AZURE_OPENAI_ENDPOINT.'
    )


COMMAND = '[[providers]]\nid = "vertex"\nbase_url = "https://v.test/v1"\ntoken_command = ["gcloud", "auth", "x"]\n'


def test_a_command_says_the_key_and_goes_before_every_other(tmp_path: Path):
    credentials.save(tmp_path / "home", "vertex", "sk-login", "https://v.test:443")
    found = bound(tmp_path, COMMAND + 'token_ttl = "90s"\n', "vertex")
    assert found.token == TokenCommand(("gcloud", "auth", "x"), 90.0)
    assert revealed(found) == (None, "token_command")
    assert found.has_key
    assert bound(tmp_path, COMMAND, "vertex").token == TokenCommand(("gcloud", "auth", "x"), 300.0)
    own = COMMAND.replace('"vertex"', '"ollama"')
    assert bound(tmp_path, own, "ollama").row.auth == "bearer"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (COMMAND + 'api_key = "k"\n', r":4: `vertex` has an `api_key` and a `token_command`"),
        (COMMAND.replace('"gcloud"', '"./gcloud"'), r":4: `./gcloud` is no program"),
        (COMMAND.replace('"gcloud"', '"bin/gcloud"'), r"no program.*whole path"),
        (COMMAND.replace('"gcloud"', '""'), "no program"),
        (COMMAND.replace('["gcloud", "auth", "x"]', "[]"), "token_command"),
        (COMMAND.replace('["gcloud", "auth", "x"]', '"gcloud auth x"'), "token_command"),
        (COMMAND + 'token_ttl = "0s"\n', r":5: `token_ttl` must be longer than 0"),
        (COMMAND + "token_ttl = 60\n", "token_ttl"),
        (COMMAND.replace("token_command", "#") + 'token_ttl = "60s"\n', "belongs to a `token_command`"),
    ],
)
def test_a_command_that_cannot_be_meant_so(changed: str, message: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=message):
        bound(tmp_path, changed, "vertex")


@pytest.mark.parametrize("key", ["sk-hush…", "sk-hush\nx", "sk-hush\x7f"])
def test_a_key_of_the_environment_that_no_header_can_carry_is_refused_unseen(key: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"\$OPENAI_API_KEY has characters that no header can carry") as caught:
        bound(tmp_path, "", OPENAI_API_KEY=key)
    assert "hush" not in str(caught.value)
