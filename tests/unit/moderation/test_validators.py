import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.moderation.matching.validators import CHECKS, luhn, mod97

TEXTS = st.one_of(st.text(max_size=30), st.text(alphabet="0123456789 -.xst", max_size=24))


@given(st.text(alphabet="0123456789", min_size=1, max_size=18))
def test_luhn_has_one_check_digit(body):
    assert sum(luhn(body + digit) for digit in "0123456789") == 1


@given(st.text(alphabet="0123456789", min_size=2, max_size=18), st.data())
def test_luhn_sees_every_changed_digit(body, data):
    (digit,) = [digit for digit in "0123456789" if luhn(body + digit)]
    number = body + digit
    place = data.draw(st.integers(0, len(number) - 1))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != number[place]]))
    assert not luhn(number[:place] + other + number[place + 1 :])


def test_mod97():
    assert mod97("gb82west12345698765432")
    assert not mod97("gb82west12345698765423")


@pytest.mark.parametrize(
    ("name", "text", "start"),
    [
        ("card", "4111 1111 1111 1111", 0),
        ("card", "12 4111 1111 1111 1111", 3),
        ("card", "3782-822463-10005", 0),
        ("card", "4111 1111 1111 1112", None),
        ("card", "0.4111111111111111", None),
        ("card", "0000000000000000", None),
        ("card", "7992739871300000", None),
        ("iban", "gb82 west 1234 5698 7654 32", 0),
        ("iban", "gb82 west 1234 5698 7654 33", None),
        ("iban", "xx82 west 1234 5698 7654 32", None),
        ("chinese-id", "11010519491231002x", 0),
        ("chinese-id", "110105194912310021", None),
        ("chinese-id", "11010519491331002x", None),
        ("thai-id", "1-1037-02071-81-1", 0),
        ("thai-id", "1-1037-02071-81-2", None),
        ("french-id", "2 55 08 14 168 025 38", 0),
        ("french-id", "2 55 08 14 168 025 39", None),
        ("indonesian-id", "nik: 3275014501900001", 0),
        ("indonesian-id", "nik: 0075014501900001", None),
        ("malaysian-id", "900131-14-5678", 0),
        ("malaysian-id", "901331-14-5678", None),
        ("singapore-id", "s1234567d", 0),
        ("singapore-id", "g1234567x", 0),
        ("singapore-id", "s1234567e", None),
    ],
)
def test_checks(name, text, start):
    assert CHECKS[name](text, text) == start


def test_uppercase_looks_at_what_was_written():
    assert CHECKS["uppercase"]("akia2", "AKIA2") == 0
    assert CHECKS["uppercase"]("akia2", "AKIa2") is None


@given(TEXTS)
def test_a_check_never_fails_on_a_text_it_was_not_made_for(text):
    for check in CHECKS.values():
        found = check(text, text)
        assert found is None or 0 <= found <= len(text)
