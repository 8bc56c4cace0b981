"""Letters that look like Latin ones and that compatibility decomposition leaves alone.

A small table of what is really used to disguise words, not Unicode's whole confusables list: each
entry costs a little precision in its own script, so only near-perfect look-alikes stand here.
"""

from __future__ import annotations

_CYRILLIC = "а>a в>b с>c ԁ>d е>e һ>h і>i ј>j к>k ӏ>l м>m н>h о>o р>p ԛ>q ѕ>s т>t у>y ԝ>w х>x ѵ>v ү>y ғ>f ԍ>g"
_GREEK = "α>a β>b ϲ>c ε>e ϝ>f η>h ι>i ϳ>j κ>k μ>m ν>v ο>o ρ>p τ>t υ>u χ>x γ>y ζ>z ω>w"
_LATIN = (
    "đ>d ð>d ɖ>d ħ>h ı>i ɨ>i ł>l ƚ>l ø>o ɵ>o ŧ>t ŋ>n ɑ>a ɡ>g ƀ>b ɓ>b ƈ>c ƒ>f ƙ>k ƥ>p ƴ>y ƶ>z ʋ>v ɩ>i "
    "ᴀ>a ʙ>b ᴄ>c ᴅ>d ᴇ>e ꜰ>f ɢ>g ʜ>h ɪ>i ᴊ>j ᴋ>k ʟ>l ᴍ>m ɴ>n ᴏ>o ᴘ>p ʀ>r ꜱ>s ᴛ>t ᴜ>u ᴠ>v ᴡ>w ʏ>y ᴢ>z "
    "ȷ>j ɍ>r ɇ>e ɏ>y ȼ>c ⱥ>a ⱦ>t ɛ>e ǀ>l ꓲ>l"
)
_ARMENIAN = "ո>n ս>u օ>o հ>h զ>q ց>g ք>f"
_CHEROKEE = "ꭺ>a ꭼ>e ꮋ>h ꮖ>i ꭻ>j ꮶ>k ꮮ>l ꮇ>m ꮲ>p ꮪ>s ꭲ>t ꮩ>v ꮃ>w ꮓ>z ꭰ>d ꮯ>c ᏼ>b ᏻ>g"


def _pairs() -> dict[str, str]:
    table: dict[str, str] = {}
    for script in (_CYRILLIC, _GREEK, _LATIN, _ARMENIAN, _CHEROKEE):
        for pair in script.split():
            source, target = pair.split(">")
            table[source] = target
    for first in (0x1F150, 0x1F170, 0x1F1E6):  # negative circled, negative squared, regional indicators
        for step in range(26):
            table[chr(first + step)] = chr(ord("a") + step)
    return table


CONFUSABLES: dict[str, str] = _pairs()
"""Case-folded look-alike to the Latin letter it stands for."""
