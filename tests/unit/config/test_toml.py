import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.config.toml import dotted, read

TRICKY = '''\
# [not.a.table]
top = 1   # = 2

[server]
listen = """
[routes]
name = "not me"
"""
'quoted key' = 'a = [ "b" '
"esc\\u0061ped" = 3
deep.er.key = true

[[routes]]
name = "one"
targets = [
  "a]",   # ] not the end
  { x = "}" },
]
[routes.timeouts]
total = "3s"

[[routes]]
name = "two"
  [[routes.rules]]
  when = 1
  [[routes.rules]]
  when = 2
[ spaced . "out" ]
x = {a = 1, b = [1,
2]}
last = 2024-01-01T00:00:00Z
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("server",), 4),
        (("server", "listen"), 5),
        (("server", "quoted key"), 9),
        (("server", "escaped"), 10),
        (("server", "deep"), 11),
        (("server", "deep", "er", "key"), 11),
        (("routes",), 13),
        (("routes", 0), 13),
        (("routes", 0, "name"), 14),
        (("routes", 0, "targets"), 15),
        (("routes", 0, "targets", 1), 15),
        (("routes", 0, "timeouts", "total"), 20),
        (("routes", 1, "name"), 23),
        (("routes", 1, "rules"), 24),
        (("routes", 1, "rules", 0, "when"), 25),
        (("routes", 1, "rules", 1, "when"), 27),
        (("spaced", "out", "x"), 29),
        (("spaced", "out", "last"), 31),
        (("nowhere",), 0),
        ((), 0),
    ],
)
def test_every_key_knows_its_line(path: tuple[str | int, ...], line: int):
    assert read(TRICKY.encode(), "f").line(path) == line


def test_windows_line_ends_and_a_byte_order_mark_change_nothing():
    data = b"\xef\xbb\xbf" + TRICKY.replace("\n", "\r\n").encode()
    assert read(data, "f").lines == read(TRICKY.encode(), "f").lines


KEYS = st.sampled_from(["a", "b-1", "c_d", '"e f"', "'g.h'", "i.j", 'k."l]"'])
VALUES = st.sampled_from(
    [
        "1",
        '"x"',
        "'#'",
        '"""\n[x]\n\\""" y"""',
        "'''\na=1\n'''",
        "[1,\n 2]",
        "{a=1}",
        '["]", # ]\n]',
        '""""a"""',
        "true # c",
    ]
)


@given(st.lists(st.tuples(st.integers(0, 2), VALUES), max_size=12), KEYS)
def test_the_line_of_a_key_is_where_it_was_written(entries: list[tuple[int, str]], key: str):
    lines: list[str] = []
    expected: list[int] = []
    for number, (blanks, value) in enumerate(entries):
        lines += ["# ["] * blanks + [f"[[t]] # {number}"]
        expected.append(sum(line.count("\n") + 1 for line in lines) + 1)
        lines.append(f"{key} = {value}")
    text = "\n".join(lines)
    first = next(iter(tomllib.loads(f"{key} = 1")))
    document = read(text.encode(), "f")
    assert [document.line(("t", index, first)) for index in range(len(entries))] == expected


@given(st.text(alphabet="[]{}=\"'#\n\\ ab.1", max_size=60))
def test_whatever_is_toml_has_every_key_located(text: str):
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    document = read(text.encode(), "f")
    assert all(document.line((key,)) > 0 for key in data)


def test_paths_are_written_as_people_write_them():
    assert dotted(("routes", 0, "timeouts", "total")) == "routes[0].timeouts.total"


def test_an_error_names_the_nearest_word_or_all_if_they_are_few():
    document = read(b"[server]\nlistn = 1\n", "f.toml")
    near = document.error(("server", "listn"), "no", wrong="listn", valid=["listen", "admin"])
    assert (near.message, near.remedy) == ("f.toml:2: no.", "Did you mean `listen`?")
    far = document.error(("server", "listn"), "no", wrong="zzz", valid=["listen", "admin"], remedy="Look.")
    assert far.remedy == "Valid here: `admin`, `listen`. Look."
    many = document.error((), "no", wrong="zzz", valid=[str(n) * 9 for n in range(100, 120)])
    assert (many.message, many.remedy) == ("f.toml: no.", "")
