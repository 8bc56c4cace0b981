"""*Service*: does it answer, how fast, and what holds it up."""

from __future__ import annotations

from ops.grafana.panels import (
    Board,
    Query,
    Section,
    Shown,
    grown,
    one,
    quantile,
    quantiles,
    rate,
    ratio,
    sel,
    total,
)
from ops.grafana.pipeline import BUS, PROCESSES, ROOM

REQUESTS = "freehold_edge_requests_total"
RECORDS = "freehold_bus_records_total"
FAULTS = 'state=~"failed|expired"'

WELL = Section(
    "Is it well?",
    (
        Shown(
            "Alerts firing",
            "Alerts of Freehold's rules that fire now. Each names its runbook; begin with the critical ones.",
            "short",
            one('count(ALERTS{alertstate="firing", alertname=~"Freehold.*"}) or vector(0)'),
            "number",
            3,
            4,
            warn=1,
            bad=3,
        ),
        Shown(
            "Processes not scraped",
            "Processes that do not answer a scrape: dead, or cut off. The rest of the row does not show "
            "them.",
            "short",
            one('count(up{job="freehold"} == 0) or vector(0)'),
            "number",
            3,
            4,
            bad=1,
        ),
        Shown(
            "Services not ready",
            "Processes that run and may not take work; /readyz says why in words.",
            "short",
            one(f"count({sel('freehold_process_ready')} == 0) or vector(0)"),
            "number",
            3,
            4,
            bad=1,
        ),
        Shown(
            "Failed or expired",
            "Share of the requests that ended in the last 5 minutes by the platform's own fault or too "
            "late. Refused and cancelled ones are not in it.",
            "percentunit",
            one(
                ratio(
                    f"sum(increase({sel(REQUESTS, FAULTS)}[5m]))",
                    f"sum(increase({sel(REQUESTS)}[5m]))",
                )
            ),
            "number",
            3,
            4,
            warn=0.01,
            bad=0.05,
        ),
        Shown(
            "Requests",
            "Requests that ended, a second. A fall to nothing in working hours means that clients do not "
            "reach the edge: look at the proxy and at the processes not scraped.",
            "reqps",
            one(rate(REQUESTS)),
            "number",
            3,
            4,
        ),
        Shown(
            "First token, p95",
            "From acceptance to the first vetted text, 95 of 100 requests of the last minutes were faster.",
            "s",
            one(quantile(0.95, "freehold_edge_first_token_seconds")),
            "number",
            3,
            4,
            warn=2,
            bad=10,
        ),
        Shown(
            "Waiting for a worker",
            "Requests that have passed every check and wait for a free slot. Steadily above 0 means that "
            "the workers are too few; see *Hardware*.",
            "short",
            one(total("freehold_edge_queue_length")),
            "number",
            3,
            4,
            warn=10,
            bad=100,
        ),
        Shown(
            "Dead or parked, 1 h",
            "Records that no handler could take in the last hour. Each one is a request that got an error, "
            "or money that waits for a person: never normal.",
            "short",
            one(grown(RECORDS, 'outcome=~"dead_lettered|parked"')),
            "number",
            3,
            4,
            bad=1,
        ),
    ),
)

REQUEST_ROW = Section(
    "Requests and errors",
    (
        Shown(
            "Requests by how they ended",
            "Every request ends in exactly one of these states, so the sum is all there were. `failed` is "
            "the platform's fault, `expired` its slowness, `refused` a policy, a budget or a bad size, "
            "`cancelled` the client's own going.",
            "reqps",
            one(rate(REQUESTS, by="state"), "{{state}}"),
            "stacked",
        ),
        Shown(
            "HTTP answers by status",
            "4xx are the clients' mistakes, 429 also budgets and overload; 5xx are ours. 499: the client "
            "went.",
            "reqps",
            one(rate("freehold_edge_http_requests_total", by="status"), "{{status}}"),
            "stacked",
        ),
        Shown(
            "Refused before they were whole",
            "Connections that were turned away for a slow, too large or malformed request. A burst from "
            "nowhere is a scanner or an attack.",
            "reqps",
            one(rate("freehold_edge_refused_connections_total", by="code"), "{{code}}"),
        ),
        Shown(
            "Refusals by service",
            "What the tokenizer and billing refuse, by kind: contexts that are too long, budgets used up, "
            "repeated idempotency keys. What policies refuse is on *Safety*.",
            "reqps",
            (
                Query(rate("freehold_tokenizer_refused_total", by="kind"), "tokenizer {{kind}}"),
                Query(
                    rate("freehold_billing_reservations_total", 'outcome!="RESERVED"', by="outcome"),
                    "billing {{outcome}}",
                ),
            ),
            width=12,
        ),
        Shown(
            "Attempts and rejections",
            "Dispatches to workers against the requests that needed one: more attempts than requests means "
            "that streams break and are sent on. Rejections are normal only in bursts.",
            "ops",
            (
                Query(rate("freehold_edge_attempts_total"), "dispatched"),
                Query(rate("freehold_inference_attempts_total", by="reason"), "ended: {{reason}}"),
                Query(rate("freehold_inference_rejected_total", by="reason"), "rejected: {{reason}}"),
                Query(rate("freehold_moderation_broken_streams_total"), "broken in moderation"),
            ),
            width=12,
        ),
    ),
)

LATENCY = Section(
    "Latency",
    (
        Shown(
            "Time to first token",
            "From acceptance to the first vetted text in the client's buffer. It is the sum of screening, "
            "tokenizing, reserving, the wait for a slot and the prompt's own computation.",
            "s",
            quantiles("freehold_edge_first_token_seconds", 0.5, 0.95, 0.99),
        ),
        Shown(
            "Time per token",
            "Mean time between two tokens of an answer. It rises with the batch: more streams at once are "
            "each slower.",
            "s",
            quantiles("freehold_edge_token_seconds", 0.5, 0.95, 0.99),
        ),
        Shown(
            "Wait for a slot",
            "From ready to dispatched: what a client waits only because all workers were busy.",
            "s",
            quantiles("freehold_edge_queue_seconds", 0.5, 0.95, 0.99),
        ),
        Shown(
            "95th percentile by service",
            "Where the time goes: each service's own step. Screening and encoding take milliseconds; "
            "reserving and settling wait for the database's disk.",
            "s",
            tuple(
                Query(quantile(0.95, f"freehold_{name}_seconds"), legend)
                for name, legend in (
                    ("moderation_screen", "moderation: screen"),
                    ("tokenizer_encode", "tokenizer: encode"),
                    ("billing_reserve", "billing: reserve"),
                    ("inference_time_to_first_token", "inference: first token"),
                    ("billing_settle", "billing: settle"),
                    ("audit_append", "audit: append"),
                )
            ),
            width=12,
        ),
        Shown(
            "95th percentile by HTTP route",
            "From a request's head to its answer's end, streams included: long answers are slow and well.",
            "s",
            one(quantile(0.95, "freehold_edge_http_request_seconds", by="route"), "{{route}}"),
            width=12,
        ),
    ),
)

SERVICE = Board(
    "service",
    "Freehold: Service",
    "Does it answer, how fast, and what holds it up. The first row says whether it is well.",
    (WELL, REQUEST_ROW, LATENCY, ROOM, BUS, PROCESSES),
)
