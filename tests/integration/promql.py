"""Reads PromQL well enough to know which metrics and labels an expression names."""

from __future__ import annotations

import re
from typing import NamedTuple

_STRING = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_RANGE = re.compile(r"\[[^\]]*\]")
_SELECTOR = re.compile(rf"({_NAME})?\s*\{{((?:[^{{}}\"']|{_STRING})*)\}}")
_MATCHER = re.compile(rf"({_NAME})\s*(=~|!~|!=|=)\s*({_STRING})")
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_WORD = re.compile(rf"(?<![0-9.]){_NAME}")
_CALL = re.compile(r"\s*\(")
_WORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "atan2", "inf", "nan"}


class Matcher(NamedTuple):
    """A label's condition in a selector."""

    metric: str
    label: str
    operator: str
    value: str


class Named(NamedTuple):
    """What an expression names."""

    metrics: set[str]
    matchers: list[Matcher]
    grouping: set[str]
    """Labels of `by`, `on` and the like."""


def read(expression: str) -> Named:
    """What an expression names; functions, keywords, strings, durations and labels are no metrics."""
    text = _RANGE.sub("", expression)
    metrics: set[str] = set()
    matchers: list[Matcher] = []

    def selector(found: re.Match[str]) -> str:
        metric = found[1] or ""
        if metric:
            metrics.add(metric)
        for label, operator, value in _MATCHER.findall(found[2]):
            matchers.append(Matcher(metric, label, operator, value[1:-1]))
        return " "

    text = _SELECTOR.sub(selector, text)
    grouping = {
        label.strip() for _, labels in _GROUPING.findall(text) for label in labels.split(",") if label.strip()
    }
    text = _GROUPING.sub(" ", text)
    text = re.sub(_STRING, " ", text)
    for word in _WORD.finditer(text):
        if word[0].lower() not in _WORDS and not _CALL.match(text, word.end()) and not _is_unit(text, word):
            metrics.add(word[0])
    return Named(metrics, matchers, grouping)


def _is_unit(text: str, word: re.Match[str]) -> bool:
    """Whether it is the end of a number or a duration: `1e9`, `10m`."""
    return word.start() > 0 and text[word.start() - 1].isdigit()
