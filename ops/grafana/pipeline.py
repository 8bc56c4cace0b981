"""The second half of *Service*: queue, slots, the bus and the processes."""

from __future__ import annotations

from ops.grafana.panels import HERE, Query, Section, Shown, grown, highest, one, ours, rate, sel, total

RECORDS = "freehold_bus_records_total"

ROOM = Section(
    "Queue and slots",
    (
        Shown(
            "In flight and waiting",
            "Requests that have not ended, and of these those that wait for a worker.",
            "short",
            (
                Query(total("freehold_edge_in_flight"), "in flight"),
                Query(total("freehold_edge_queue_length"), "wait for a worker"),
            ),
            width=6,
        ),
        Shown(
            "Not taken",
            "Requests a second that were refused at once: `overloaded` would wait too long for a worker, "
            "`rate_limit_exceeded` is above a bound of its key or organisation, `not_ready` lacks a service.",
            "reqps",
            one(rate("freehold_edge_not_taken_total", by="code"), "{{code}}"),
            width=6,
        ),
        Shown(
            "Slots",
            "Sequences that the workers can run at a time. With none free, new requests wait.",
            "short",
            (
                Query(total("freehold_inference_slots"), "all"),
                Query(total("freehold_inference_free_slots"), "free"),
                Query(highest("freehold_edge_free_slots"), "free, as the edge sees them"),
                Query(total("freehold_inference_queued"), "queued at workers"),
            ),
            width=6,
        ),
        Shown(
            "Workers heard",
            "Ready workers that an edge hears. 0: every request ends in 503.",
            "short",
            one(f"min by (instance) ({sel('freehold_edge_workers')})", "{{instance}}"),
            width=6,
        ),
    ),
)

BUS = Section(
    "Bus",
    (
        Shown(
            "Lag",
            "Records between what a group has finished and the end of its topic. Growing without an end: "
            "the group is too slow, or stuck on a fault; its process is then not ready.",
            "short",
            one(total("freehold_bus_lag_records", by="group, topic"), "{{group}} {{topic}}"),
        ),
        Shown(
            "Handled",
            "Records a second by group and topic: the pulse of the whole pipeline. One group at nothing "
            "while the others work is the one that is stuck.",
            "ops",
            one(rate(RECORDS, 'outcome="handled"', by="group, topic"), "{{group}} {{topic}}"),
        ),
        Shown(
            "Dead letters, parked, left aside",
            "Dead letters of transit topics, parked records of record topics, configuration values that "
            "were not understood. Normal is a flat line at 0.",
            "short",
            one(
                grown(
                    RECORDS,
                    'outcome=~"dead_lettered|parked|kept_last_good"',
                    window="10m",
                    by="topic, outcome",
                ),
                "{{topic}} {{outcome}}",
            ),
        ),
        Shown(
            "Held up by faults",
            "Batches that the bus or a database failed and that are tried again. Nothing is lost; it is "
            "late.",
            "ops",
            one(rate("freehold_bus_faults_total", by="group, topic"), "{{group}} {{topic}}"),
        ),
        Shown(
            "Too old",
            "Records that were older than their request's time and were dropped: a service was away for "
            "long.",
            "ops",
            one(rate(RECORDS, 'outcome="stale"', by="group, topic"), "{{group}} {{topic}}"),
        ),
        Shown(
            "Late, undecodable, unacknowledged, foreign",
            "Of the edges: answers to requests that had ended (some are normal), records that could not be "
            "understood (none are), and closes that the bus has not acknowledged. Of the workers: cancels by "
            "who does not own the attempt, which is somebody writing in another's name.",
            "short",
            (
                Query(rate("freehold_edge_late_records_total"), "late, a second"),
                Query(rate("freehold_edge_undecodable_records_total"), "undecodable, a second"),
                Query(total("freehold_edge_unacknowledged_records"), "unacknowledged"),
                Query(rate("freehold_inference_foreign_cancels_total"), "foreign cancels, a second"),
            ),
        ),
    ),
)

PROCESSES = Section(
    "Processes",
    (
        Shown(
            "Ready",
            "1 = may take work, by service and process.",
            "short",
            one(f"min by (name, instance) ({sel('freehold_process_ready')})", "{{name}} {{instance}}"),
            most=1,
        ),
        Shown(
            "Alive, as the others hear it",
            "Ready processes of each service whose pulse was heard in the last seconds, over the bus. A "
            "process that is up and not heard has lost the bus.",
            "short",
            one(f"max by (name) (freehold_process_heard{{{HERE}}})", "{{name}}"),
        ),
        Shown(
            "Up since",
            "Time since each process began. A saw's teeth are a process that dies again and again.",
            "s",
            one(ours(f"time() - {sel('process_start_time_seconds')}"), "{{instance}}"),
        ),
    ),
)
