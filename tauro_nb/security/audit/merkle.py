"""The Merkle tree of RFC 6962 over a growing list of records, kept as the few roots of its complete parts."""

from __future__ import annotations

import hashlib

__all__ = ["MerkleTree"]


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

    __slots__ = ("_leaf", "_node", "_parts", "size")

    def __init__(self) -> None:
        self.size = 0
        # Begun once and copied: to begin a hash takes longer than to hash a record.
        self._leaf = hashlib.sha256(b"\x00")
        self._node = hashlib.sha256(b"\x01")
        # Roots of complete subtrees, the largest first; their sizes are the bits of `size`.
        self._parts: list[bytes] = []

    def append(self, record: bytes) -> None:
        """Add one record."""
        leaf = self._leaf.copy()
        leaf.update(record)
        node, size = leaf.digest(), self.size
        while size & 1:
            node = self._joined(self._parts.pop(), node)
            size >>= 1
        self._parts.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The tree head."""
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
