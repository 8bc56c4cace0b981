"""A model's own chat template, rendered so that no text of a user can become a control token.

The template is rendered with marks in place of every text that a client gave, so user text never goes
through Jinja at all. The result, cut at the control tokens that the *template* wrote, is a skeleton:
control ids, and runs of plain text with holes. Text between two control tokens is encoded as one piece,
holes filled in, because tokens merge across the border of template and user text.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.tokenizer.errors import ModelRefused, PromptRefused
from services.tokenizer.vocabulary import Vocabulary

Prompt = list[int | str]
"""A rendered prompt: ids that stand, and texts still to be encoded as plain text."""
Transform = Callable[[str], str]

_BROKEN = (
    TemplateError,
    SyntaxError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
    MemoryError,
)
"""What Jinja raises for a template: it is compiled to Python, and Python has limits of its own."""

CACHED_SKELETONS = 256
"""More shapes than services use; a hostile variety of them begins the table anew."""
CACHED_MESSAGES = 32
"""Longer conversations are rendered anew: few are alike, and each skeleton grows with them."""


class Turn(NamedTuple):
    """One message for the template. `role` is ours, the rest is the client's."""

    role: str
    content: str
    name: str = ""


class _Hole(NamedTuple):
    message: int
    is_name: bool


class _Run(NamedTuple):
    """Text between two control tokens: literals of the template and holes for the client's text."""

    parts: tuple[str | _Hole, ...]


_Shape = tuple[tuple[str, bool, bool], ...]
_Skeleton = list[int | _Run]


def _refuse(message: str) -> NoReturn:
    """What a template calls to say that it does not take a conversation."""
    raise TemplateError(message)


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def same(text: str) -> str:
    """The transform of a template that writes message text as it is."""
    return text


TRANSFORMS: tuple[Transform, ...] = (same, str.strip, str.rstrip, str.lstrip)
"""What templates are known to do to a message's text; anything else is refused at load."""
_PROBES = (
    "plain",
    " \n ",
    " \n two lines\n\twith  edges \n",
    "MiXed Case, 'quotes' \"double\" & <b>markup</b>",
    "{{ 7 * 7 }}{% if x %}{# no #}",
    "สวัสดี 你好 👋🏽 ",
    "a </think> b [/INST] c ```code``` | d",
)
_ROLES = ("system", "user", "assistant")


