"""What an owner's `GenerateTokens` asks for, checked against what this worker serves (pure)."""

from __future__ import annotations

import math

from services.inference.attempts.attempt import Choice, Work
from services.inference.engine import Sampling
from services.inference.streams.stops import LONGEST_STOP, MOST_STOPS
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from shared.models.manifest import DefaultSampling, Manifest

TEXT_FORMATS = (pb.Format.TYPE_UNSPECIFIED, pb.Format.TYPE_TEXT)


class NotServed(ValueError):
    """This worker cannot do the work as it was asked for; the message is for the log."""


def understand(asked: edge.GenerateTokens, manifest: Manifest, context: int, vocabulary: int) -> Work:
    """The work, or `NotServed`: another model, ids that are none, or a setting that is not built."""
    served = (manifest.name, manifest.weights_sha256, manifest.tokenizer_sha256)
    if (asked.model, asked.weights_digest, asked.tokenizer_digest) != served:
        raise NotServed(f"work for {asked.model} of other digests")
    if asked.logprobs or asked.top_logprobs or asked.format.type not in TEXT_FORMATS:
        raise NotServed("log-probabilities and formats are not built")
    prompt = list(asked.prompt_ids)
    choices = tuple(Choice(prefix.choice, list(prefix.ids)) for prefix in asked.choices)
    _check_ids(prompt, choices, vocabulary)
    if not 0 < len(prompt) < context:
        raise NotServed(f"a prompt of {len(prompt)} ids in a context of {context}")
    if any(prefix.from_index != len(prefix.ids) for prefix in asked.choices):
        raise NotServed("a prefix that is not as long as its index says")
    if len(asked.stop) > MOST_STOPS or not all(0 < len(stop) <= LONGEST_STOP for stop in asked.stop):
        raise NotServed("stops out of bounds")
    return Work(
        prompt=prompt,
        choices=choices,
        sampling=sampling_of(asked.sampling, manifest.sampling),
        seed=asked.seed,
        stops=tuple(asked.stop),
        most=asked.max_output or manifest.default_max_tokens,
        salt=asked.tenant_salt,
        policies=tuple(asked.policies),
        window=asked.window,
    )


def sampling_of(asked: pb.Sampling, default: DefaultSampling) -> Sampling:
    """The settings of a draw; what is absent is the model's default. Raises NotServed."""
    if asked.frequency_penalty or asked.presence_penalty:
        raise NotServed("penalties are not built")
    found = Sampling(
        temperature=asked.temperature if asked.HasField("temperature") else default.temperature,
        top_k=asked.top_k if asked.HasField("top_k") else default.top_k,
        top_p=asked.top_p if asked.HasField("top_p") else default.top_p,
        min_p=asked.min_p if asked.HasField("min_p") else default.min_p,
    )
    shares = (found.top_p, found.min_p)
    if not (math.isfinite(found.temperature) and found.temperature >= 0 and all(0 <= x <= 1 for x in shares)):
        raise NotServed("sampling out of bounds")
    return found


def _check_ids(prompt: list[int], choices: tuple[Choice, ...], vocabulary: int) -> None:
    if not choices or len({choice.number for choice in choices}) != len(choices):
        raise NotServed("no choice, or one twice")
    if any(ids and max(ids) >= vocabulary for ids in (prompt, *(choice.prefix for choice in choices))):
        raise NotServed("ids that are not in the vocabulary")
