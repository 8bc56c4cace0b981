import pytest

from services.moderation.scripts import SCRIPTS, script_of

TEXTS = {
    "latin": ["Good morning", "Xin chào các bạn, hôm nay thế nào?", "Selamat pagi 123"],
    "han": ["今天的天气怎么样？", "今天我们用 AI 写程序怎么样呢"],
    "kana": ["こんにちは、世界", "東京の天気は"],
    "hangul": ["안녕하세요 여러분"],
    "thai": ["สวัสดีครับ วันนี้เป็นอย่างไร"],
    "arabic": ["مرحبا بالعالم"],
    "devanagari": ["नमस्ते दुनिया"],
    "khmer": ["សួស្តីពិភពលោក"],
    "myanmar": ["မင်္ဂလာပါ"],
    "lao": ["ສະບາຍດີ"],
    "cyrillic": ["Привет, мир"],
    "tamil": ["வணக்கம் உலகம்"],
    "greek": ["Γειά σου Κόσμε"],
    "hebrew": ["שלום עולם"],
    "none": ["", "12345 + 678", "!?", "😀😀"],
}


@pytest.mark.parametrize(("script", "text"), [(name, text) for name in TEXTS for text in TEXTS[name]])
def test_the_script_of_most_letters(script: str, text: str) -> None:
    assert script_of(text) == script
    assert script_of(text * 1000) == script
    assert script in SCRIPTS


def test_every_letter_has_a_known_script() -> None:
    assert {script_of(chr(code)) for code in range(0x33000) if not 0xD800 <= code < 0xE000} == set(SCRIPTS)
