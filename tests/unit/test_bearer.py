"""Bearer tokens and what is kept of them."""

import pytest

from shmbus.bearer import HashedToken, make_token, name_in


def test_a_token_is_known_again_by_what_the_configuration_keeps_of_it():
    token, hashed = make_token("ci")
    kept = HashedToken.parse(str(hashed))
    assert kept == hashed and kept.is_of(token) and name_in(token) == "ci"
    assert token not in str(hashed)


def test_no_other_token_is_taken_for_it():
    token, hashed = make_token("ci")
    other, hashed_otherwise = make_token("ci")
    assert other != token and not hashed.is_of(other) and not hashed.is_of(token[:-1]) and not hashed.is_of("")
    assert not hashed_otherwise.is_of(token)


def test_the_same_token_is_hashed_with_another_salt_each_time():
    assert len({make_token("ci")[1].salt for _ in range(8)}) == 8


@pytest.mark.parametrize(
    "text", ["", "ci.secret", "blake2b$$", "blake2b$00$00", "scrypt$" + "00" * 16 + "$" + "00" * 32]
)
def test_what_is_no_hash_is_refused_and_not_repeated(text):
    with pytest.raises(ValueError, match="shmbus access token") as caught:
        HashedToken.parse(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "Ci", "a.b", "x" * 33])
def test_a_name_is_a_short_word(name):
    with pytest.raises(ValueError, match="1 to 32 characters"):
        make_token(name)
