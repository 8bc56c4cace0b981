"""*Money*: what was generated, delivered and billed, what is reserved, and what the operator bears."""

from __future__ import annotations

from ops.grafana.panels import (
    Board,
    Query,
    Section,
    Shown,
    grown,
    highest,
    one,
    quantiles,
    rate,
    ratio,
    sel,
    total,
)

TOKENS = "freehold_billing_tokens_total"
MONEY_TOTAL = "freehold_billing_money_total"
BILLED = 'what="billed"'
COST = 'what="operator_cost"'
GENERATED = 'what="generated"'

WELL = Section(
    "Is the money right?",
    (
        Shown(
            "Entries out of balance",
            "Ledger entries whose debits differ from their credits, among those added up again since the "
            "process began. Must be 0: above it, stop and run `freehold ledger verify`.",
            "short",
            one(total("freehold_billing_unbalanced_entries_total")),
            "number",
            4,
            4,
            bad=1,
        ),
        Shown(
            "Parked records",
            "Usages and closes that billing could not understand and keeps for a person. Each is a request "
            "whose settlement may be wrong until it is dealt with.",
            "short",
            one(highest("freehold_billing_parked_rows")),
            "number",
            4,
            4,
            bad=1,
        ),
        Shown(
            "Budgets near their end",
            "Budgets of which four fifths are used, reservations included. Their owners will soon get 429.",
            "short",
            one("sum(max by (level) (" + sel("freehold_billing_budgets_near_end") + "))"),
            "number",
            4,
            4,
            warn=1,
        ),
        Shown(
            "Unbilled share, 1 h",
            "Share of the generated tokens that nobody pays for: requests that failed, were refused on "
            "output or lost their edge. The operator bears it.",
            "percentunit",
            one(
                ratio(
                    f"sum(increase({sel(TOKENS, GENERATED)}[1h])) - sum(increase({sel(TOKENS, BILLED)}[1h]))",
                    f"sum(increase({sel(TOKENS, GENERATED)}[1h]))",
                )
            ),
            "number",
            4,
            4,
            warn=0.05,
            bad=0.2,
        ),
        Shown(
            "Settled without usage, 1 h",
            "Settlements that went by what was delivered because the worker's own count never came: workers "
            "that were killed.",
            "short",
            one(grown("freehold_billing_usage_missing_total")),
            "number",
            4,
            4,
            warn=1,
            bad=20,
        ),
        Shown(
            "Open reservations",
            "Requests that hold money now. It follows the traffic; growing without traffic, settlements are "
            "stuck: see the lag of `billing.settle` on *Service*.",
            "short",
            one("sum(max by (currency) (" + sel("freehold_billing_reservations_open") + ")) or vector(0)"),
            "number",
            4,
            4,
        ),
    ),
)

FLOW = Section(
    "Tokens",
    (
        Shown(
            "Generated, delivered, billed",
            "Output tokens of settled requests, a second, as the worker counted them, as the client got "
            "them and as they were charged. The distance from generated to billed is the operator's.",
            "short",
            (
                Query(rate(TOKENS, 'what="generated"'), "generated"),
                Query(rate(TOKENS, 'what="delivered"'), "delivered"),
                Query(rate(TOKENS, BILLED), "billed"),
            ),
        ),
        Shown(
            "Tokens at the edge",
            "Prompt tokens of answered requests, of these those that came from a prefix cache (cheaper), "
            "and delivered tokens, a second.",
            "short",
            one(rate("freehold_edge_tokens_total", by="kind"), "{{kind}}"),
        ),
        Shown(
            "Length of prompts",
            "Tokens of the prompts that the tokenizer encoded. Long prompts cost cells, and time before the "
            "first token.",
            "short",
            quantiles("freehold_tokenizer_prompt_tokens", 0.5, 0.95, 0.99),
        ),
    ),
)


AMOUNTS = Section(
    "Amounts",
    (
        Shown(
            "Billed, an hour",
            "Currency units that settlements charged in the hour before each point.",
            "short",
            one(grown(MONEY_TOTAL, BILLED, by="currency"), "{{currency}}"),
        ),
        Shown(
            "Operator cost, an hour",
            "What was generated and not billed, at the price it would have had, in the hour before each "
            "point.",
            "short",
            one(grown(MONEY_TOTAL, COST, by="currency"), "{{currency}}"),
        ),
        Shown(
            "Reserved now",
            "Currency units held by requests that are not settled: the worst case of each.",
            "short",
            one(highest("freehold_billing_reserved_money", by="currency"), "{{currency}}"),
        ),
    ),
)

BUDGETS = Section(
    "Budgets",
    (
        Shown(
            "Used share of the budgets nearest to their end",
            "At most twenty, from four fifths on. At 1 the next request of this organisation, project or "
            "key is refused with `insufficient_quota`; raise the limit or wait for the next period.",
            "percentunit",
            one(
                f"topk(20, {highest('freehold_billing_budget_used_ratio', by='level, id')})",
                "{{level}} {{id}}",
            ),
            "bars",
            width=12,
            warn=0.9,
            bad=1,
            most=1,
        ),
        Shown(
            "Answers to reservations",
            "What reserves were answered with. `BUDGET` is a budget that is used up, `REPEATED` an "
            "idempotency key in use.",
            "reqps",
            one(rate("freehold_billing_reservations_total", by="outcome"), "{{outcome}}"),
            width=12,
        ),
    ),
)

SETTLING = Section(
    "Settlement",
    (
        Shown(
            "Settled by state",
            "Settlements a second by the state that the request ended in. `owner_lost`: its edge died; the "
            "tokens are written off.",
            "ops",
            one(rate("freehold_billing_settled_total", by="state"), "{{state}}"),
            "stacked",
        ),
        Shown(
            "Time of a batch",
            "From a batch's arrival to its durable effect. Nobody waits for a settlement; every request "
            "waits for its reservation.",
            "s",
            (
                *quantiles("freehold_billing_settle_seconds", 0.95),
                *(
                    Query(query.expression, f"reserve {query.legend}")
                    for query in quantiles("freehold_billing_reserve_seconds", 0.5, 0.95)
                ),
            ),
        ),
        Shown(
            "What waits",
            "Closed requests without usage (30 s at most), facts that are not published yet, and entries "
            "that were not added up again yet. All should come back to 0 by themselves.",
            "short",
            (
                Query(highest("freehold_billing_awaiting_usage"), "await usage"),
                Query(highest("freehold_billing_outbox_rows"), "outbox"),
                Query(highest("freehold_billing_unchecked_entries"), "not added up again"),
            ),
        ),
        Shown(
            "Came late, or was parked",
            "Usages and closes that came after their request's settlement. They are kept and change "
            "nothing. Parked ones want a person.",
            "ops",
            (
                Query(rate("freehold_billing_late_total"), "late"),
                Query(rate("freehold_billing_parked_total", by="topic"), "parked: {{topic}}"),
            ),
            width=12,
        ),
        Shown(
            "Age of the figures",
            "Since billing last looked at its books for the figures above, every 15 s. Older than a minute, "
            "they say nothing: its database does not answer.",
            "s",
            one(highest("freehold_billing_books_age_seconds", by="instance"), "{{instance}}"),
            width=12,
            warn=60,
            bad=120,
        ),
    ),
)

MONEY = Board(
    "money",
    "Freehold: Money",
    "What was generated, delivered and billed, what is reserved, what the operator bears, whose budget ends.",
    (WELL, FLOW, AMOUNTS, BUDGETS, SETTLING),
)
