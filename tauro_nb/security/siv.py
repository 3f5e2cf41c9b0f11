"""AES-SIV (RFC 5297) for many values at a time, byte for byte what `cryptography`'s `AESSIV` gives.

The mode is composed here, of the library's AES: one call of it for each value costs more than the cipher. All values
take a step of their chain in one call, and all blocks of the key stream are made in one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tauro_nb.security.runs import as_matrix, as_pieces

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tauro_nb.security.runs import Matrix

    Words = npt.NDArray[np.uint64]

__all__ = ["Siv"]

_BLOCK: Final = 16
_OVERFLOW: Final = (1 << 128) | 0x87
_FEWEST: Final = 16
_LONGEST: Final = 512
_ALL: Final = 0xFFFFFFFF_FFFFFFFF
_COUNTER: Final = 0x7FFFFFFF_7FFFFFFF
"""What is kept of the second half of a tag where the counter begins: counting never carries out of its low 31 bits."""


class Siv:
    """AES-SIV under one key, with one associated text.

    Parameters
    ----------
    key
        32, 48 or 64 bytes: the first half authenticates, the second encrypts.
    associated
        What is authenticated with each value.

    Examples
    --------
    >>> import numpy as np
    >>> siv = Siv(bytes(64), b"column")
    >>> values = np.frombuffer(b"onetwo", np.uint8).reshape(2, 3)
    >>> (sealed,) = siv.seal([values])
    >>> sealed.shape, siv.open([sealed])[0].tobytes()
    ((2, 19), b'onetwo')
    """

    ADDED: Final = _BLOCK
    """Bytes that a value grows by."""

    def __init__(self, key: bytes, associated: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        self._library, self._associated = AESSIV(key), [associated]
        half = len(key) // 2
        self._authenticate, self._encrypt = partial(_aes, key[:half]), partial(_aes, key[half:])
        self._complete = _doubled(int.from_bytes(self._authenticate(bytes(_BLOCK))))
        self._padded = _doubled(self._complete)
        self._chained = _doubled(_cmac(key[:half], bytes(_BLOCK))) ^ _cmac(key[:half], associated)

    def seal(self, plain: Sequence[Matrix]) -> list[Matrix]:
        """The values encrypted, each followed by its tag; matrices as `of_equal_length` makes them."""
        return _by_size(plain, _LONGEST, self._sealed, self._sealed_singly)

    def open(self, sealed: Sequence[Matrix]) -> list[Matrix]:
        """The values in what `seal` gave.

        Raises
        ------
        cryptography.exceptions.InvalidTag
            One of them was changed, or sealed with another key or associated text. Nothing is returned.
        """
        return _by_size(sealed, _LONGEST + self.ADDED, self._opened, self._opened_singly)

    def _sealed(self, plain: Sequence[Matrix]) -> list[Matrix]:
        import numpy as np

        tags = self._tags(plain)
        parts = zip(self._crypted(plain, tags), _shared(tags.view(np.uint8), plain), strict=True)
        return [np.hstack(pair) for pair in parts]

    def _opened(self, sealed: Sequence[Matrix]) -> list[Matrix]:
        import numpy as np
        from cryptography.exceptions import InvalidTag

        tags = np.concatenate([boxes[:, -_BLOCK:] for boxes in sealed]).view(np.uint64)
        plain = self._crypted([boxes[:, :-_BLOCK] for boxes in sealed], tags)
        # All bits of all tags are compared: the time says nothing of where they differ.
        if np.bitwise_or.reduce(self._tags(plain) ^ tags, axis=None):
            raise InvalidTag
        return plain

    def _sealed_singly(self, values: Matrix) -> Matrix:
        boxes = [self._library.encrypt(piece, self._associated) for piece in as_pieces(values)]
        return as_matrix([box[_BLOCK:] + box[:_BLOCK] for box in boxes], values.shape[1] + self.ADDED)

    def _opened_singly(self, boxes: Matrix) -> Matrix:
        decrypt, associated = self._library.decrypt, self._associated
        plain = [decrypt(box[-_BLOCK:] + box[:-_BLOCK], associated) for box in as_pieces(boxes)]
        return as_matrix(plain, boxes.shape[1] - self.ADDED)

    def _tags(self, plain: Sequence[Matrix]) -> Words:
        """S2V: CMAC of each value, with the associated text mixed in at its end."""
        import numpy as np

        blocks = [self._mixed(values) for values in plain]
        state = np.zeros((sum(map(len, plain)), 2), np.uint64)
        for step in range(blocks[-1].shape[1] if blocks else 0):
            begun = 0
            for values, own in zip(blocks, _shared(state, blocks), strict=True):
                if step < values.shape[1]:
                    np.bitwise_xor(own, values[:, step], out=own)
                else:
                    begun += len(values)
            # Shorter values come first, and are done.
            state[begun:] = np.frombuffer(self._authenticate(state[begun:].tobytes()), np.uint64).reshape(-1, 2)
        return state

    def _mixed(self, values: Matrix) -> Words:
        """The blocks that CMAC chains, for values of one length: rows, blocks, two words."""
        import numpy as np

        rows, length = values.shape
        count = max(1, -(-length // _BLOCK))
        mixed = np.zeros((rows, count * _BLOCK), np.uint8)
        mixed[:, :length] = values
        words = mixed.view(np.uint64)
        words ^= np.frombuffer(self._mask(length, count * _BLOCK), np.uint64)
        return words.reshape(rows, count, 2)

    def _mask(self, length: int, size: int) -> bytes:
        """What is added to every value of a length: the associated text, padding and the key of the last block."""
        spare = 8 * (size - length)
        padding = 1 << (spare - 1) if spare else 0
        if length < _BLOCK:
            # The value was padded before, to a complete block.
            return (_doubled(self._chained) ^ padding ^ self._complete).to_bytes(size)
        last = self._padded if spare else self._complete
        return ((self._chained << spare) ^ padding ^ last).to_bytes(size)

    def _crypted(self, values: Sequence[Matrix], tags: Words) -> list[Matrix]:
        """The values in counter mode, each from its tag on; the inverse of itself."""
        import numpy as np

        begins = tags.view(">u8") & np.array([_ALL, _COUNTER], np.uint64)
        counters = [
            _counters(own, matrix.shape[1]) for matrix, own in zip(values, _shared(begins, values), strict=True)
        ]
        stream = np.frombuffer(self._encrypt(b"".join(own.data for own in counters)), np.uint8)
        found, at = [], 0
        for matrix, own in zip(values, counters, strict=True):
            rows, length = matrix.shape
            mine = stream[at : at + own.nbytes].reshape(rows, -1)
            found.append(mine[:, :length] ^ matrix)
            at += own.nbytes
        return found


def _by_size(
    matrices: Sequence[Matrix],
    longest: int,
    work: Callable[[Sequence[Matrix]], list[Matrix]],
    work_singly: Callable[[Matrix], Matrix],
) -> list[Matrix]:
    """Work on many values of a length at once; on few or long ones, whose steps would cost more, one by one."""
    many = [matrix for matrix in matrices if len(matrix) >= _FEWEST and matrix.shape[1] <= longest]
    done = iter(work(many) if many else ())
    own = {id(matrix) for matrix in many}
    return [next(done) if id(matrix) in own else work_singly(matrix) for matrix in matrices]


def _counters(begins: Words, length: int) -> npt.NDArray[np.void]:
    """The counter blocks for values of a length: rows, blocks, two words of the highest byte first."""
    import numpy as np

    count = -(-length // _BLOCK)
    counters = np.empty((len(begins), count, 2), ">u8")
    counters[:, :, 0] = begins[:, :1]
    counters[:, :, 1] = begins[:, 1:] + np.arange(count, dtype=np.uint64)
    return counters


def _shared(rows: npt.NDArray[Any], among: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Rows as parts that are as high as the given matrices."""
    import numpy as np

    return np.split(rows, np.cumsum([len(matrix) for matrix in among])[:-1])


def _aes(key: bytes, blocks: bytes) -> bytes:
    """Each block by itself."""
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import ECB

    # The building block of CMAC and of the key stream: no value is encrypted this way.
    return Cipher(AES(key), ECB()).encryptor().update(blocks)  # noqa: S305


def _cmac(key: bytes, text: bytes) -> int:
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.cmac import CMAC

    mac = CMAC(AES(key))
    mac.update(text)
    return int.from_bytes(mac.finalize())


def _doubled(block: int) -> int:
    """Twice an element of the field that CMAC and S2V count in."""
    return (block << 1) ^ (_OVERFLOW if block >> 127 else 0)
