"""Values that masks have trouble with, for every engine that must agree about them."""

from __future__ import annotations

import random

# NULL, empty, too short, just long enough; wrong forms; letters of two code points, of four bytes, none at all.
HOSTILE: list[str | None] = [
    None, "", " ", "a", "ab", "abc", "abcd", "abcde", "abcdefgh",
    "alan@example.com", "al@example.com", "a@example.com", "@example.com", "alan@", "@", "@@", "a@b@c", "n/a",
    " alan@example.com", "alan@example.com ", "al an@example.com", "alan@exam\tple.com", "alan@example.com\n",
    "alan@example.com\r", "\nalan@example.com", "o'brien@example.com", '"quoted"@example.com', "a\\b@example.com",
    "%@%", "_@_", "a%n@x", "\u00e9\u00e8\u00ea@\u00fc.de", "e\u0301a\u0301@x.de", "\U0001f600a\U0001f600@x.de",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467@family.org", "\u0130i\u0131I@x.tr", "stra\u00dfe@x.de", "x@\u202eevil",
    "555-123-1234", "+1 (555) 123-1234", "1234", "123456", "1234567", "(((1234", "12-3-4567", "555.123.1234",
    "555/123+1234", "John Smith 5551234", "5551234567\n", "\n5551234567", "5551234567 ", "+", "-------1234",
    "\u0661\u0662\u0663\u0664\u0665\u0666\u0667", "\uff11\uff12\uff13\uff14\uff15\uff16\uff17", "1 2 3 4 5 6 7890",
    "123-45-5678", "123 45 5678", "123455678", "12345-5678", "123-455678", "123-45 5678", "5678", "123-45-5678\n",
    "123-45-567", "1234-5-5678", "123--45-5678", "000-00-0000",
    "'", "''", "';--", '"', "\\", "\\\\", "\\1", "\\0", "$1", "&", "[a-z]", "^", "$", "*", "?", "NULL",
    "e\u0301", "e\u0301e\u0301e\u0301", "\U0001f600" * 5, "\u200b" * 5,
    "\x7f\x01\x1b[31m", "line\nbreak\r\nand\ttab", "\ufeffbom", "\ufffd", "Zo\u00eb 42 \u0416\u0443\u043a", "A-b_C.9 z",
    "x" * 100_000, "x" * 70_000 + "@" + "y" * 70_000, "1" * 50_000, "-" * 50_000 + "1234567",
]  # fmt: skip
_LETTERS = "aZ\u00e9e\u0301\U0001f600@@.. \t\n\r0123456789-+()/%_\\'\""


def crafted(count: int, seed: int = 7) -> list[str]:
    """Texts made of what masks look at, in reproducible disorder."""
    chance = random.Random(seed)
    forms = ("###-##-####", "### ## ####", "(###) ###-####", "+# ### ### ####", "#########", "@@@#@x.de", "@@@@@@@")
    out = []
    for number in range(count):
        if number % 2:
            text = "".join(chance.choices(_LETTERS, k=chance.randrange(24)))
        else:
            form = chance.choice(forms)
            drawn = (
                chance.choice("0123456789") if c == "#" else chance.choice("ab.@") if c == "@" else c for c in form
            )
            text = "".join(drawn)
            if chance.random() < 0.4:
                place = chance.randrange(len(text) + 1)
                text = text[:place] + chance.choice(_LETTERS) + text[place:]
        out.append(text)
    return out
