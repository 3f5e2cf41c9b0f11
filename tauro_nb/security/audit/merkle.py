"""The Merkle tree of RFC 6962 over a growing list of records, kept as the few roots of its complete parts."""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["MerkleTree"]

_MOST_WAITING: Final = 256


class MerkleTree:
    """The tree head of everything appended so far, in logarithmic space.

    Examples
    --------
    >>> tree = MerkleTree()
    >>> tree.root().hex()[:16]  # of no record: the hash of nothing
    'e3b0c44298fc1c14'
    >>> tree.append(b"")
    >>> tree.root().hex()[:16]
    '6e340b9cffb37a98'
    """

    __slots__ = ("_leaf", "_node", "_parts", "_waiting", "size")

    def __init__(self) -> None:
        self.size = 0
        # Begun once and copied: to begin a hash takes longer than to hash a record.
        self._leaf = hashlib.sha256(b"\x00")
        self._node = hashlib.sha256(b"\x01")
        # Roots of complete subtrees, the largest first; their sizes are the bits of how many records are in them.
        self._parts: list[bytes] = []
        # Taken in many at a time: between two queries this code is in no cache.
        self._waiting: list[bytes] = []

    def append(self, record: bytes) -> None:
        """Add one record."""
        self._waiting.append(record)
        self.size += 1
        if len(self._waiting) >= _MOST_WAITING:
            self._take_in()

    def _take_in(self) -> None:
        parts, size = self._parts.copy(), self.size - len(self._waiting)
        for record in self._waiting:
            leaf = self._leaf.copy()
            leaf.update(record)
            node, below = leaf.digest(), size
            while below & 1:
                node = self._joined(parts.pop(), node)
                below >>= 1
            parts.append(node)
            size += 1
        # At once, whatever interrupts: a record that is taken in twice would be signed so.
        self._parts, self._waiting = parts, []

    def root(self) -> bytes:
        """The tree head."""
        self._take_in()
        if not self._parts:
            return hashlib.sha256().digest()
        parts = iter(reversed(self._parts))
        node = next(parts)
        for part in parts:
            node = self._joined(part, node)
        return node

    def _joined(self, left: bytes, right: bytes) -> bytes:
        joined = self._node.copy()
        joined.update(left + right)
        return joined.digest()
