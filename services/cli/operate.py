"""Commands that read and change the configuration over gRPC: organisations, keys, budgets, prices, models."""

from __future__ import annotations

import click

from services.cli.display import Amount, amount, show
from services.cli.session import Channels, ask, fail
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.control.v1 import control_pb2 as pb
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub

LEVELS = {"organisation": config.LEVEL_ORGANISATION, "project": config.LEVEL_PROJECT, "key": config.LEVEL_KEY}
PERIODS = {"none": config.PERIOD_NONE, "day": config.PERIOD_DAY, "month": config.PERIOD_MONTH}
PRIORITIES = {"interactive": config.PRIORITY_INTERACTIVE, "batch": config.PRIORITY_BATCH}


@click.group()
def organisations() -> None:
    """List organisations, and set what each gets of the workers."""


@organisations.command("list")
def list_organisations() -> None:
    """List organisations."""
    found = ask(lambda to: ControlStub(to.control).ListOrganisations(pb.ListOrganisationsRequest()))
    rows = [
        [row.id, row.name, row.currency, str(row.share or 100), "disabled" if row.disabled else "enabled"]
        for row in found.organisations
    ]
    show("Organisations", ["id", "name", "currency", "share", "state"], rows)


@organisations.command("share")
@click.argument("identifier")
@click.argument("share", type=click.IntRange(1, 10_000))
def set_share(identifier: str, share: int) -> None:
    """Weigh an organisation, 100 where nothing is set: while workers are short, one with twice the share of
    another is served twice the tokens.
    """

    async def question(to: Channels) -> pb.PutOrganisationResponse:
        control = ControlStub(to.control)
        found = await control.ListOrganisations(pb.ListOrganisationsRequest())
        value = next((row for row in found.organisations if row.id == identifier), None)
        if value is None:
            fail(f"there is no organisation {identifier}")
        value.share = share
        put: pb.PutOrganisationResponse = await control.PutOrganisation(
            pb.PutOrganisationRequest(organisation=value)
        )
        return put

    click.echo(f"{identifier} has the share {ask(question).organisation.share}")


@click.group()
def keys() -> None:
    """Make, list and revoke keys."""


@keys.command("create")
@click.option("--project", required=True, help="Project that the key belongs to.")
@click.option("--name", default="", help="What people call it.")
@click.option("--role", "roles", multiple=True, help="complete, usage, admin or operator; repeatable.")
@click.option(
    "--max-in-flight", type=click.IntRange(0, 100_000), default=0, help="Requests at once; 0 = default."
)
@click.option(
    "--priority",
    type=click.Choice(list(PRIORITIES)),
    default="interactive",
    show_default=True,
    help="batch: behind the organisation's interactive requests, and waits longer before it is refused.",
)
def create_key(project: str, name: str, roles: tuple[str, ...], max_in_flight: int, priority: str) -> None:
    """Make a key and show its secret, this once."""

    async def question(to: Channels) -> pb.CreateKeyResponse:
        control = ControlStub(to.control)
        found = await control.ListProjects(pb.ListProjectsRequest())
        organisation = next((row.organisation for row in found.projects if row.id == project), "")
        if not organisation:
            fail(f"there is no project {project}; there are: {', '.join(row.id for row in found.projects)}")
        asked = config.Key(
            organisation=organisation,
            project=project,
            name=name,
            roles=roles,
            max_in_flight=max_in_flight,
            priority=PRIORITIES[priority],
        )
        made: pb.CreateKeyResponse = await control.CreateKey(pb.CreateKeyRequest(key=asked))
        return made

    made = ask(question)
    click.echo(f"{made.key.id}\n{made.secret}")


@keys.command("list")
@click.option("--project", default="", help="Only this project's.")
def list_keys(project: str) -> None:
    """List keys, without secrets."""
    found = ask(lambda to: ControlStub(to.control).ListKeys(pb.ListKeysRequest(project=project)))
    rows = [
        [key.id, key.project, key.name, ", ".join(key.roles), "revoked" if key.revoked else "valid"]
        for key in found.keys
    ]
    show("Keys", ["id", "project", "name", "roles", "state"], rows)


@keys.command("revoke")
@click.argument("identifier")
def revoke_key(identifier: str) -> None:
    """End a key, also in streams that are running."""
    ask(lambda to: ControlStub(to.control).RevokeKey(pb.RevokeKeyRequest(id=identifier)))
    click.echo(f"{identifier} is revoked")


