"""Numbers in few characters, and text that cannot do anything to a terminal."""

import pytest

from shmbus.tools import text


@pytest.mark.parametrize(
    ("number", "width", "shown"),
    [
        (0, 6, "0"),
        (1204, 6, "1,204"),
        (99_999, 6, "99,999"),
        (100_000, 6, "100k"),
        (1_234_567, 6, "1.23M"),
        (2**63, 6, "9.22E"),
        (1_234_567, 0, "1,234,567"),
    ],
)
def test_a_count_keeps_its_digits_as_long_as_they_fit(number, width, shown):
    assert text.count(number, width) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (10_300, "10.1 KiB"),
        (1024**2 + 9999, "1.01 MiB"),
        (2**62, "4 EiB"),
    ],
)
def test_a_size_fits_eight_characters(number, shown):
    assert text.size(number) == shown
    assert len(text.size(number)) <= 8


@pytest.mark.parametrize(("number", "shown"), [(0, "0"), (0.01, "0"), (0.4, "0.4"), (12.3, "12"), (1530, "1.53k")])
def test_a_rate_fits_six_characters(number, shown):
    assert text.rate(number) == shown


@pytest.mark.parametrize("number", [999.5, 999_499, 999_500, 999_999_999, 10**18])
def test_rounding_never_makes_a_number_longer_than_its_column(number):
    assert len(text.rate(number)) <= 6
    assert len(text.size(number)) <= 8
    assert len(text.count(int(number), 6)) <= 6


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0 %"), (0.0001, "<1 %"), (0.5, "50 %"), (0.999, "99 %"), (1, "100 %")]
)
def test_what_is_not_nothing_and_what_is_not_full_do_not_look_so(share, shown):
    assert text.percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.85, "850 ms"), (12, "12 s"), (200, "3 min 20 s"), (3600, "1 h"), (18_720, "5 h 12 min"), (273_600, "3 d 4 h")],
)
def test_a_duration_has_at_most_two_units(seconds, shown):
    assert text.duration(seconds) == shown


def test_a_long_topic_keeps_its_end():
    short = text.shorten("events.process.metadata.of.somebody", 20)
    assert short == "events…a.of.somebody"
    assert len(short) == 20


def test_what_could_move_a_cursor_or_forge_a_line_is_escaped():
    assert text.printable("a\x1b[2Jb\nc\x07\u202ed") == "a\\x1b[2Jb\\nc\\x07\\u202ed"
    assert text.printable("\udcff") == "\\udcff"
    assert text.printable("héllo 日本") == "héllo 日本"
