"""YAML documents read strictly: every value knows its line, and nothing unknown is passed over."""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn

import yaml

MAX_BYTES = 512 * 1024
MAX_DEPTH = 16
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


class DocumentError(ValueError):
    """A document that is not as it should be; the message names line and field."""


def read_document(text: str) -> Section:
    """The document's outermost mapping. Raises `DocumentError`."""
    if len(text.encode()) > MAX_BYTES:
        raise DocumentError(f"larger than {MAX_BYTES} bytes")
    try:
        _check_tokens(text)
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise DocumentError(f"not YAML: {error}") from None
    if not isinstance(root, yaml.MappingNode):
        raise DocumentError("line 1: a mapping is expected")
    return Section(root)


def _check_tokens(text: str) -> None:
    """Refuse what would blow up while it is composed: the C composer recurses without a bound of its own,
    and an alias could make a small file a huge tree.
    """
    depth = 0
    for token in yaml.scan(text, Loader=yaml.CSafeLoader):
        if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
            line = token.start_mark.line + 1
            raise DocumentError(f"line {line}: anchors, aliases and tags are refused")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > MAX_DEPTH:
            raise DocumentError(f"line {token.start_mark.line + 1}: nested deeper than {MAX_DEPTH}")


class Section:
    """A mapping. Each field is taken once; `finish` refuses what nobody took."""

    def __init__(self, node: yaml.MappingNode) -> None:
        self.line = node.start_mark.line + 1
        self._fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise DocumentError(f"line {line}: a field's name is expected")
            if key.value in self._fields:
                raise DocumentError(f"line {line}: the field {key.value!r} stands twice")
            self._fields[key.value] = value

    def text(self, field: str, default: str | None = None) -> str:
        """A text, without the blanks around it; required where there is no default."""
        node = self._take(field, required=default is None)
        return (default or "") if node is None else self._scalar(field, node).strip()

    def number(self, field: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number in bounds."""
        text = self.text(field, None if default is None else str(default))
        if not text.isdecimal() or not least <= int(text[:9]) <= most:
            self.refuse(f"{field} must be a whole number from {least} to {most}")
        return int(text)

    def flag(self, field: str) -> bool:
        """`true` or `false`; absent means false."""
        return self.choice(field, ("true", "false"), "false") == "true"

    def choice(self, field: str, options: Collection[str], default: str | None = None) -> str:
        """One of the options."""
        text = self.text(field, default)
        if text not in options:
            self.refuse(f"{field} must be one of {', '.join(sorted(options))}, not {text!r}")
        return text

    def texts(self, field: str, most: int) -> list[tuple[int, str]]:
        """A list of texts as they stand, with their lines; empty where it is absent."""
        return [(node.start_mark.line + 1, self._scalar(field, node)) for node in self._list(field, most)]

    def sections(self, field: str, most: int) -> list[Section]:
        """A list of mappings."""
        found = []
        for node in self._list(field, most):
            if not isinstance(node, yaml.MappingNode):
                raise DocumentError(f"line {node.start_mark.line + 1}: {field} must hold mappings")
            found.append(Section(node))
        return found

    def notes(self, field: str, most: int) -> dict[str, str]:
        """A mapping of texts; empty where it is absent."""
        node = self._take(field, required=False)
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode) or len(node.value) > most:
            self.refuse(f"{field} must be a mapping of at most {most} texts")
        inner = Section(node)
        return {name: inner.text(name) for name in list(inner._fields)}

    def finish(self) -> None:
        """Refuse fields that nobody took."""
        if self._fields:
            name, node = next(iter(self._fields.items()))
            raise DocumentError(f"line {node.start_mark.line + 1}: the field {name!r} is unknown")

    def refuse(self, reason: str) -> NoReturn:
        """Raise `DocumentError` with this section's line."""
        raise DocumentError(f"line {self.line}: {reason}")

    def _take(self, field: str, *, required: bool) -> yaml.Node | None:
        node = self._fields.pop(field, None)
        if node is None and required:
            self.refuse(f"the field {field!r} is missing")
        return node

    def _list(self, field: str, most: int) -> list[yaml.Node]:
        node = self._take(field, required=False)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode) or len(node.value) > most:
            self.refuse(f"{field} must be a list of at most {most}")
        nodes: list[yaml.Node] = node.value
        return nodes

    def _scalar(self, field: str, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise DocumentError(f"line {node.start_mark.line + 1}: {field} must be text")
        value: str = node.value
        return value
