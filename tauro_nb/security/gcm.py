"""AES-256-GCM with random nonces."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tauro_nb.security.runs import as_matrix, as_pieces

if TYPE_CHECKING:
    from tauro_nb.security.runs import Matrix

__all__ = ["Gcm"]

_NONCE: Final = 12
_TAG: Final = 16


class Gcm:
    """AES-GCM under one key, with one associated text.

    Parameters
    ----------
    key
        32 bytes.
    associated
        What is authenticated with each value.

    Examples
    --------
    >>> import numpy as np
    >>> gcm = Gcm(bytes(32), b"column")
    >>> (sealed,) = gcm.seal([np.frombuffer(b"onetwo", np.uint8).reshape(2, 3)])
    >>> sealed.shape, gcm.open([sealed])[0].tobytes()
    ((2, 31), b'onetwo')
    """

    ADDED: Final = _NONCE + _TAG
    """Bytes that a value grows by."""

    def __init__(self, key: bytes, associated: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher, self._associated = AESGCM(key), associated

    def seal(self, plain: Sequence[Matrix]) -> list[Matrix]:
        """The values encrypted, each between its nonce and its tag; matrices as `of_equal_length` makes them."""
        return [self._sealed(values) for values in plain]

    def open(self, sealed: Sequence[Matrix]) -> list[Matrix]:
        """The values in what `seal` gave.

        Raises
        ------
        cryptography.exceptions.InvalidTag
            One of them was changed, or sealed with another key or associated text. Nothing is returned.
        """
        return [self._opened(boxes) for boxes in sealed]

    def _sealed(self, values: Matrix) -> Matrix:
        encrypt, associated = self._cipher.encrypt, self._associated
        random = os.urandom(_NONCE * len(values))
        nonces = (random[at : at + _NONCE] for at in range(0, len(random), _NONCE))
        pieces = [
            nonce + encrypt(nonce, piece, associated) for nonce, piece in zip(nonces, as_pieces(values), strict=True)
        ]
        return as_matrix(pieces, values.shape[1] + self.ADDED)

    def _opened(self, boxes: Matrix) -> Matrix:
        decrypt, associated = self._cipher.decrypt, self._associated
        pieces = [decrypt(box[:_NONCE], box[_NONCE:], associated) for box in as_pieces(boxes)]
        return as_matrix(pieces, boxes.shape[1] - self.ADDED)
