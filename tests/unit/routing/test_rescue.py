"""Who may go on with an answer that broke off, and how; where its text is cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium import errors
from trivium.catalog.rows import Endpoint, Provider
from trivium.routing import rescue
from trivium.routing.rescue import Shape
from trivium.routing.route import Route
from trivium.types.data import DataClass

PLAIN: dict[str, bool] = {"plain": True, "structured": False, "verifiable": True, "deterministic": False}
CALLS: dict[str, bool] = {"plain": False, "structured": False, "verifiable": True, "deterministic": True}


def endpoint(name: str, weights: str | None = "w", *, engine: bool = False, prefill: bool = False) -> Endpoint:
    return Endpoint(
        id=f"{'local' if engine else 'far'}/{name}",
        provider=Provider(id="local" if engine else "far", access="local" if engine else "direct"),
        model=name,
        price=None,
        context=None,
        max_output=None,
        capabilities=frozenset({"prefill"} if prefill else ()),
        ceiling=DataClass.ANY,
        weights=weights,
        engine=name if engine else None,
    )


FAR = endpoint("far")
ENGINE = endpoint("engine", engine=True)
OTHER_ENGINE = endpoint("other", "v", engine=True)
TWIN = endpoint("twin", prefill=True)
MUTE = endpoint("mute")
UNKNOWN = endpoint("unknown", None, prefill=True)


def mode(how: str, target: Endpoint, broken: Endpoint = FAR, *, other: bool = False, **shape: bool) -> str | None:
    route = Route(name="r", targets=("a", "b"), rescue=how, rescue_other_model=other)  # type: ignore[arg-type]
    found = rescue.mode(route, broken, target, Shape(**PLAIN | shape))
    if found is not None:
        assert rescue.may_need(route, broken, [MUTE, target])  # what is used was kept
    return found


def test_of_itself_only_our_engine_with_the_same_weights_goes_on() -> None:
    assert mode("auto", ENGINE) == "continue"
    for target in (OTHER_ENGINE, TWIN, MUTE, UNKNOWN):
        assert mode("auto", target) is None
    assert mode("auto", ENGINE, broken=endpoint("nobody", None)) is None


def test_auto_walks_down_to_a_restart_that_is_expected_to_say_the_same() -> None:
    assert mode("auto", ENGINE, **CALLS) == "restart"
    assert mode("auto", ENGINE, **CALLS | {"deterministic": False}) is None
    assert mode("auto", ENGINE, **CALLS | {"verifiable": False}) is None
    assert mode("auto", OTHER_ENGINE, other=True, **CALLS) is None  # it would be paid for in vain


def test_a_grammar_is_continued_by_our_engines_alone() -> None:
    assert mode("continue", ENGINE, structured=True) == "continue"
    assert mode("continue", TWIN, structured=True) is None


def test_a_route_may_name_the_way_and_other_weights() -> None:
    assert mode("continue", TWIN) == "continue"
    assert mode("continue", MUTE) is None
    assert mode("continue", UNKNOWN) is None
    assert mode("continue", UNKNOWN, other=True) == "continue"
    assert mode("continue", TWIN, plain=False, deterministic=True) is None
    assert mode("restart", TWIN) is None
    assert mode("restart", MUTE, deterministic=True) == "restart"
    assert mode("restart", OTHER_ENGINE, deterministic=True) is None
    assert mode("restart", OTHER_ENGINE, other=True, deterministic=True) == "restart"


@pytest.mark.parametrize("how", ["terminate", "hold"])
def test_where_nobody_goes_on_nothing_is_kept(how: Any) -> None:
    route = Route(name="r", targets=("a",), rescue=how, rescue_other_model=True)
    assert mode(how, ENGINE, other=True, deterministic=True) is None
    assert not rescue.may_need(route, FAR, [ENGINE, TWIN])


def test_an_answer_is_kept_only_if_a_later_endpoint_could_go_on_with_it() -> None:
    route = Route(name="r", targets=("a",))
    assert rescue.may_need(route, FAR, [MUTE, ENGINE])
    assert not rescue.may_need(route, FAR, [MUTE, TWIN, OTHER_ENGINE])
    assert not rescue.may_need(route, FAR, [])


def test_a_refusal_is_not_routed_around_and_our_own_fault_not_either() -> None:
    for error in (errors.UpstreamCut("x"), errors.UpstreamTimeout("x"), errors.UpstreamOverloaded("x")):
        assert rescue.is_worth(error)
    for other in (errors.UpstreamRefused("x"), errors.UpstreamRejected("x"), errors.InternalError("x")):
        assert not rescue.is_worth(other)


def test_a_restart_needs_the_time_that_was_taken_so_far() -> None:
    assert rescue.in_time("continue", left_s=2.0, first_s=1.0, said_s=5.0)
    assert not rescue.in_time("restart", left_s=2.0, first_s=1.0, said_s=5.0)
    assert not rescue.in_time("continue", left_s=1.0, first_s=1.0, said_s=0.0)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("The quick bro", "The quick"),
        ("The quick brown ", "The quick brown"),
        ("The quick\n\n", "The quick"),
        ("The", "The"),
        ("The ", "The"),
        (" The", " The"),
        ("  \n", ""),
        ("東京は日本の首都です。それは大きな都市であり、多くの人々が住んでいます。とても", None),
        ("one " + "x" * 32, "one"),
        ("one " + "x" * 33, None),
    ],
)
def test_a_text_is_cut_at_the_end_of_a_word(text: str, start: str | None) -> None:
    assert text[: rescue.boundary(text, whole_tokens=False)] == (text if start is None else start)


def test_of_whole_tokens_only_blanks_are_cut() -> None:
    assert rescue.boundary("The quick bro", whole_tokens=True) == 13
    assert rescue.boundary("The quick ", whole_tokens=True) == 9


@given(st.text(alphabet="ab \n", max_size=80), st.booleans())
def test_a_cut_is_short_and_never_ends_on_a_blank(text: str, whole: bool) -> None:
    at = rescue.boundary(text, whole_tokens=whole)
    assert not text[:at] or not text[at - 1].isspace()
    assert len(text[at:].strip()) <= rescue.CUT_CHARS_MAX
    assert at or not text.strip()


def test_what_would_complete_a_stop_sequence_that_has_begun() -> None:
    assert rescue.stops_left("so it was##", ["###", "END"]) == {"#": "###", "##": "###"}
    assert rescue.stops_left("so it was", ["###", "END"]) == {}


@given(st.text("ab", max_size=12), st.text("ab", max_size=12), st.text("ab", min_size=1, max_size=4))
def test_a_stop_sequence_over_the_seam_is_found_by_what_is_left_of_it(said: str, new: str, stop: str) -> None:
    if stop in said:
        return  # the answer had ended
    across = any((said + new).startswith(stop, at) for at in range(max(0, len(said) - len(stop) + 1), len(said)))
    assert any(new.startswith(left) for left in rescue.stops_left(said, [stop])) == across


@pytest.mark.parametrize(
    ("text", "inside"),
    [('{"a', True), ('{"a"', False), (r'{"a\"', True), (r'{"a\\"', False), ("{", False), ('["\\', True)],
)
def test_blanks_mean_something_inside_a_string(text: str, inside: bool) -> None:
    assert rescue.within_string(text) == inside