@click.group()
def budgets() -> None:
    """Set and list budgets: hard stops on what may be spent."""


@budgets.command("set")
@click.argument("level", type=click.Choice(list(LEVELS)))
@click.argument("identifier")
@click.argument("limit", type=Amount())
@click.option("--period", type=click.Choice(list(PERIODS)), default="month", show_default=True)
def set_budget(level: str, identifier: str, limit: int, period: str) -> None:
    """Limit what an organisation, project or key may spend in a period."""

    async def question(to: Channels) -> pb.PutBudgetResponse:
        control = ControlStub(to.control)
        organisation = await _organisation_of(control, level, identifier)
        found = await control.ListOrganisations(pb.ListOrganisationsRequest())
        currency = next((row.currency for row in found.organisations if row.id == organisation), "")
        if not currency:
            fail(f"there is no {level} {identifier}")
        budget = config.Budget(
            level=LEVELS[level],
            id=identifier,
            organisation=organisation,
            currency=currency,
            limit=limit,
            period=PERIODS[period],
        )
        put: pb.PutBudgetResponse = await control.PutBudget(pb.PutBudgetRequest(budget=budget))
        return put

    budget = ask(question).budget
    click.echo(f"{level} {identifier} may spend {amount(budget.limit, budget.currency)} ({period})")


async def _organisation_of(control: ControlStub, level: str, identifier: str) -> str:
    if level == "organisation":
        return identifier
    if level == "project":
        projects = (await control.ListProjects(pb.ListProjectsRequest())).projects
        return next((row.organisation for row in projects if row.id == identifier), "")
    found = (await control.ListKeys(pb.ListKeysRequest())).keys
    return next((row.organisation for row in found if row.id == identifier), "")


@budgets.command("list")
def list_budgets() -> None:
    """List budgets."""
    found = ask(lambda to: ControlStub(to.control).ListBudgets(pb.ListBudgetsRequest()))
    levels = {number: name for name, number in LEVELS.items()}
    periods = {number: name for name, number in PERIODS.items()}
    rows = [
        [levels[row.level], row.id, amount(row.limit, row.currency), periods[row.period]]
        for row in found.budgets
        if not row.removed
    ]
    show("Budgets", ["level", "id", "limit", "period"], rows)


@click.group()
def prices() -> None:
    """Set and list prices by model, per million tokens."""


@prices.command("set")
@click.argument("model")
@click.option("--currency", required=True, help="Code of ISO 4217.")
@click.option("--version", required=True, help="Name of this price; ledger lines keep it.")
@click.option("--prompt", type=Amount(), required=True, help="Per million prompt tokens.")
@click.option(
    "--cached", type=Amount(), required=True, help="Per million prompt tokens from the prefix cache."
)
@click.option("--output", type=Amount(), required=True, help="Per million output tokens.")
def set_price(model: str, currency: str, version: str, prompt: int, cached: int, output: int) -> None:
    """Set what a model costs from now on."""
    per_thousand = {"prompt": prompt, "cached": cached, "output": output}
    if odd := [name for name, value in per_thousand.items() if value % 1000]:
        raise click.BadParameter("it must be a multiple of 0.000001", param_hint=f"--{odd[0]}")
    price = config.Price(
        model=model,
        currency=currency,
        version=version,
        prompt=prompt // 1000,
        cached=cached // 1000,
        output=output // 1000,
    )
    ask(lambda to: ControlStub(to.control).PutPrice(pb.PutPriceRequest(price=price)))
    click.echo(f"{model} is sold at price version {version}")


@prices.command("list")
def list_prices() -> None:
    """List prices."""
    found = ask(lambda to: ControlStub(to.control).ListPrices(pb.ListPricesRequest()))
    rows = [
        [
            row.model,
            row.version,
            *(amount(value * 1000, row.currency) for value in (row.prompt, row.cached, row.output)),
        ]
        for row in found.prices
    ]
    show("Prices per million tokens", ["model", "version", "prompt", "cached", "output"], rows)


@click.group()
def models() -> None:
    """List the models that are served."""


@models.command("list")
def list_models() -> None:
    """List models with the beginnings of their digests."""
    found = ask(lambda to: ControlStub(to.control).ListModels(pb.ListModelsRequest()))
    rows = [
        [row.name, str(row.context), row.weights_digest[:12], row.tokenizer_digest[:12], row.licence]
        for row in found.models
    ]
    show("Models", ["name", "context", "weights", "tokenizer", "licence"], rows)
