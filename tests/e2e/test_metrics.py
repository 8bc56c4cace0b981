"""What dashboards and alerts ask for is what a running platform tells; `test_deployed` says so over Kafka."""

from __future__ import annotations

import httpx

from tests.e2e.conftest import Start
from tests.e2e.running import until
from tests.e2e.told import Told


def test_the_embedded_platform_tells_all_that_is_asked_for(start: Start) -> None:
    running = start(FREEHOLD_BILLING_WATCH_PERIOD_S="0.2")
    running.command("demo")  # a plain, a streamed, a refused, an unpaid and a cancelled request

    def scrape() -> Told:
        return Told([httpx.get(running.base_url.replace("/v1", "/metrics")).text])

    def counted(metric: str, label: str, value: str) -> bool:
        return value in scrape().labels.get(metric, {}).get(label, set())

    until(lambda: counted("freehold_billing_money_total", "what", "operator_cost"), "the settlements")
    until(lambda: "freehold_bus_lag_records" in scrape().labels, "the lag")
    told = scrape()
    assert told.complaints() == []
    assert told.unseen() == []
