"""In the company of others: FastAPI."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cachekit import cache
from support import RedisServer

fastapi = pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")


def application(calls: list[Any], **options: Any) -> Any:
    app = fastapi.FastAPI()

    @app.get("/sync/{item}")
    @cache(namespace=f"route sync {options}", **options)
    def sync_route(item: int, verbose: bool = False) -> dict[str, Any]:
        calls.append(item)
        return {"item": item, "verbose": verbose}

    @app.get("/async/{item}")
    @cache(namespace=f"route async {options}", **options)
    async def async_route(item: int, verbose: bool = False) -> dict[str, Any]:
        """The item."""
        calls.append(item)
        await asyncio.sleep(0)
        return {"item": item, "verbose": verbose}

    return app


@pytest.mark.parametrize("kind", ["none", "redis"])
def test_fastapi_routes(redis: RedisServer, kind: str) -> None:
    calls: list[Any] = []
    app = application(calls, backend=None if kind == "none" else redis.unix_url)

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
            for path in ("sync", "async"):
                for _ in range(2):
                    response = await client.get(f"/{path}/3?verbose=true")
                    assert response.status_code == 200
                    assert response.json() == {"item": 3, "verbose": True}
                assert (await client.get(f"/{path}/x")).status_code == 422
            many = await asyncio.gather(*(client.get("/async/9") for _ in range(20)))
            assert {response.json()["item"] for response in many} == {9}
            schema = (await client.get("/openapi.json")).json()
            operation = schema["paths"]["/async/{item}"]["get"]
            assert operation["description"] == "The item."
            assert [parameter["name"] for parameter in operation["parameters"]] == ["item", "verbose"]

    asyncio.run(main())
    assert calls == [3, 3, 9]
