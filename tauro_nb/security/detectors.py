"""What personal and financial values look like, and what the columns that hold them are called."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["DETECTORS", "Detector", "by_name", "is_card", "is_email", "is_iban", "is_ip", "is_phone", "is_ssn"]

_EMAIL: Final = re.compile(r"[^\s@<>()\[\],;:\"]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}")
_SSN: Final = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}")
_SSN_LIKE: Final = re.compile(r"\d{3}-\d{2}-\d{4}")
_CARD: Final = re.compile(r"[2-6]\d{3}(?:[ -]?\d{2,6}){2,4}")
_IBAN: Final = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_PHONE: Final = re.compile(r"\+?[\d(][\d ().\-/]{5,22}\d(?: ?(?:x|ext\.?) ?\d{1,6})?")
_DATE: Final = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}.*|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}")
_NUMBER: Final = re.compile(r"(?<!v)\d+$")
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")


def is_email(text: str) -> bool:
    """Whether a text is an e-mail address.

    >>> is_email("ana@example.com"), is_email("ana at example.com")
    (True, False)
    """
    return _EMAIL.fullmatch(text) is not None


def is_ssn(text: str) -> bool:
    """Whether a text is a US social security number that could have been given out.

    >>> is_ssn("123-45-6789"), is_ssn("000-45-6789"), is_ssn("123456789")
    (True, False, False)
    """
    return _SSN.fullmatch(text) is not None


def is_card(text: str) -> bool:
    """Whether a text is the number of a payment card: 13 to 19 digits whose Luhn sum is right.

    >>> is_card("4111 1111 1111 1111"), is_card("4111 1111 1111 1112")
    (True, False)
    """
    digits = [int(digit) for digit in text if digit.isascii() and digit.isdigit()]
    if _CARD.fullmatch(text) is None or not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether a text is an international bank account number: its remainder by 97 is 1.

    >>> is_iban("DE89 3704 0044 0532 0130 00"), is_iban("DE88 3704 0044 0532 0130 00")
    (True, False)
    """
    packed = text.replace(" ", "").upper()
    if _IBAN.fullmatch(packed) is None:
        return False
    return int("".join(str(int(sign, 36)) for sign in packed[4:] + packed[:4])) % 97 == 1


def is_ip(text: str) -> bool:
    """Whether a text is an IP address; a whole number is none.

    >>> is_ip("192.0.2.7"), is_ip("2001:db8::1"), is_ip("3221226000"), is_ip("1.2.3")
    (True, True, False, False)
    """
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_phone(text: str) -> bool:
    """Whether a text is a telephone number: 7 to 15 digits, with a plus sign or something between them.

    Dates are none, nor is what is written like a social security number, whether it could have been given out or not.

    >>> is_phone("+49 30 1234567"), is_phone("(661) 555-0160"), is_phone("5550160"), is_phone("2024-05-17")
    (True, True, False, False)
    >>> is_phone("983-25-3439")
    False
    """
    digits = sum(char.isdigit() for char in text)
    if not 7 <= digits <= 15 or text.isdigit() or is_ip(text):
        return False
    if _DATE.fullmatch(text) or _SSN_LIKE.fullmatch(text):
        return False
    return _PHONE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of value.

    Parameters
    ----------
    kind
        What it is, in words.
    tags
        What is proposed for a column of it.
    names
        Found in the words of a column's name, joined with `_`.
    matches
        Whether a value is one; None where only a name can tell.
    share
        Of the values that are not NULL, so many must match: much where chance can match, too.
    numbers
        Whole numbers can be one.
    weak
        Names count only where the table has something else about people.
    """

    kind: str
    tags: tuple[str, ...]
    names: re.Pattern[str]
    matches: Callable[[str], bool] | None = None
    share: float = 0.05
    numbers: bool = False
    weak: bool = False


def _named(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|_)(?:{words})(?:_|$)")


# The first whose names match a column's name counts.
DETECTORS: Final[tuple[Detector, ...]] = (
    Detector("e-mail address", ("pii",), _named("e_?mails?|mail_address"), is_email),
    Detector("telephone number", ("pii",), _named("(?:tele)?phones?|mobile|cell|fax|tel"), is_phone, share=0.6),
    Detector("social security number", ("pii",), _named("ssn|social_security(?:_number|_no)?"), is_ssn),
    Detector(
        "payment card", ("pci", "pii"), _named("(?:credit_|debit_)?cards?(?:_?(?:number|num|no))?|pan|ccn"), is_card,
        share=0.6, numbers=True,
    ),
    Detector("bank account (IBAN)", ("financial", "pii"), _named("iban|bank_account(?:_number)?"), is_iban),
    Detector("IP address", ("pii",), _named("ip(?:_?(?:v4|v6))?(?:_?addr(?:ess)?)?|client_ip|remote_addr"), is_ip),
    Detector("date of birth", ("pii",), _named("dob|birth_?(?:day|date)|date_of_birth|born|birth")),
    Detector("name of a person", ("pii",), _named("(?:first|last|full|middle|given|family|maiden|sur)_?name|surname")),
    Detector("address", ("pii",), _named("address|street|house_?(?:number|no)|zip(?:_?code)?|post(?:al)?_?code")),
    # `customer` may hold a name, `customer_id` and `owner_since` do not.
    Detector("name of a person", ("pii",), _named("name|(?:person|customer|owner|manager)$"), weak=True),
    Detector("place of a person", ("pii",), _named("city|town|latitude|longitude|lat|lon"), weak=True),
)  # fmt: skip
"""Everything that is looked for."""


def by_name(column: str) -> Detector | None:
    """The detector whose names match a column's name.

    >>> found = [by_name(name) for name in ("EmailAddress", "client_ip", "shipping", "Birth_Date")]
    >>> [detector.kind if detector else None for detector in found]
    ['e-mail address', 'IP address', None, 'date of birth']
    """
    words = "_".join(_NUMBER.sub("", word.lower()) for word in _WORDS.split(column) if word)
    return next((detector for detector in DETECTORS if detector.names.search(words)), None)
