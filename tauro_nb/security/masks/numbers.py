"""Masks that make numbers coarser: `bucket` and `round`.

Whole numbers and decimals are computed exactly. Whatever would not fit a type afterwards is hidden, because an overflow
would end the query with the number in its error text.
"""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tauro_nb.errors import PolicyError
from tauro_nb.security.masks.base import Rank, TypedMasker
from tauro_nb.security.masks.compiling import ibis_type, trunk
from tauro_nb.security.masks.options import Option, number, numbers, whole
from tauro_nb.security.types import is_integer, is_number

if TYPE_CHECKING:
    from ibis.expr.types import NumericValue

    from tauro_nb.security.masks.base import Branches

__all__ = ["BucketMasker", "RoundMasker"]

_GREATEST = 1e15  # larger floats have no room for digits that could be hidden
_WIDEST = 2**62  # whole numbers beyond it are hidden: the sum of two below it still fits 64 bits


class _NumberMasker(TypedMasker):
    """A mask of numbers; NULL stays NULL."""

    rank = Rank.COARSE

    def takes(self, type: str) -> bool:
        """Numbers only."""
        return is_number(type)

    def _step(self, type: str, step: Decimal) -> Any:
        """A step as a literal of the kind of number that the column is computed in.

        Raises
        ------
        PolicyError
            The step does not fit the column.
        """
        import ibis

        if is_integer(type):
            if step != int(step) or step >= _WIDEST:
                raise PolicyError(f"the mask `{self.name}` of a {type} needs whole numbers")
            return ibis.literal(int(step), "int64")
        if trunk(type) == "DECIMAL":
            scale = _scale(type)
            if step != round(step, scale) or step >= Decimal(10) ** (36 - scale):
                raise PolicyError(f"the mask `{self.name}` of a {type} needs steps that it can hold")
            return ibis.literal(step, f"decimal(38, {scale})")
        return ibis.literal(float(step), "float64")

    def _computed(self, column: NumericValue, type: str) -> tuple[NumericValue, Any]:
        """The column in a type wide enough to compute in, and whether a value may be computed with."""
        import ibis

        if is_integer(type):
            value = column.try_cast("int64")
            return value, value.between(-_WIDEST, _WIDEST)
        if trunk(type) == "DECIMAL":
            wide = f"decimal(38, {_scale(type)})"
            value = column.cast(wide)
            most = ibis.literal(Decimal(10) ** (36 - _scale(type)), wide)
            return value, value.between(-most, most)
        value = column.cast("float64")
        return value, value.between(-_GREATEST, _GREATEST)


class BucketMasker(_NumberMasker):
    """Show the lower end of the bucket a number falls in: buckets of one `size`, or those between `edges`.

    With `edges` the last bucket is open; what lies below the first is shown as NULL.

    Examples
    --------
    >>> BucketMasker(size=10).mask(47), BucketMasker(size=10).mask(-3), BucketMasker(edges=[0, 18, 65]).mask(47)
    (40, -10, 18)
    """

    name = "bucket"
    options = MappingProxyType({"size": Option(number, None), "edges": Option(numbers, None)})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._size, self._edges = self.parameters["size"], self.parameters["edges"]
        if (self._size is None) == (self._edges is None):
            raise PolicyError("the mask `bucket` needs `size` or `edges`, one of them")
        if self._size is not None and self._size <= 0:
            raise PolicyError("the mask `bucket`: `size` must be more than 0")

    def mask(self, value: Any) -> Any:
        """Show the lower end of one number's bucket."""
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            return None
        if not isinstance(value, Decimal) and not abs(value) <= (_GREATEST if isinstance(value, float) else _WIDEST):
            return None
        if self._edges is not None:
            below = [edge for edge in self._edges if edge <= value]
            return type(value)(below[-1]) if below else None
        if isinstance(value, float):
            size = float(self._size)
            return value - math.fmod(math.fmod(value, size) + size, size)
        if isinstance(value, int):
            return value // int(self._size) * int(self._size)
        return (value / self._size).to_integral_value("ROUND_FLOOR") * self._size

    def branches(self, column: NumericValue, type: str, dialect: str) -> Branches:
        """Write the mask as Ibis expressions."""
        value, fits = self._computed(column, type)
        if self._edges is not None:
            edges = [self._step(type, edge) for edge in self._edges]
            steps = [(fits & (value < high), low) for low, high in itertools.pairwise(edges)]
            return [(fits & (value < edges[0]), None), *steps, (fits, edges[-1])], None
        size = self._step(type, self._size)
        return [(fits, value - ((value % size + size) % size))], None


class RoundMasker(_NumberMasker):
    """Round to so many `digits` behind the point; -3 rounds to thousands. Halves go away from zero.

    Examples
    --------
    >>> RoundMasker(digits=-3).mask(71500), RoundMasker(digits=-3).mask(-71500), RoundMasker(digits=1).mask(2.25)
    (72000, -72000, 2.3)
    """

    name = "round"
    options = MappingProxyType({"digits": Option(whole(-15, 15))})

    def mask(self, value: Any) -> Any:
        """Round one number."""
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            return None
        step = Decimal(10) ** -self.parameters["digits"]
        if isinstance(value, float):
            return _round_float(value, self.parameters["digits"])
        if isinstance(value, int):
            if abs(value) > _WIDEST:
                return None
            size = int(step)
            return (abs(value) + size // 2) // size * size * (1 if value >= 0 else -1)
        return (value / step).to_integral_value("ROUND_HALF_UP") * step

    def takes(self, type: str) -> bool:
        """Numbers.

        Raises
        ------
        PolicyError
            Rounding would show the numbers as they are.
        """
        scale = 0 if is_integer(type) else _scale(type) if trunk(type) == "DECIMAL" else None
        if scale is not None and self.parameters["digits"] >= scale:
            raise PolicyError(f"the mask `round` to this many digits hides nothing of a {type}")
        return super().takes(type)

    def branches(self, column: NumericValue, type: str, dialect: str) -> Branches:
        """Write the mask as Ibis expressions."""
        import ibis

        value, fits = self._computed(column, type)
        digits = self.parameters["digits"]
        if value.type().is_floating():

            @ibis.udf.scalar.builtin(name="round")  # type: ignore[untyped-decorator]
            def rounded(value: float, digits: int) -> float:
                """ROUND as it is; Ibis would cast the result to a whole number where there are no digits."""
                raise NotImplementedError

            return [(fits, rounded(value, digits))], None
        step = self._step(type, Decimal(10) ** -digits)
        rest = value % step
        down = value - rest
        up, under = fits & (rest + rest >= step), fits & (rest + rest <= -step)
        return [(up, down + step), (under, down - step), (fits, down)], None


def _scale(type: str) -> int:
    found = ibis_type(type)
    assert found is not None
    return int(found.rpartition(",")[2].rstrip(")"))


def _round_float(value: float, digits: int) -> float | None:
    if not abs(value) <= _GREATEST:
        return None
    factor = 10.0 ** abs(digits)
    scaled = abs(value * factor if digits >= 0 else value / factor)
    below = float(math.floor(scaled))
    nearest = math.copysign(below + (scaled - below >= 0.5), value)
    return nearest / factor if digits >= 0 else nearest * factor
