"""Masks: what a value becomes for people who may not see it.

A mask is written twice: once in Python for single values, once as an Ibis expression that is compiled to a tree of the
engine's or a source's dialect; property tests hold the two together. Each mask keeps the column's type, so a mask of
texts on a column that is not text becomes NULL.

>>> choose_mask("card", "partial", options={"prefix": 6, "suffix": 4}).mask("4111111111111111")
'411111***1111'
"""

from __future__ import annotations

from tauro_nb.security.masks.base import MARK, Masker, MaskMark, Rank
from tauro_nb.security.masks.choose import MASKS, choose_mask
from tauro_nb.security.masks.conditional import shown_when
from tauro_nb.security.masks.constant import ConstantMasker, DefaultMasker, NullMasker, constant_text
from tauro_nb.security.masks.dates import DateTruncMasker
from tauro_nb.security.masks.digits import PhoneMasker, SSNMasker
from tauro_nb.security.masks.email import EmailMasker
from tauro_nb.security.masks.expression import ExpressionMasker
from tauro_nb.security.masks.hashes import Sha256UnkeyedMasker, WeakMask
from tauro_nb.security.masks.keyed import EphemeralHmacMasker, HmacMasker, TokenMasker
from tauro_nb.security.masks.numbers import BucketMasker, RoundMasker
from tauro_nb.security.masks.partial import First4Masker, Last4Masker, PartialMasker
from tauro_nb.security.masks.randomly import RandomMasker
from tauro_nb.security.masks.redact import RedactMasker
from tauro_nb.security.masks.regex import RegexMasker
from tauro_nb.security.masks.scope import MaskScope

__all__ = [
    "MARK",
    "MASKS",
    "BucketMasker",
    "ConstantMasker",
    "DateTruncMasker",
    "DefaultMasker",
    "EmailMasker",
    "EphemeralHmacMasker",
    "ExpressionMasker",
    "First4Masker",
    "HmacMasker",
    "Last4Masker",
    "MaskMark",
    "MaskScope",
    "Masker",
    "NullMasker",
    "PartialMasker",
    "PhoneMasker",
    "RandomMasker",
    "Rank",
    "RedactMasker",
    "RegexMasker",
    "RoundMasker",
    "SSNMasker",
    "Sha256UnkeyedMasker",
    "TokenMasker",
    "WeakMask",
    "choose_mask",
    "constant_text",
    "shown_when",
]
