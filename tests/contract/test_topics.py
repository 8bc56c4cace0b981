"""`proto/topics.yaml` says what the protocol says, and the loader believes nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from shared.bus.ports import Start
from shared.bus.topics import PATH, TopicsError, load_topics

SERVICES = {"edge", "control", "tokenizer", "moderation", "inference", "billing", "audit"}

# name: (class, partition by, compose, embedded, order, groups, assigned)
PROTOCOL = {
    "requests": ("transit", "request", 12, 4, "none", ("moderation.input", "tokenizer"), {}),
    "reserves": ("transit", "tenant", 12, 4, "key", ("billing.reserve",), {}),
    "replies": ("transit", "lane", 64, 8, "partition", (), {"edge": Start.END}),
    "work": ("transit", "seat", 64, 8, "partition", (), {"inference": Start.END}),
    "frames": ("transit", "lane", 64, 8, "partition", ("moderation.output",), {}),
    "completions": ("transit", "lane", 64, 8, "partition", (), {"edge": Start.END}),
    "usage": ("record", "tenant", 12, 4, "key", ("billing.settle",), {}),
    "closed": ("record", "tenant", 12, 4, "key", ("billing.settle",), {}),
    "facts": ("record", "none", 1, 1, "partition", ("audit",), {}),
    "dlq": ("transit", "none", 4, 4, "none", (), {}),
}


@pytest.mark.parametrize("name", PROTOCOL)
def test_a_topic_is_as_the_protocol_states(name: str) -> None:
    topic = load_topics("compose")[name]
    embedded = load_topics("embedded")[name].partitions
    stated = (topic.kind, topic.partition_by, topic.partitions, embedded, topic.order, topic.groups)
    assert (*stated, dict(topic.assigned)) == PROTOCOL[name]


def test_there_are_no_other_topics() -> None:
    assert set(load_topics("compose")) == {*PROTOCOL, "pulses", "config"}


def test_pulses_reach_who_measures_time_by_them() -> None:
    topic = load_topics("compose")["pulses"]
    assert topic.assigned == dict.fromkeys(("edge", "inference", "billing"), Start.END)
    assert set(topic.writers) == SERVICES
    assert (topic.kind, topic.partitions, topic.order) == ("transit", 1, "partition")


def test_config_reaches_everybody_from_the_beginning() -> None:
    topic = load_topics("compose")["config"]
    assert topic.assigned == dict.fromkeys(SERVICES, Start.BEGINNING)
    assert (topic.kind, topic.partitions, topic.retention_s, topic.writers) == (
        "config",
        1,
        None,
        ("control",),
    )


def test_retention_is_as_the_protocol_states() -> None:
    days = 24 * 3600
    longer = {"usage": 30 * days, "closed": 30 * days, "facts": 90 * days, "dlq": days, "config": None}
    for name, topic in load_topics("compose").items():
        assert topic.retention_s == longer.get(name, 900), name


def test_only_moderation_writes_what_clients_read() -> None:
    assert load_topics("compose")["completions"].writers == ("moderation",)


def test_every_writer_and_reader_is_a_service() -> None:
    for topic in load_topics("compose").values():
        assert {*topic.writers, *topic.assigned, *(group.split(".")[0] for group in topic.groups)} <= SERVICES


def test_only_transit_is_lost_with_the_process() -> None:
    assert {name for name, topic in load_topics("embedded").items() if topic.durable} == {
        "usage",
        "closed",
        "facts",
        "config",
    }


def test_what_a_lane_answers_is_partitioned_alike() -> None:
    for mode in ("compose", "embedded"):
        topics = load_topics(mode)
        assert len({topics[name].partitions for name in ("replies", "frames", "completions")}) == 1


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("requests", "class"), "durable", "class"),
        (("requests", "colour"), "red", "colour"),
        (("requests", "partitions"), {"compose": 12}, "embedded"),
        (("requests", "partitions"), {"compose": "12", "embedded": 4}, "compose"),
        (("requests", "order"), "fifo", "order"),
        (("requests", "retention_s"), None, "retention_s"),
        (("config", "retention_s"), 900, "compacted"),
        (("config", "partition_by"), "tenant", "kind/id"),
        (("frames", "order"), "key", "record key"),
        (("frames", "writers"), [], "writers"),
        (("dlq", "max_bytes"), 4194304, "largest record"),
        (("Upper",), {}, "Upper"),
        (("dlq",), None, "dlq"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, path: tuple[str, ...], value: object, said: str) -> None:
    content = yaml.safe_load(PATH.read_text())
    *parents, last = path
    place = content
    for parent in parents:
        place = place[parent]
    place[last] = value
    changed = tmp_path / "topics.yaml"
    changed.write_text(yaml.safe_dump(content))
    with pytest.raises(TopicsError, match=said):
        load_topics("compose", changed)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    changed = tmp_path / "topics.yaml"
    changed.write_text(PATH.read_text() + "\nrequests: {}\n")
    with pytest.raises(TopicsError, match="given twice: requests"):
        load_topics("compose", changed)
