"""*Trust*: what an auditor will ask for: the log, its checkpoints, the ledger, the configuration in force."""

from __future__ import annotations

from ops.grafana.panels import Board, Query, Section, Shown, grown, highest, one, quantiles, rate, sel, total

SIZE = "freehold_audit_log_size"
UNSIGNED = "freehold_audit_unsigned_entries"
AGE = "freehold_audit_checkpoint_age_seconds"
MARKER = "freehold_process_config_marker_age_seconds"
OFFSET = "freehold_process_config_offset"

WELL = Section(
    "Can it be proved?",
    (
        Shown(
            "Entries not under a checkpoint",
            "Entries of the log that no signed checkpoint holds yet: less than a second's worth is normal. "
            "Staying up, no receipt can be given.",
            "short",
            one(total(UNSIGNED)),
            "number",
            4,
            4,
            warn=5000,
            bad=50000,
        ),
        Shown(
            "Age of the checkpoint",
            "Since a checkpoint was last signed. An idle platform needs none; with entries waiting it must "
            "be seconds.",
            "s",
            one(f"min({sel(AGE)})"),
            "number",
            4,
            4,
        ),
        Shown(
            "Gaps that are overdue",
            "Numbers of facts that are missing from the log for more than a minute; audit asks for them "
            "again by itself. Staying up, evidence is missing.",
            "short",
            one(total("freehold_audit_gaps")),
            "number",
            4,
            4,
            bad=1,
        ),
        Shown(
            "Ledger entries out of balance",
            "Entries whose debits differ from their credits, among those added up again. Must be 0.",
            "short",
            one(total("freehold_billing_unbalanced_entries_total")),
            "number",
            4,
            4,
            bad=1,
        ),
        Shown(
            "Oldest configuration marker",
            "Control marks the configuration every 30 s; the process that has heard of none for longest. "
            "Above two minutes, changes and revoked keys do not reach it.",
            "s",
            one(highest(MARKER)),
            "number",
            4,
            4,
            warn=60,
            bad=120,
        ),
        Shown(
            "Unfit facts, 1 h",
            "Records of facts that no entry can be made of. They are kept for a person; never normal.",
            "short",
            one(grown("freehold_audit_unfit_total")),
            "number",
            4,
            4,
            bad=1,
        ),
    ),
)

LOG = Section(
    "Transparency log",
    (
        Shown(
            "Size",
            "Entries in the log. It never shrinks: a step down is a database that was restored from an "
            "older backup, and the log must not go on.",
            "short",
            one(highest(SIZE, by="instance"), "{{instance}}"),
        ),
        Shown(
            "Entries a second",
            "New entries, and facts that came again and were in the log already.",
            "ops",
            (
                Query(rate("freehold_audit_entries_total"), "new"),
                Query(rate("freehold_audit_repeated_total"), "again"),
            ),
        ),
        Shown(
            "Unsigned entries",
            "It should fall back to near nothing within a second of traffic.",
            "short",
            one(total(UNSIGNED, by="instance"), "{{instance}}"),
        ),
        Shown(
            "Time to append a batch",
            "From a batch's turn to its durable leaves: the disk.",
            "s",
            quantiles("freehold_audit_append_seconds", 0.5, 0.95, 0.99),
            width=12,
        ),
        Shown(
            "Free on the log's disk",
            "The log and its static files grow by about 1 kB a request and are never cut.",
            "bytes",
            one(f"min by (instance) ({sel('freehold_audit_disk_free_bytes')})", "{{instance}}"),
            width=12,
        ),
    ),
)

LEDGER = Section(
    "Ledger check",
    (
        Shown(
            "Out of balance",
            "Every entry is added up again within seconds of its booking; the count begins anew with the "
            "process. `freehold ledger verify` checks all rules over all entries.",
            "short",
            one(total("freehold_billing_unbalanced_entries_total"), "entries"),
        ),
        Shown(
            "Not added up yet",
            "Entries that were booked since the last look. It should come back to 0.",
            "short",
            one(highest("freehold_billing_unchecked_entries"), "entries"),
        ),
        Shown(
            "Facts that wait",
            "Settlements and changes that are booked and not yet published to the log.",
            "short",
            (
                Query(highest("freehold_billing_outbox_rows"), "billing's outbox"),
                Query(total("freehold_bus_lag_records", 'group="audit"'), "audit's lag"),
            ),
        ),
    ),
)

CONFIGURATION = Section(
    "Configuration and traces",
    (
        Shown(
            "Version by process",
            "Offset of the last configuration record that each process has taken in. All lines lie on each "
            "other; one that stays below has an old configuration.",
            "short",
            one(highest(OFFSET, by="instance"), "{{instance}}"),
        ),
        Shown(
            "Age of the marker by process",
            "A saw's teeth of 30 s. All rising: control is silent. One rising: that process has lost the "
            "bus.",
            "s",
            one(highest(MARKER, by="instance"), "{{instance}}"),
            warn=60,
            bad=120,
        ),
        Shown(
            "Values left aside",
            "Configuration values that a process did not understand; the last good one stays in force there.",
            "short",
            one(grown("freehold_process_config_rejected_total", by="instance"), "{{instance}}"),
        ),
        Shown(
            "Spans exported",
            "Spans that went to the collector and those that were dropped because it was away or slow. "
            "Requests are not held up by it. Nothing where no collector is set.",
            "ops",
            one(rate("freehold_telemetry_spans_total", by="outcome"), "{{outcome}}"),
            width=12,
        ),
        Shown(
            "Prompts above their bound",
            "Prompts with more tokens than the model's manifest allows for. They are refused; the "
            "manifest's numbers are wrong and must be corrected.",
            "short",
            one(grown("freehold_edge_bound_alarms_total"), "prompts"),
            width=12,
        ),
    ),
)

TRUST = Board(
    "trust",
    "Freehold: Trust",
    "The transparency log and its checkpoints, the ledger's check, the configuration that is in force.",
    (WELL, LOG, LEDGER, CONFIGURATION),
)
