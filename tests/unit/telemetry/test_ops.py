"""What the ops endpoints say."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from millrace.telemetry.ops import serve_ops


async def test_the_metrics_say_whether_a_service_is_ready_as_readyz_does() -> None:
    missing: str | None = None
    async with serve_ops("127.0.0.1", 0, lambda: missing) as port, httpx.AsyncClient(trust_env=False) as http:

        async def said() -> tuple[int, float]:
            url = f"http://127.0.0.1:{port}"
            families = text_string_to_metric_families((await http.get(f"{url}/metrics")).text)
            (value,) = (one.value for of in families if of.name == "ml_service_ready" for one in of.samples)
            return (await http.get(f"{url}/readyz")).status_code, value

        assert await said() == (200, 1)
        missing = "a rebalance is under way"
        assert await said() == (503, 0)
        missing = None
        assert await said() == (200, 1)
