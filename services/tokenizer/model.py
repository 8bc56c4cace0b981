"""One served model: its vocabulary, its template and the limits that its manifest states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.tokenizer.errors import PromptRefused
from services.tokenizer.template import ChatTemplate, Prompt, Turn
from services.tokenizer.vocabulary import Vocabulary
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from shared.models.bound import prompt_bound
from shared.models.manifest import PromptBound

# No template was trained on "developer": what a developer says is the system's message.
_ROLES = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_DEVELOPER: "system",
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
}


@dataclass(frozen=True)
class ServedModel:
    """Made by `loading.load_model`. For several threads at once."""

    name: str
    context: int
    default_output: int
    bound: PromptBound
    tokenizer_digest: str
    template_digest: str
    vocabulary: Vocabulary
    template: ChatTemplate

    def prompt(self, request: pb.CompletionRequest) -> Prompt:
        """The request through the model's template, or its raw prompt. Raises PromptRefused."""
        prompt: Prompt = self.template.render(_turns(request)) if request.messages else [request.prompt]
        begin = self.vocabulary.begin
        if self.vocabulary.add_begin and begin is not None and prompt[:1] != [begin]:
            prompt.insert(0, begin)
        return prompt

    def encode(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Ids of each prompt, with all their texts in one call of the vocabulary."""
        encoded = iter(
            self.vocabulary.encode([part for prompt in prompts for part in prompt if isinstance(part, str)])
        )
        found = []
        for prompt in prompts:
            ids: list[int] = []
            for part in prompt:
                if isinstance(part, int):
                    ids.append(part)
                else:
                    ids.extend(next(encoded))
            found.append(ids)
        return found

    def bound_of(self, request: pb.CompletionRequest) -> int:
        """The bound on this request's prompt tokens that a reservation uses."""
        texts = (text for message in request.messages for text in (*message.parts, message.name))
        octets = len(request.prompt.encode()) + sum(len(text.encode()) for text in texts)
        bound = self.bound
        return prompt_bound(
            self.context, bound.expand, bound.per_message, bound.fixed, octets, len(request.messages)
        )


def _turns(request: pb.CompletionRequest) -> list[Turn]:
    if request.tools:
        raise PromptRefused("tools are not supported by this model")
    turns = []
    for number, message in enumerate(request.messages):
        role = _ROLES.get(message.role)
        if role is None or message.tool_calls or message.tool_call_id:
            raise PromptRefused(
                f"the role or the tool calls of message {number} are not supported by this model"
            )
        turns.append(Turn(role, "".join(message.parts), message.name))
    return turns
