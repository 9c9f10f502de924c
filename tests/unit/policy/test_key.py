import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from trivium.policy.key import digest_of, kid_of

SECRET = bytes(range(32))


def test_a_digest_names_its_algorithm_and_its_key():
    digest = digest_of(SECRET, "tr-abc")
    algorithm, kid, text = digest.split(":")
    assert (algorithm, kid) == ("hmac-sha256", kid_of(SECRET))
    assert text == hmac.new(SECRET, b"tr-abc", hashlib.sha256).hexdigest()
    assert len(kid) == 8


def test_another_secret_gives_another_kid_and_another_digest():
    other = digest_of(b"x" * 32, "tr-abc")
    assert other.split(":")[1] != kid_of(SECRET)
    assert other.split(":")[2] != digest_of(SECRET, "tr-abc").split(":")[2]


@given(st.text(), st.text())
def test_only_equal_tokens_have_equal_digests(one: str, other: str):
    assert (digest_of(SECRET, one) == digest_of(SECRET, other)) == (one == other)


def test_any_text_that_a_header_may_decode_to_has_a_digest():
    assert digest_of(SECRET, "\udcff").startswith("hmac-sha256:")
