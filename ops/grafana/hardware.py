"""*Hardware*: what the devices and the machines do, and how much room is left."""

from __future__ import annotations

from ops.grafana.panels import WINDOW, Board, Query, Section, Shown, grown, one, ours, rate, ratio, sel, total

BUSY = "freehold_inference_busy_seconds_total"
STEPS = "freehold_inference_steps_total"
TOKENS = "freehold_inference_tokens_total"
GENERATED = 'kind="generated"'
DEVICE = "freehold_inference_device"
NAMED = "{{instance}} {{device}}"


def _mean_batch(by: str = "") -> str:
    part, whole = rate(TOKENS, GENERATED, by=by), rate(STEPS, by=by)
    return f"({part}) / ({whole} > 0)"


WELL = Section(
    "Is there room?",
    (
        Shown(
            "Device use",
            "Share of the time that the engines' threads worked, over all workers. Near 1, more traffic "
            "only makes answers slower or waits for a slot.",
            "percentunit",
            one(f"avg(rate({sel(BUSY)}[{WINDOW}]))"),
            "number",
            4,
            4,
            warn=0.85,
            bad=0.97,
            most=1,
        ),
        Shown(
            "Slots in use",
            "Share of the sequences that may run at a time.",
            "percentunit",
            one(
                ratio(
                    f"{total('freehold_inference_slots')} - {total('freehold_inference_free_slots')}",
                    total("freehold_inference_slots"),
                )
            ),
            "number",
            4,
            4,
            warn=0.8,
            bad=1,
            most=1,
        ),
        Shown(
            "Cells promised",
            "Share of the KV cells that running requests may need at worst. At 1 new ones are rejected for "
            "cells, though slots are free: long contexts.",
            "percentunit",
            one(
                ratio(
                    f"{total('freehold_inference_cells')} - {total('freehold_inference_free_cells')}",
                    total("freehold_inference_cells"),
                )
            ),
            "number",
            4,
            4,
            warn=0.8,
            bad=0.95,
            most=1,
        ),
        Shown(
            "Tokens a second",
            "Output tokens that all workers generate.",
            "short",
            one(rate(TOKENS, GENERATED)),
            "number",
            4,
            4,
        ),
        Shown(
            "Sequences a step",
            "Mean batch: how many sequences one step of the engine carries on. Larger is cheaper a token.",
            "short",
            one(_mean_batch()),
            "number",
            4,
            4,
        ),
        Shown(
            "Failed steps, 1 h",
            "Steps that the engine failed; all sequences of the batch were broken off with each.",
            "short",
            one(grown("freehold_inference_failed_steps_total")),
            "number",
            4,
            4,
            bad=1,
        ),
    ),
)

ENGINE = Section(
    "Engine",
    (
        Shown(
            "Use by worker",
            "Share of the time that the engine's thread worked.",
            "percentunit",
            one(f"sum by (instance) (rate({sel(BUSY)}[{WINDOW}]))", "{{instance}}"),
            most=1,
        ),
        Shown(
            "Tokens by kind",
            "Prompt tokens that were computed, prompt tokens that came from a prefix cache, and generated "
            "ones, a second.",
            "short",
            one(rate(TOKENS, by="kind"), "{{kind}}"),
        ),
        Shown(
            "Batch and steps",
            "Sequences a step, and steps a second, by worker.",
            "short",
            (
                Query(_mean_batch("instance"), "batch {{instance}}"),
                Query(rate(STEPS, by="instance"), "steps a second {{instance}}"),
            ),
        ),
        Shown(
            "Cells",
            "KV cells of all workers: promised to what runs, at worst; holding a token now, prefixes that "
            "are kept for later included (they are given up when needed).",
            "short",
            (
                Query(total("freehold_inference_cells"), "all"),
                Query(
                    f"{total('freehold_inference_cells')} - {total('freehold_inference_free_cells')}",
                    "promised",
                ),
                Query(total("freehold_inference_held_cells"), "held"),
            ),
        ),
        Shown(
            "Slots",
            "Sequences: all, running, and queued beside them.",
            "short",
            (
                Query(total("freehold_inference_slots"), "all"),
                Query(
                    f"{total('freehold_inference_slots')} - {total('freehold_inference_free_slots')}",
                    "running",
                ),
                Query(total("freehold_inference_queued"), "queued"),
                Query(total("freehold_inference_running"), "attempts (of one or more sequences)"),
            ),
        ),
        Shown(
            "Time per token at the worker",
            "Mean of an attempt after its first token, before moderation and delivery: the device's own "
            "pace.",
            "s",
            tuple(
                Query(
                    f"histogram_quantile({share}, sum by (le)"
                    f" (rate({sel('freehold_inference_time_per_output_token_seconds_bucket')}[{WINDOW}])))",
                    f"p{share * 100:g}",
                )
                for share in (0.5, 0.95)
            ),
        ),
    ),
)

DEVICES = Section(
    "Devices that tell of themselves",
    (
        Shown(
            "Use",
            "As the device's own driver reports it. Empty where the worker runs on CPUs, whose machine "
            "tells below.",
            "percentunit",
            one(sel(f"{DEVICE}_use_ratio"), NAMED),
            most=1,
        ),
        Shown(
            "Device memory",
            "Used memory of each device, and all it has.",
            "bytes",
            (
                Query(sel(f"{DEVICE}_memory_used_bytes"), f"used {NAMED}"),
                Query(sel(f"{DEVICE}_memory_bytes"), f"all {NAMED}"),
            ),
        ),
        Shown(
            "Power",
            "Electrical power that the device draws.",
            "watt",
            one(sel(f"{DEVICE}_power_watts"), NAMED),
        ),
        Shown(
            "Temperature",
            "Most devices slow down from about 85 °C on.",
            "celsius",
            one(sel(f"{DEVICE}_temperature_celsius"), NAMED),
            width=12,
            warn=80,
            bad=90,
        ),
        Shown(
            "Energy a thousand tokens",
            "Joules that the devices drew for a thousand generated tokens, prompts included.",
            "joule",
            one(
                f"1000 * sum({sel(f'{DEVICE}_power_watts')}) / ({rate(TOKENS, GENERATED)} > 0)", "all devices"
            ),
            width=12,
        ),
    ),
)

MACHINES = Section(
    "Processes' own use of the machine",
    (
        Shown(
            "Resident memory",
            "Resident memory of each process. Rising for days without a plateau is a leak.",
            "bytes",
            one(ours(sel("process_resident_memory_bytes")), "{{instance}}"),
        ),
        Shown(
            "CPU",
            "Cores that each process uses. One at 1 that is not a worker has its event loop full: add a "
            "replica.",
            "short",
            one(ours(f"rate({sel('process_cpu_seconds_total')}[{WINDOW}])"), "{{instance}}"),
        ),
        Shown(
            "Open files",
            "Share of the files, sockets included, that a process may have open.",
            "percentunit",
            one(ours(f"{sel('process_open_fds')} / {sel('process_max_fds')}"), "{{instance}}"),
            warn=0.7,
            bad=0.9,
        ),
    ),
)

HARDWARE = Board(
    "hardware",
    "Freehold: Hardware",
    "What devices and machines do, how full their batches and memories are, and how much room is left.",
    (WELL, ENGINE, DEVICES, MACHINES),
)
