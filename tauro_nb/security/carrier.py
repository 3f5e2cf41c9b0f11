"""The text that carries a token: `tnb1.` and base64url without padding, for many tokens at a time."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tauro_nb.security.runs import Matrix

__all__ = ["PREFIX", "CutError", "carried", "uncarried"]

PREFIX: Final = "tnb1."
_START: Final = PREFIX.encode()
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
# What is no letter of base64url becomes one that the strict decoder refuses.
_FROM_URL: Final = bytes.maketrans(b"-_+/=", b"+/...")
_BYTES, _LETTERS = 3, 4


class CutError(ValueError):
    """No text of letters has this length: something is missing."""


def carried(head: bytes, bodies: Matrix) -> Matrix:
    """The texts of tokens of one length, as rows of ASCII letters.

    Examples
    --------
    >>> import numpy as np
    >>> carried(b"A", np.zeros((1, 3), np.uint8)).tobytes()
    b'tnb1.QQAAAA'
    """
    import numpy as np

    rows, size = len(bodies), len(head) + bodies.shape[1]
    # Zeros to the next whole group of letters; those that stand for them are dropped again.
    whole = np.zeros((rows, -(-size // _BYTES) * _BYTES), np.uint8)
    whole[:, : len(head)] = np.frombuffer(head, np.uint8)
    whole[:, len(head) : size] = bodies
    letters = np.frombuffer(binascii.b2a_base64(whole.data, newline=False).translate(_TO_URL), np.uint8)
    count = -(-size * _LETTERS // _BYTES)
    texts = np.empty((rows, len(_START) + count), np.uint8)
    texts[:, : len(_START)] = np.frombuffer(_START, np.uint8)
    texts[:, len(_START) :] = letters.reshape(rows, -1)[:, :count]
    return texts


def uncarried(texts: Matrix, least: int) -> Matrix:
    """The tokens in texts of one length, of at least so many bytes; a token has one spelling only.

    Raises
    ------
    CutError
        The length is that of no token.
    ValueError
        One of them is not written as tokens are.
    """
    import numpy as np

    rows, count = texts.shape[0], texts.shape[1] - len(_START)
    if count < 0 or (texts[:, : len(_START)] != np.frombuffer(_START, np.uint8)).any():
        raise ValueError("no token begins like this")
    whole = np.full((rows, -(-count // _LETTERS) * _LETTERS), ord("A"), np.uint8)
    whole[:, :count] = texts[:, len(_START) :]
    found = binascii.a2b_base64(whole.tobytes().translate(_FROM_URL), strict_mode=True)
    size = count * _BYTES // _LETTERS
    if count % _LETTERS == 1 or size < least:
        raise CutError("letters are missing")
    tokens = np.frombuffer(found, np.uint8).reshape(rows, -1)
    # The last letter may have bits to spare: there is one way to write a token, with none of them set.
    if tokens[:, size:].any():
        raise ValueError("a letter says more than the token has")
    return tokens[:, :size]
