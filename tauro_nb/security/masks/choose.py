"""The table of masks, and which of them a field gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tauro_nb.errors import PolicyError, nearest
from tauro_nb.security.masks.base import Masker
from tauro_nb.security.masks.constant import ConstantMasker, DefaultMasker, NullMasker
from tauro_nb.security.masks.dates import DateTruncMasker
from tauro_nb.security.masks.digits import PhoneMasker, SSNMasker
from tauro_nb.security.masks.email import EmailMasker
from tauro_nb.security.masks.expression import ExpressionMasker
from tauro_nb.security.masks.hashes import Sha256UnkeyedMasker
from tauro_nb.security.masks.keyed import EphemeralHmacMasker, HmacMasker, TokenMasker
from tauro_nb.security.masks.numbers import BucketMasker, RoundMasker
from tauro_nb.security.masks.partial import First4Masker, Last4Masker, PartialMasker
from tauro_nb.security.masks.randomly import RandomMasker
from tauro_nb.security.masks.redact import RedactMasker
from tauro_nb.security.masks.regex import RegexMasker

__all__ = ["MASKS", "choose_mask"]

MASKS: Mapping[str, type[Masker]] = MappingProxyType({
    masker.name: masker
    for masker in (
        NullMasker, DefaultMasker, ConstantMasker, RedactMasker, First4Masker, Last4Masker, PartialMasker,
        EmailMasker, PhoneMasker, SSNMasker, DateTruncMasker, BucketMasker, RoundMasker, RandomMasker,
        RegexMasker, ExpressionMasker, Sha256UnkeyedMasker, HmacMasker, EphemeralHmacMasker, TokenMasker,
    )
})  # fmt: skip
_BY_FIELD_NAME: tuple[tuple[re.Pattern[str], type[Masker]], ...] = (
    (re.compile(r"e_?mail", re.IGNORECASE), EmailMasker),
    (re.compile(r"phone|mobile|(^|_)(fax|tel)($|_)", re.IGNORECASE), PhoneMasker),
    (re.compile(r"(^|_)ssn($|_)|social_?security", re.IGNORECASE), SSNMasker),
)


def choose_mask(field_name: str, mask: Any, mask_value: Any = None, options: Any = None) -> Masker:
    """Take the mask that is named, else the one the field's name calls for, else the constant.

    Parameters
    ----------
    field_name
        The column, for the choice and for error messages.
    mask
        The mask's name, in any case.
    mask_value
        The value of `constant`.
    options
        The mask's parameters by name.

    Raises
    ------
    PolicyError
        There is no mask of this name, or it does not take these parameters.

    Examples
    --------
    >>> choose_mask("work_email", None), choose_mask("salary", None), choose_mask("x", "null")
    (EmailMasker(), ConstantMasker(), NullMasker())
    >>> choose_mask("salary", "bucket", options={"size": 10000}).mask(71500)
    70000
    """
    given = {} if options is None else options
    if mask is None:
        if given:
            raise PolicyError(f"field `{field_name}`: mask options without a mask")
        if mask_value is not None:
            return ConstantMasker(mask_value)
        return next((masker() for pattern, masker in _BY_FIELD_NAME if pattern.search(field_name)), ConstantMasker())
    found = MASKS.get(mask.casefold()) if isinstance(mask, str) else None
    if found is None:
        raise PolicyError(f"field `{field_name}`: there is no mask `{mask}`.{nearest(str(mask), MASKS)}")
    if mask_value is not None and found is not ConstantMasker:
        raise PolicyError(f"field `{field_name}`: the mask `{found.name}` takes no value; `constant` does")
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise PolicyError(f"field `{field_name}`: mask options are a mapping of name to value")
    try:
        return ConstantMasker(mask_value, **given) if found is ConstantMasker else found(**given)
    except PolicyError as wrong:
        raise PolicyError(f"field `{field_name}`: {wrong.message}", hint=wrong.hint) from None
