"""Does drills one after the other, and looks at the books of each."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.bench.machine import described
from tests.drills.books import Books
from tests.drills.drill import Drill, Figure, Result
from tests.drills.log import whole_log
from tests.drills.world import World

SOON_S = 8.0
"""The books of a drill are usually complete by then; what takes longer is looked at again at the end."""
AT_LAST_S = 300.0
"""A lost owner's reservation ends a request's deadline and two minutes after it was made."""
OPEN_S = 600.0
AGAIN_S = 400.0
LOOK_S = 0.25


class Runner:
    """One world for all drills, and a new one where a drill has spoilt it."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._began = time.monotonic()
        self._machine = described()
        self._world: World | None = None
        self._open: list[tuple[Result, Books]] = []
        self._wrong = False
        self.results: list[Result] = []

    def do(self, drill: Drill) -> None:
        """Do one; never raises for what goes wrong in it."""
        began = time.monotonic()
        result = Result(drill, None, None, 0.0)
        self.results.append(result)
        try:
            world = self.world()
            first = len(world.loads)
            result.figure = within(drill.seconds, lambda: drill.run(world))
            within(AGAIN_S, world.again)
            self._account(result, Books(world, world.loads[first:]))
        except Exception as error:  # noqa: BLE001 - told in the report; the next drill is done
            result.error = f"{type(error).__name__}: {str(error)[:400]}"
            result.figure = None
            traceback.print_exc(limit=-3)
            self._spoilt()
        result.took_s = time.monotonic() - began
        print(f"{drill.id}: {told(result)} [{result.took_s:.0f} s]", file=sys.stderr, flush=True)

    def world(self) -> World:
        """The one there is, made where there is none."""
        if self._world is None:
            world = World()
            try:
                within(OPEN_S, world.open)
            except BaseException:
                world.close()
                raise
            self._world = world
        return self._world

    def _account(self, result: Result, books: Books) -> None:
        if eventually(books.complete, SOON_S):
            result.account = books.account()
        else:
            self._open.append((result, books))

    def _spoilt(self) -> None:
        """Set the world right, or give it up."""
        if self._world is None:
            return
        try:
            self._world.servers_again()
            within(AGAIN_S, self._world.again)
        except Exception:  # noqa: BLE001 - it is made anew
            traceback.print_exc(limit=-3)
            self._give_up()

    def _give_up(self) -> None:
        try:
            self.close_books()
        except Exception:  # noqa: BLE001 - what was open stays without its books, and the report says so
            traceback.print_exc(limit=-3)
            for result, _ in self._open:
                result.error = "its world broke before its books were complete"
                result.figure = None
            self._open.clear()
        world, self._world = self._world, None
        if world is not None:
            with suppress(Exception):
                world.close()

    def close_books(self) -> list[str]:
        """Wait for what was still open; what is said of the world as a whole."""
        if self._world is None:
            return []
        until = time.monotonic() + AT_LAST_S
        for result, books in self._open:
            complete = eventually(books.complete, max(1.0, until - time.monotonic()))
            result.account = books.account()
            if not complete:
                result.account.fault("lost: never complete", ", ".join(books.open()[:3]))
        self._open.clear()
        try:
            return whole_log(self._world)
        except AssertionError as error:
            self._wrong = True
            return [f"**WRONG as a whole**: {error}"]

    @property
    def broken(self) -> bool:
        """Whether a promise was."""
        return self._wrong or any(result.verdict == "BROKEN" for result in self.results)

    def end(self) -> None:
        """Leave nothing running."""
        if self._world is not None:
            self._world.close()
            self._world = None

    def machine(self) -> dict[str, Any]:
        """Where and how."""
        return {"command": self._command, **self._machine, "took_s": round(time.monotonic() - self._began)}


def told(result: Result) -> str:
    """A line about a drill that was just done."""
    figure = result.figure
    if figure is None:
        return result.error
    account = result.account if result.account and result.account.sent else "books later or none"
    told = f"{figure.held} of {figure.tried} {figure.what}"
    return "; ".join([result.verdict, told, figure.seconds, str(account), *figure.notes])


def within(seconds: float, what: Callable[[], Figure | None]) -> Any:
    """What it returns. Raises `TimeoutError` where it has not ended by then; its thread is left behind."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((what(), None))
        except BaseException as error:  # noqa: BLE001 - raised below
            found.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise TimeoutError(f"not at its end after {seconds:.0f} s")
    value, error = found[0]
    if error is not None:
        raise error
    return value


def eventually(found: Callable[[], bool], seconds: float) -> bool:
    """Whether it becomes true in time."""
    until = time.monotonic() + seconds
    while not found():
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_S)
    return True
