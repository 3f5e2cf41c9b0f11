"""Byte strings of a column, those of equal length together as one matrix: work for many values at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Matrix = npt.NDArray[np.uint8]
    Order = npt.NDArray[np.int64]

__all__ = ["as_matrix", "as_pieces", "as_texts", "batches", "in_batches", "of_equal_length", "together"]

# Enough to make the cost of a step small beside its work, few enough for the processor's cache.
_BATCH: Final = 2**13


def batches(values: pa.Array) -> Iterator[tuple[list[Matrix], Order | None]]:
    """Texts or binaries without NULL, some thousand at a time, as `of_equal_length` gives them."""
    return (of_equal_length(values.slice(start, _BATCH)) for start in range(0, len(values), _BATCH))


def in_batches(values: pa.Array, work: Callable[[Sequence[Matrix]], Sequence[Matrix]]) -> pa.Array:
    """What a piece of work gives for texts or binaries without NULL, as texts, in their order.

    Parameters
    ----------
    values
        Texts or binaries.
    work
        Gets values as matrices, the shortest first, and gives matrices of the same rows.

    Examples
    --------
    >>> import pyarrow as pa
    >>> in_batches(pa.array(["abc", "d"]), lambda matrices: [matrix[:, :1] for matrix in matrices]).to_pylist()
    ['a', 'd']
    """
    import pyarrow as pa

    done = [together(work(matrices), order) for matrices, order in batches(values)]
    if len(done) > 1 and sum(part.nbytes for part in done) >= 2**31:
        done = [part.cast(pa.large_string()) for part in done]
    return pa.concat_arrays(done) if done else pa.array([], pa.string())


def of_equal_length(values: pa.Array) -> tuple[list[Matrix], Order | None]:
    """Texts or binaries without NULL as matrices, one row a value, the shortest first.

    Returns
    -------
    tuple
        The matrices, and for each row of them, one after the other, its position in the column; None where the rows
        are in the order of the column.

    Examples
    --------
    >>> import pyarrow as pa
    >>> matrices, order = of_equal_length(pa.array(["abc", "d", "efg"]))
    >>> [matrix.tobytes() for matrix in matrices], order.tolist()
    ([b'd', b'abcefg'], [1, 0, 2])
    """
    import numpy as np

    data, ends = _buffers(values)
    lengths = np.diff(ends)
    if not len(lengths):
        return [], None
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest == longest:
        return [data[ends[0] : ends[-1]].reshape(len(lengths), longest)], None
    order = np.argsort(lengths.astype(np.uint16) if longest < 2**16 else lengths, kind="stable")
    data, ends = _buffers(values.take(order))
    lengths = lengths[order]
    starts = [0, *(np.flatnonzero(lengths[1:] != lengths[:-1]) + 1).tolist(), len(lengths)]
    return [data[ends[start] : ends[stop]].reshape(stop - start, -1) for start, stop in pairwise(starts)], order


def together(matrices: Sequence[Matrix], order: Order | None) -> pa.Array:
    """The inverse of `of_equal_length`, as texts, for matrices of any width with the same rows.

    Examples
    --------
    >>> import pyarrow as pa
    >>> together(*of_equal_length(pa.array(["abc", "", "efg"]))).to_pylist()
    ['abc', '', 'efg']
    """
    import numpy as np

    lengths = np.repeat([matrix.shape[1] for matrix in matrices], [len(matrix) for matrix in matrices])
    whole = _array(b"".join(np.ascontiguousarray(matrix).data for matrix in matrices), lengths)
    if order is None:
        return whole
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return whole.take(inverse)


def as_texts(pieces: Sequence[bytes]) -> pa.Array:
    """An array of texts; that they are UTF-8 nobody looks at.

    >>> as_texts([b"a", b"bc"]).to_pylist()
    ['a', 'bc']
    """
    import numpy as np

    return _array(b"".join(pieces), np.fromiter(map(len, pieces), np.int64, len(pieces)))


def as_pieces(matrix: Matrix) -> list[bytes]:
    """The rows of a matrix.

    >>> import numpy as np
    >>> as_pieces(np.frombuffer(b"onetwo", np.uint8).reshape(2, 3))
    [b'one', b'two']
    """
    rows, size = matrix.shape
    whole = matrix.tobytes()
    return [whole[at : at + size] for at in range(0, rows * size, size)] if size else [b""] * rows


def as_matrix(pieces: Sequence[bytes], size: int) -> Matrix:
    """The inverse of `as_pieces`, for pieces of a size."""
    import numpy as np

    return np.frombuffer(b"".join(pieces), np.uint8).reshape(len(pieces), size)


def _array(data: bytes, lengths: npt.NDArray[np.int64]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    is_large = len(data) >= 2**31
    ends = np.zeros(len(lengths) + 1, np.int64 if is_large else np.int32)
    np.cumsum(lengths, out=ends[1:])
    kind = pa.large_string() if is_large else pa.string()
    return pa.Array.from_buffers(kind, len(lengths), [None, pa.py_buffer(ends), pa.py_buffer(data)])


def _buffers(values: pa.Array) -> tuple[Matrix, Any]:
    """The bytes of an array, and where each of its values begins and the last one ends."""
    import numpy as np
    import pyarrow as pa

    is_large = pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type)
    _, ends, data = values.buffers()
    if ends is None or not len(values):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    bounds = np.frombuffer(ends, np.int64 if is_large else np.int32)[values.offset : values.offset + len(values) + 1]
    return np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), bounds
