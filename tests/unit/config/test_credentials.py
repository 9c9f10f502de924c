from pathlib import Path

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.backends.null
import pytest

from trivium.config import credentials
from trivium.config.shipped import catalog
from trivium.errors import UsageError

ORIGIN = "https://api.openai.com:443"


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A real back end that keeps passwords in memory."""

    priority = 1.0  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def ring():
    before = keyring.get_keyring()
    memory = MemoryKeyring()
    keyring.set_keyring(memory)
    yield memory
    keyring.set_keyring(before)


@pytest.fixture(params=[keyring.backends.fail.Keyring, keyring.backends.null.Keyring])
def broken_ring(request: pytest.FixtureRequest):
    before = keyring.get_keyring()
    keyring.set_keyring(request.param())
    yield
    keyring.set_keyring(before)


def revealed(home: Path, provider: str = "openai", origin: str = ORIGIN) -> str | None:
    secret = credentials.load(home, provider, origin)
    return secret.reveal() if secret else None


def test_a_working_keyring_keeps_the_key_and_the_file_does_not(ring: MemoryKeyring, tmp_path: Path):
    assert credentials.save(tmp_path, "openai", "sk-secret", ORIGIN) == "keyring"
    assert list(ring.kept.values()) == ["sk-secret"]
    assert "sk-secret" not in (tmp_path / "credentials.json").read_text()
    assert revealed(tmp_path) == "sk-secret"
    assert credentials.remove(tmp_path, "openai")
    assert ring.kept == {}
    assert revealed(tmp_path) is None


@pytest.mark.usefixtures("broken_ring")
def test_without_one_a_private_file_does(tmp_path: Path):
    home = tmp_path / "home"
    assert credentials.save(home, "openai", "sk-secret", ORIGIN) == "file"
    assert (home / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert revealed(home) == "sk-secret"
    assert credentials.kept(home) == ("openai",)
    assert credentials.remove(home, "openai")
    assert not credentials.remove(home, "openai")
    assert credentials.kept(home) == ()


@pytest.mark.usefixtures("broken_ring")
def test_a_key_is_given_out_for_its_own_origin_only(tmp_path: Path):
    credentials.save(tmp_path, "openai", "sk-secret", ORIGIN)
    assert revealed(tmp_path, origin="https://evil.example:443") is None
    assert revealed(tmp_path, provider="other") is None


@pytest.mark.usefixtures("broken_ring")
def test_homes_do_not_share_keys(tmp_path: Path):
    credentials.save(tmp_path / "a", "openai", "one", ORIGIN)
    credentials.save(tmp_path / "b", "openai", "two", ORIGIN)
    assert (revealed(tmp_path / "a"), revealed(tmp_path / "b")) == ("one", "two")


def test_a_broken_file_holds_nothing(tmp_path: Path):
    (tmp_path / "credentials.json").write_text("[")
    assert credentials.kept(tmp_path) == ()


@pytest.mark.parametrize("text", ["sk-x", "  sk-x\n", '"sk-x"', "'sk-x' ", "\ufeffsk-x\u200b"])
def test_what_is_pasted_around_a_key_is_dropped(text: str):
    assert credentials.normalise(text) == "sk-x"


ANTHROPIC = "sk-ant-api03-" + "a" * 40
OPENAI = "sk-proj-" + "a" * 40


@pytest.mark.parametrize(
    ("provider", "key", "words"),
    [
        ("openai", ANTHROPIC, r"looks like a key of Anthropic, not of OpenAI. Use `trivium login anthropic`"),
        ("anthropic", OPENAI, "looks like a key of OpenAI, not of Anthropic"),
        ("mistral", "gsk_" + "a" * 40, "looks like a key of Groq, not of Mistral AI"),
        ("lab", "sk-or-v1-" + "a" * 40, "looks like a key of OpenRouter, not of lab"),
        ("openai", "", "is empty or has spaces"),
        ("openai", "two words", "is empty or has spaces"),
        ("openai", "pаss", "is empty or has spaces"),
    ],
)
def test_another_provider_s_form_of_key_is_refused(provider: str, key: str, words: str):
    with pytest.raises(UsageError, match=words) as caught:
        credentials.check_form(provider, key, catalog())
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "key"), [("openai", OPENAI), ("anthropic", ANTHROPIC), ("openai", "new-form-123"), ("lab", "x")]
)
def test_its_own_form_and_unknown_forms_are_taken(provider: str, key: str):
    credentials.check_form(provider, key, catalog())


def test_a_keyring_that_does_not_let_a_key_go_is_not_said_to_have(ring: MemoryKeyring, tmp_path: Path):
    credentials.save(tmp_path, "openai", "sk-secret", ORIGIN)
    keyring.set_keyring(keyring.backends.fail.Keyring())
    with pytest.raises(UsageError, match="the key is still in it"):
        credentials.remove(tmp_path, "openai")
    keyring.set_keyring(ring)
    assert revealed(tmp_path) == "sk-secret"
    ring.kept.clear()  # by its own program
    assert credentials.remove(tmp_path, "openai")


@pytest.mark.usefixtures("broken_ring")
def test_keys_in_a_file_that_cannot_be_read_are_not_overwritten(tmp_path: Path):
    (tmp_path / "credentials.json").write_text('{"openai": {"origin": "o", "key": "sk-secret"}')
    with pytest.raises(UsageError, match="would be lost"):
        credentials.save(tmp_path, "groq", "gsk_other", ORIGIN)
    assert "sk-secret" in (tmp_path / "credentials.json").read_text()
