"""The topics, as `proto/topics.yaml` declares them; nothing else names a topic's properties."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator

from shared.bus.ports import Start

Mode = Literal["compose", "embedded"]
Class = Literal["transit", "record", "config"]
Order = Literal["none", "key", "partition"]
PartitionBy = Literal["request", "tenant", "lane", "seat", "kind/id", "none"]

DEAD_LETTERS = "dlq"
PATH = Path(__file__).with_name("topics.yaml")
"""A link to `proto/topics.yaml`, so that an installed package carries it too."""

_Count = Annotated[int, Field(ge=1, le=1024, strict=True)]
_Name = Annotated[str, Field(pattern=r"^[a-z]+$")]
_Group = Annotated[str, Field(pattern=r"^[a-z]+(\.[a-z]+)?$")]


class Topic(NamedTuple):
    """One declared topic, with the number of partitions of the running mode."""

    name: str
    kind: Class
    partitions: int
    partition_by: PartitionBy
    order: Order
    max_bytes: int
    """Largest record: key, value and headers together."""
    retention_s: int | None
    """None = compacted: the newest record of each key is kept for ever."""
    description: str
    writers: tuple[str, ...]
    groups: tuple[str, ...]
    assigned: Mapping[str, Start]

    @property
    def durable(self) -> bool:
        """Whether an acknowledged record outlives the process in every mode."""
        return self.kind != "transit"


Topics = Mapping[str, Topic]


class TopicsError(ValueError):
    """`topics.yaml` is not what this module can trust."""


def load_topics(mode: Mode, path: Path = PATH) -> Topics:
    """Every topic by name. Raises `TopicsError` naming what is wrong and where."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Strict)  # noqa: S506 - a safe loader
        declared = _File.model_validate(raw, strict=True).root
    except (yaml.YAMLError, ValidationError) as error:
        raise TopicsError(f"{path}: {error}") from error
    return MappingProxyType({name: one.topic(name, mode) for name, one in declared.items()})


class _Partitions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    compose: _Count
    embedded: _Count


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid")
    description: Annotated[str, Field(min_length=20)]
    kind: Class = Field(alias="class")
    partition_by: PartitionBy
    partitions: _Partitions
    order: Order
    writers: Annotated[list[_Name], Field(min_length=1)]
    groups: list[_Group] = []
    assigned: dict[_Name, Literal["beginning", "end"]] = {}
    max_bytes: Annotated[int, Field(ge=1)]
    retention_s: Annotated[int, Field(ge=60)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.kind == "config") != (self.retention_s is None):
            raise ValueError("exactly the config topics are compacted and have no retention_s")
        if self.kind == "config" and self.partition_by != "kind/id":
            raise ValueError("a config topic is partitioned by kind/id, the key it is compacted by")
        if self.order == "key" and self.partition_by not in ("request", "tenant", "kind/id"):
            raise ValueError("order: key needs a record key to partition by")
        return self

    def topic(self, name: str, mode: Mode) -> Topic:
        return Topic(
            name=name,
            kind=self.kind,
            partitions=getattr(self.partitions, mode),
            partition_by=self.partition_by,
            order=self.order,
            max_bytes=self.max_bytes,
            retention_s=self.retention_s,
            description=self.description,
            writers=tuple(self.writers),
            groups=tuple(self.groups),
            assigned={service: Start(start) for service, start in self.assigned.items()},
        )


class _File(RootModel[dict[_Name, _Declared]]):
    @model_validator(mode="after")
    def _dead_letters_fit(self) -> Self:
        if DEAD_LETTERS not in self.root:
            raise ValueError(f"the topic {DEAD_LETTERS} is missing")
        largest = max(topic.max_bytes for name, topic in self.root.items() if name != DEAD_LETTERS)
        if self.root[DEAD_LETTERS].max_bytes < largest + 4096:
            raise ValueError(f"{DEAD_LETTERS} must hold the largest record and 4 KiB of headers")
        return self


class _Strict(yaml.SafeLoader):
    """Refuses a key that is given twice, where YAML itself keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        names = [key.value for key, _ in node.value]
        if twice := {name for name in names if names.count(name) > 1}:
            raise yaml.constructor.ConstructorError(
                None, None, f"given twice: {', '.join(sorted(twice))}", node.start_mark
            )
        return super().construct_mapping(node, deep)
