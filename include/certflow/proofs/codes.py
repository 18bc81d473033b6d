"""Verification codes: 16 signs nobody can guess, easy to read aloud and to type."""

import secrets
import unicodedata

ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""No 0, 1, I, L, O or U: nothing that two people read differently."""
LENGTH = 16
"""Signs; 30^16 is 78 bits."""
_BLANKS = str.maketrans("", "", "- \t\u3000—–_")


def new_code() -> str:
    """A fresh code, by the system's random source."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def shown(code: str) -> str:
    """``7K3M-9QXC-2TRB-VW4H``."""
    return "-".join(code[at : at + 4] for at in range(0, LENGTH, 4))


def typed(text: str) -> str | None:
    """The code somebody typed (any width, case, dashes); None when it can be none."""
    code = unicodedata.normalize("NFKC", text).translate(_BLANKS).upper()
    return code if len(code) == LENGTH and set(code) <= set(ALPHABET) else None
