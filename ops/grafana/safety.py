"""*Safety*: what the policies decide, about whom and in which script, and what holding back costs."""

from __future__ import annotations

from ops.grafana.panels import (
    Board,
    Query,
    Section,
    Shown,
    grown,
    highest,
    one,
    quantile,
    quantiles,
    rate,
    ratio,
    sel,
    total,
)

VERDICTS = "freehold_moderation_verdicts_total"
TENANTS = "freehold_edge_verdicts_total"
RULES = "freehold_moderation_rule_matches_total"
REFUSED = 'verdict="refuse"'
MODERATION = 'name="moderation"'
ACTED = 'verdict=~"redact|refuse"'

WELL = Section(
    "Is everybody safe?",
    (
        Shown(
            "Exposed characters",
            "Characters that a reader saw before they matched a rule that refuses or redacts. The promise "
            "is 0; anything else is an incident, also where nobody complained.",
            "short",
            one(total("freehold_moderation_exposed_characters_total")),
            "number",
            4,
            4,
            bad=1,
        ),
        Shown(
            "Moderation ready",
            "Ready processes of moderation. At 0 every request is answered with 503: nothing leaks, and "
            "nothing is served.",
            "short",
            one(f"sum({sel('freehold_process_ready', MODERATION)})"),
            "number",
            4,
            4,
            warn=1,
            bad=1,
            low_is_bad=True,
        ),
        Shown(
            "Policies that failed",
            "Policies whose newest version cannot be used; the one before stays in force. The log of "
            "moderation says which line is at fault.",
            "short",
            one(highest("freehold_moderation_policy_faults")),
            "number",
            4,
            4,
            bad=1,
        ),
        Shown(
            "Refused, 1 h",
            "Share of the judged requests that a policy refused, on the way in or out. A jump is an attack, "
            "a new rule that is too wide, or an application that changed.",
            "percentunit",
            one(
                ratio(
                    f"sum(increase({sel(TENANTS, REFUSED)}[1h]))",
                    f"sum(increase({sel(TENANTS)}[1h]))",
                )
            ),
            "number",
            4,
            4,
            warn=0.1,
            bad=0.5,
        ),
        Shown(
            "Streams that broke, 1 h",
            "Streams that moderation could not vet: a gap in the frames, an unknown policy. They are sent "
            "on or end in an error; no unvetted text is shown.",
            "short",
            one(grown("freehold_moderation_broken_streams_total")),
            "number",
            4,
            4,
            warn=1,
            bad=20,
        ),
        Shown(
            "Held back, p95",
            "Longest time that text of an answer waited in the window, for 95 of 100 answers: what vetting "
            "costs a reader.",
            "s",
            one(quantile(0.95, "freehold_edge_held_seconds")),
            "number",
            4,
            4,
            warn=1,
            bad=5,
        ),
    ),
)

DECIDED = Section(
    "Verdicts",
    (
        Shown(
            "Inputs by verdict",
            "Requests judged before anything is generated.",
            "reqps",
            one(rate(VERDICTS, 'direction="input"', by="verdict"), "{{verdict}}"),
            "stacked",
            width=12,
        ),
        Shown(
            "Outputs by verdict",
            "Answers judged while they were generated.",
            "reqps",
            one(rate(VERDICTS, 'direction="output"', by="verdict"), "{{verdict}}"),
            "stacked",
            width=12,
        ),
        Shown(
            "Refused or redacted, by organisation",
            "The ten organisations with the most, in the hour before each point; the first fifty that were "
            "seen are told by name, the rest is `other`.",
            "short",
            one(f"topk(10, {grown(TENANTS, ACTED, by='tenant, verdict')})", "{{tenant}} {{verdict}}"),
        ),
        Shown(
            "Refused share by organisation",
            "Of all its judged requests in an hour. One far above the others has an application at fault or "
            "an intruder with its key.",
            "percentunit",
            one(
                f"topk(10, sum by (tenant) (increase({sel(TENANTS, REFUSED)}[1h]))"
                f" / (sum by (tenant) (increase({sel(TENANTS)}[1h])) > 0))",
                "{{tenant}}",
            ),
            most=1,
        ),
        Shown(
            "Refused or redacted share, by script",
            "The script that most of a request's longest text is written in stands for its language. One "
            "script far above the others: a rule that is unfair to its speakers.",
            "percentunit",
            one(
                f"sum by (script) (increase({sel('freehold_moderation_scripts_total', ACTED)}[1h]))"
                f" / (sum by (script) (increase({sel('freehold_moderation_scripts_total')}[1h])) > 0)",
                "{{script}}",
            ),
            most=1,
        ),
    ),
)

RULE_ROW = Section(
    "Rules",
    (
        Shown(
            "Rules that matched most, 24 h",
            "Texts in which each rule matched in the last day, by direction and policy: the twenty most.",
            "short",
            one(
                f"topk(20, {grown(RULES, window='24h', by='rule, direction, policy')})",
                "{{policy}} {{rule}} ({{direction}})",
            ),
            "bars",
            width=12,
            height=10,
        ),
        Shown(
            "Matches by rule",
            "Matches a second: when did it begin?",
            "ops",
            one(f"topk(10, {rate(RULES, by='rule, direction')})", "{{rule}} ({{direction}})"),
            width=12,
            height=10,
        ),
    ),
)

HOLDING = Section(
    "Holding back",
    (
        Shown(
            "Longest wait of an answer's text",
            "As the edge saw it: text waits while a match could still come of it.",
            "s",
            quantiles("freehold_edge_held_seconds", 0.5, 0.95, 0.99),
        ),
        Shown(
            "Tokens held back",
            "Most tokens of an answer that waited at a time.",
            "short",
            (
                *quantiles("freehold_edge_held_tokens", 0.5, 0.95, 0.99),
                Query(quantile(0.95, "freehold_moderation_held_tokens"), "p95 of streams, in moderation"),
            ),
        ),
        Shown(
            "Window of each policy",
            "Folded characters that a match may span, so the most that is ever held back: what the policy "
            "states. Exposure beyond it is counted in the first row.",
            "short",
            one(highest("freehold_moderation_window_characters", by="policy"), "{{policy}}"),
        ),
    ),
)

SPEED = Section(
    "Moderation itself",
    (
        Shown(
            "Time to a verdict",
            "From a batch's arrival to its verdicts.",
            "s",
            quantiles("freehold_moderation_screen_seconds", 0.5, 0.95, 0.99),
        ),
        Shown(
            "Lag",
            "Requests and frames that wait for moderation. Readers wait with them.",
            "short",
            one(
                total("freehold_bus_lag_records", 'group=~"moderation.*"', by="group, instance"),
                "{{group}} {{instance}}",
            ),
        ),
        Shown(
            "Hold-back in moderation",
            "The same wait as moderation itself measured it, without the way to the edge.",
            "s",
            quantiles("freehold_moderation_held_seconds", 0.5, 0.95, 0.99),
        ),
    ),
)

SAFETY = Board(
    "safety",
    "Freehold: Safety",
    "What the policies decide, by rule, organisation and script; what holding back costs; what was exposed.",
    (WELL, DECIDED, RULE_ROW, HOLDING, SPEED),
)
