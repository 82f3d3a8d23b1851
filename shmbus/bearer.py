"""Bearer tokens: what a client presents, and what the configuration keeps of it.

    ci.bT3mR0...          the token: its name, and 256 random bits that only its holder knows
    blake2b$5f0c...$9a1e...   in the configuration: a random salt, and the keyed hash of the token

A hash that is slow on purpose is for secrets that people choose: nobody guesses 256 random bits. This one takes two
microseconds, so that whoever presents wrong ones cannot keep the coordinator busy.
"""

import hashlib
import hmac
import re
import secrets
from typing import Final, NamedTuple, Self

SECRET_BYTES: Final = 32
SALT_BYTES: Final = 16
DIGEST_BYTES: Final = 32
MAX_BYTES: Final = 256
"""Of a token. What is longer is none."""

_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_SCHEME = "blake2b"


class HashedToken(NamedTuple):
    """What is kept of a token: enough to know it again, and not enough to present it."""

    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, token: str, salt: bytes) -> Self:
        """The hash of a token."""
        return cls(salt, hashlib.blake2b(token.encode(), key=salt, digest_size=DIGEST_BYTES).digest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """As it stands in the configuration. Raises ValueError, which does not repeat the text: it may be a secret."""
        scheme, _, rest = text.partition("$")
        salt, _, digest = rest.partition("$")
        try:
            found = cls(bytes.fromhex(salt), bytes.fromhex(digest))
        except ValueError:
            found = cls(b"", b"")
        if scheme != _SCHEME or (len(found.salt), len(found.digest)) != (SALT_BYTES, DIGEST_BYTES):
            raise ValueError("is no hash of a token: `shmbus access token NAME` makes one and prints the line for here")
        return found

    def __str__(self) -> str:
        return f"{_SCHEME}${self.salt.hex()}${self.digest.hex()}"

    def is_of(self, token: str) -> bool:
        """Is this the token? It takes as long to say no as to say yes."""
        return hmac.compare_digest(type(self).of(token, self.salt).digest, self.digest)


class KnownToken(NamedTuple):
    """A token that somebody has proved to hold. Whose hash is replaced in the configuration is known no more."""

    name: str
    hashed: HashedToken


def make_token(name: str) -> tuple[str, HashedToken]:
    """A new token, to be given to its holder and kept nowhere else, and its hash. Raises ValueError."""
    check_token_name(name)
    token = f"{name}.{secrets.token_urlsafe(SECRET_BYTES)}"
    return token, HashedToken.of(token, secrets.token_bytes(SALT_BYTES))


def check_token_name(name: str) -> str:
    """The name itself, if it can be one. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no token's name: 1 to 32 characters of a-z, 0-9, '_' and '-'")
    return name


def name_in(token: str) -> str:
    """What a token says it is called, whoever made it up."""
    return token.partition(".")[0]
