"""Checks that a pattern cannot make: check digits, and what folding has levelled.

A check is given a candidate as folded and as it was written. It returns where in the folded text the
real match begins (a candidate is the longest that ends where it ends), or None where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Check = Callable[[str, str], int | None]


def luhn(digits: str) -> bool:
    """ISO/IEC 7812 check digit."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def mod97(text: str) -> bool:
    """ISO 13616: an IBAN without blanks, in lower case."""
    moved = text[4:] + text[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


_DIGITS = frozenset("0123456789")
_CARD_LENGTHS: dict[str, tuple[int, ...]] = {
    "2": (16,),
    "3": (14, 15, 16),
    "4": (13, 16, 19),
    "5": (16,),
    "6": (16, 17, 18, 19),
    "9": (16,),
}
_IBAN_LENGTHS = (
    "ad24 ae23 al28 at20 az28 ba20 be16 bg22 bh22 br29 ch21 cr22 cy28 cz24 de22 dk18 do28 ee20 eg29 es24 "
    "fi18 fo18 fr27 gb22 ge22 gi23 gl18 gr27 gt28 hr21 hu28 ie22 il23 iq23 is26 it27 jo30 kw30 kz20 lb28 "
    "li21 lt20 lu20 lv21 ly25 mc27 md24 me22 mk19 mr27 mt31 mu30 nl18 no15 pk24 pl28 ps29 pt25 qa29 ro24 "
    "rs22 sa24 se24 si19 sk24 sm27 tl23 tn24 tr26 ua29 vg24 xk20"
)
_IBAN = {entry[:2]: int(entry[2:]) for entry in _IBAN_LENGTHS.split()}
_CHINESE_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_SINGAPORE_WEIGHTS = (2, 7, 6, 5, 4, 3, 2)


def card(folded: str, _written: str) -> int | None:
    """A payment card number: issuer's prefix, length and check digit; not the digits of a fraction."""
    if "." in folded:
        return None
    for start, digits in _tails(folded):
        if len(digits) in _CARD_LENGTHS.get(digits[:1], ()) and len(set(digits)) > 1 and luhn(digits):
            return start
    return None


def iban(folded: str, _written: str) -> int | None:
    """An IBAN: its country's length and check digits."""
    text = "".join(char for char in folded if char.isascii() and char.isalnum())
    return 0 if _IBAN.get(text[:2]) == len(text) and mod97(text) else None


def uppercase(_folded: str, written: str) -> int | None:
    """Written without lower-case letters, as access keys are."""
    return 0 if written.isupper() else None


def chinese_id(folded: str, _written: str) -> int | None:
    """A resident identity number (GB 11643): 17 digits and a check character."""
    digits = _digits(folded[:17])
    if len(folded) != 18 or len(digits) != 17 or not _day(digits[12:14], digits[10:12]):
        return None
    total = sum(int(digit) * weight for digit, weight in zip(digits, _CHINESE_WEIGHTS, strict=True))
    return 0 if "10x98765432"[total % 11] == folded[17] else None


def thai_id(folded: str, _written: str) -> int | None:
    """A Thai citizen number: 13 digits, the last a weighted sum of the others."""
    digits = _digits(folded)
    total = sum(int(digit) * (13 - place) for place, digit in enumerate(digits[:12]))
    return 0 if len(digits) == 13 and (11 - total % 11) % 10 == int(digits[12]) else None


def french_id(folded: str, _written: str) -> int | None:
    """A French registration number (NIR): 13 digits and 97 minus their remainder."""
    digits = _digits(folded)
    return 0 if len(digits) == 15 and 97 - int(digits[:13]) % 97 == int(digits[13:]) else None


def indonesian_id(folded: str, _written: str) -> int | None:
    """An Indonesian NIK: 16 digits with a province, and a day of birth that is raised by 40 for women."""
    digits = _digits(folded)
    if len(digits) != 16 or not 11 <= int(digits[:2]) <= 96:
        return None
    day = int(digits[6:8])
    return 0 if _day(str(day - 40 if day > 40 else day), digits[8:10]) else None


def malaysian_id(folded: str, _written: str) -> int | None:
    """A MyKad number: date of birth, place of birth, four digits."""
    digits = _digits(folded)
    return 0 if len(digits) == 12 and _day(digits[4:6], digits[2:4]) and digits[6:8] != "00" else None


def singapore_id(folded: str, _written: str) -> int | None:
    """A Singapore NRIC or FIN of the series S, T, F and G: seven digits and a check letter."""
    digits = _digits(folded)
    if len(folded) != 9 or len(digits) != 7:
        return None
    total = sum(int(digit) * weight for digit, weight in zip(digits, _SINGAPORE_WEIGHTS, strict=True))
    total += 4 if folded[0] in "tg" else 0
    letters = "jzihgfedcba" if folded[0] in "st" else "xwutrqpnmlk"
    return 0 if letters[total % 11] == folded[8] else None


def _digits(text: str) -> str:
    return "".join(char for char in text if char in _DIGITS)


def _day(day: str, month: str) -> bool:
    return 1 <= int(day) <= 31 and 1 <= int(month) <= 12


def _tails(folded: str) -> Iterator[tuple[int, str]]:
    """Where each group of digits begins, and the digits from there to the end."""
    for at, char in enumerate(folded):
        if char in _DIGITS and not (at and folded[at - 1] in _DIGITS):
            yield at, _digits(folded[at:])


CHECKS: dict[str, Check] = {
    "card": card,
    "iban": iban,
    "uppercase": uppercase,
    "chinese-id": chinese_id,
    "thai-id": thai_id,
    "french-id": french_id,
    "indonesian-id": indonesian_id,
    "malaysian-id": malaysian_id,
    "singapore-id": singapore_id,
}
"""By the name that a pack gives."""
