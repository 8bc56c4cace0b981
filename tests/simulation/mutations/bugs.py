"""The list: what is replaced in which file, and what it breaks. Each text stands in its file exactly once."""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """One replacement in a copy of the tree."""

    name: str
    file: str
    old: str
    new: str


BUGS = (
    Bug(
        "double settle: a settled request is settled again",
        "services/billing/books/settling.py",
        "        elif row.state == SETTLED:\n            self.again.add(event.request)\n            if row",
        "        elif row.state == 'never':\n            self.again.add(event.request)\n            if row",
    ),
    Bug(
        "usage is not sent again where its acknowledgement is lost",
        "services/inference/attempts/usage.py",
        "                while not await self._acknowledged(sent):",
        "                while not await self._acknowledged(sent) and False:",
    ),
    Bug(
        "a close is not sent again where it was not acknowledged",
        "services/edge/owner/insisting.py",
        "            self._failed.append(letter)",
        "            pass",
    ),
    Bug(
        "offsets are committed before the effect",
        "shared/bus/consumer.py",
        "        lane.begin()\n        self._inline = True\n",
        "        lane.begin()\n        self._inline = True\n"
        "        self._finish(lane, span, len(batch.records))\n        await self._commits.flush()\n",
    ),
    Bug(
        "fence removed: what earlier attempts say counts",
        "services/edge/states/transitions.py",
        "        if attempt != self._k or not attempt:",
        "        if not self._k or not attempt:",
    ),
    Bug(
        "no tombstones: a worker runs an attempt that it has ended",
        "services/inference/handlers.py",
        "        if self._generation.known(envelope.request, envelope.attempt):\n            return None\n",
        "",
    ),
    Bug(
        "hold-back off by one: the id that straddles the border is released",
        "services/moderation/output/window.py",
        "                if stop + length > border:",
        "                if stop > border:",
    ),
    Bug(
        "a settlement does not release its reservation",
        "services/billing/books/booking.py",
        "reserved = reserved - ?, spent = spent + ?",
        "reserved = reserved - 0 * ?, spent = spent + ?",
    ),
    Bug(
        "usage of a resumed attempt counts its prefix again",
        "services/inference/attempts/usage.py",
        "usage.choices.add(choice=stream.choice, generated=stream.generated)",
        "usage.choices.add(choice=stream.choice, generated=stream.next_index)",
    ),
    Bug(
        "the chain of a resumed request forgets its prefix",
        "services/billing/settlement.py",
        "            chains[choice] = starts.get(choice, 0) + count",
        "            chains[choice] = count",
    ),
    Bug(
        "cancel dropped: who leaves does not stop his worker",
        "services/edge/owner/carrying.py",
        "        self.insistence.send(self._records.cancel(entry, effect.attempt))",
        "        self._records.cancel(entry, effect.attempt)",
    ),
    Bug(
        "tenant salt dropped: prefixes are shared by all",
        "services/edge/owner/acceptance.py",
        'hashlib.sha256(f"{principal.organisation}\\0{principal.project}".encode()).digest()',
        'hashlib.sha256(b"everybody").digest()',
    ),
    Bug(
        "an idempotency key is not looked for",
        "services/billing/books/reserving.py",
        "        holder = self._rows.get(ask.idempotency) if ask.idempotency else None",
        "        holder = None",
    ),
    Bug(
        "verdict weakened: what is to be refused or redacted is flagged",
        "services/moderation/policy.py",
        "        self.action = max(self.action, hit.rule.action)",
        "        self.action = max(self.action, min(hit.rule.action, Action.FLAG))",
    ),
    Bug(
        "a plain answer that was never sent counts as delivered",
        "services/edge/states/closing.py",
        "    return machine.terms.streamed or machine.state is State.COMPLETED",
        "    return True",
    ),
    Bug(
        "a resumed stream goes on one id too late",
        "services/inference/scheduler.py",
        "        part.index = len(ids) - len(running.job.prompt)",
        "        part.index = len(ids) - len(running.job.prompt) + bool(running.job.prefix)",
    ),
    Bug(
        "a budget is not asked whether it has room",
        "services/billing/books/reserving.py",
        "            if self._used.get(claim.budget, 0) + wanted.amount > claim.limit:",
        "            if wanted.amount > claim.limit:",
    ),
    Bug(
        "the log takes a repeated fact for a new one",
        "services/audit/stream.py",
        "                return True\n        return False",
        "                return True\n        return True",
    ),
    Bug(
        "the outbox forgets a record that was not acknowledged",
        "shared/storage/outbox.py",
        "                await acknowledgement\n                published.append(row.id)",
        "                published.append(row.id)\n                await acknowledgement",
    ),
    Bug(
        "the end of a stream is told before its usage is durable",
        "services/inference/attempts/usage.py",
        "                while not await self._acknowledged(sent):",
        "                while sent is None:",
    ),
)