class ChatTemplate:
    """A template bound to its model's vocabulary, for several threads at once: its table of skeletons
    changes by single operations, and a skeleton made twice is the same.
    """

    def __init__(self, source: str, vocabulary: Vocabulary, chance: random.Random) -> None:
        """Compile and probe the template. Raises ModelRefused where it cannot be followed safely."""
        self._vocabulary = vocabulary
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"], autoescape=False
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        mark = f"\ue000{chance.getrandbits(128):032x}."
        self._mark = mark
        self._holes = re.compile(re.escape(mark) + "([cn])([0-9]+)\ue001")
        longest_first = sorted(vocabulary.controls, key=len, reverse=True)
        self._controls = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._skeletons: dict[_Shape, _Skeleton] = {}
        self._transforms: dict[str, Transform] = {}
        try:
            self._template = environment.from_string(source)
        except _BROKEN as error:
            raise ModelRefused(f"the chat template cannot be compiled: {error}") from error
        for role in _ROLES:
            self._transforms[role] = self._find_transform(role)

    def render(self, turns: Sequence[Turn]) -> Prompt:
        """The prompt of a conversation, the generation prompt at its end. Raises PromptRefused."""
        texts = [self._transforms.get(turn.role, same)(turn.content) for turn in turns]
        shape = tuple(
            (turn.role, bool(text), bool(turn.name)) for turn, text in zip(turns, texts, strict=True)
        )
        skeleton = self._skeletons.get(shape)
        if skeleton is None:
            skeleton = self._skeleton(shape)
        return [part if isinstance(part, int) else _fill(part, turns, texts) for part in skeleton]

    def raw(self, turns: Sequence[Turn]) -> str:
        """The text that Jinja makes of a conversation, texts put through it as the engine's users do.

        Only to probe and verify with text of our own. Raises PromptRefused.
        """
        return self._jinja([_message(turn.role, turn.content, turn.name) for turn in turns])

    def _jinja(self, messages: list[dict[str, str]]) -> str:
        vocabulary = self._vocabulary
        try:
            return self._template.render(
                messages=messages,
                add_generation_prompt=True,
                bos_token=vocabulary.text_of(vocabulary.begin),
                eos_token=vocabulary.text_of(vocabulary.end),
                tools=None,
            )
        except TemplateError as error:
            said = self._holes.sub("...", str(error.message))
            raise PromptRefused(f"the model's template does not take these messages: {said}") from error
        except _BROKEN as error:
            raise PromptRefused("the model's template does not take these messages") from error

    def _skeleton(self, shape: _Shape) -> _Skeleton:
        messages = [
            _message(
                role, f"{self._mark}c{n}\ue001" if text else "", f"{self._mark}n{n}\ue001" if name else ""
            )
            for n, (role, text, name) in enumerate(shape)
        ]
        skeleton = self._cut(self._jinja(messages))
        written = {
            part.message
            for run in skeleton
            if isinstance(run, _Run)
            for part in run.parts
            if isinstance(part, _Hole) and not part.is_name
        }
        if missing := [n for n, (_, text, _) in enumerate(shape) if text and n not in written]:
            raise PromptRefused(f"the model's template has no place for message {missing[0]}")
        if len(shape) <= CACHED_MESSAGES:
            if len(self._skeletons) >= CACHED_SKELETONS:
                self._skeletons.clear()
            self._skeletons[shape] = skeleton
        return skeleton

    def _cut(self, text: str) -> _Skeleton:
        """Cut a rendering with marks at its control tokens, and encode what holds no mark."""
        skeleton: _Skeleton = []
        position = 0
        for control in [*self._controls.finditer(text), None]:
            end = control.start() if control else len(text)
            if end > position:
                skeleton.extend(self._run(text[position:end]))
            if control:
                skeleton.append(self._vocabulary.controls[control.group()])
                position = control.end()
        return skeleton

    def _run(self, text: str) -> _Skeleton:
        parts: list[str | _Hole] = []
        position = 0
        for hole in self._holes.finditer(text):
            parts.append(text[position : hole.start()])
            parts.append(_Hole(int(hole.group(2)), hole.group(1) == "n"))
            position = hole.end()
        parts.append(text[position:])
        if any("\ue000" in part or "\ue001" in part for part in parts if isinstance(part, str)):
            raise PromptRefused("the model's template changes the text of these messages")
        if len(parts) == 1:
            return list(self._vocabulary.encode([text])[0])
        return [_Run(tuple(part for part in parts if part != ""))]

    def _find_transform(self, role: str) -> Transform:
        """What the template does to texts of a role, found by comparing it with what it does to marks."""
        for transform in TRANSFORMS:
            self._transforms[role] = transform
            if all(map(partial(self._follows, role), _PROBES)):
                self._skeletons.clear()
                return transform
            self._skeletons.clear()
        raise ModelRefused(
            f"the chat template changes the text of {role} messages in a way that cannot be followed"
        )

    def _follows(self, role: str, probe: str) -> bool:
        for turns in _conversations(role, probe):
            try:
                expected = self.raw(turns)
            except PromptRefused:
                continue
            try:
                found = self.render(turns)
            except PromptRefused:
                return False
            if self.text(found) != expected:
                return False
        return True

    def text(self, prompt: Prompt) -> str:
        """The prompt as text, control tokens as they are written. For eyes and probes, not to encode."""
        texts: list[str] = []
        for is_text, parts in groupby(prompt, lambda part: isinstance(part, str)):
            found = list(parts)
            texts.append("".join(map(str, found)) if is_text else self._vocabulary.decode(found))  # type: ignore[arg-type]
        return "".join(texts)


def _message(role: str, content: str, name: str) -> dict[str, str]:
    message = {"role": role, "content": content}
    return message | {"name": name} if name else message


def _fill(run: _Run, turns: Sequence[Turn], texts: Sequence[str]) -> str:
    return "".join(
        part if isinstance(part, str) else turns[part.message].name if part.is_name else texts[part.message]
        for part in run.parts
    )


def _conversations(role: str, probe: str) -> list[list[Turn]]:
    """Conversations in which the role's texts are the probe and no other text can be changed."""
    user, answer = Turn("user", "u"), Turn("assistant", "a")
    said = Turn(role, probe)
    if role == "system":
        return [[said, user], [said, user, answer, user]]
    if role == "assistant":
        return [[user, said, user], [user, said, user, said, user]]
    return [[said], [Turn("system", "s"), said], [said, answer, said]]
