"""Text for messages; `test_cli` tests the streams of whole processes."""

import doctest

import pytest

from shared import streams


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(streams) == (0, 1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe 42 №.jpg", "größe 42 №.jpg"),
        ("a\tb\r\n", r"a\tb\r\n"),
        ("chemise-\udce9t\udce9.jpg", r"chemise-\udce9t\udce9.jpg"),
        ("\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}gpj", r"\x1b[2J\u202egpj"),
    ],
)
def test_characters_that_no_line_can_show_are_escaped(text, shown):
    assert streams.printable(text) == shown
