"""The fake server as a process, for benchmarks: `python -m tests.fakes.jellyfin --items 100000 --port 0`.

It prints its address. The accounts are `root`, an administrator, and `viewer`, both with the password `x`.
"""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta

from tests.fakes.jellyfin import FakeJellyfin, audio, film, new_id, text
from tests.fakes.jellyfin.admin import User


async def serve(items: int, port: int, version: str) -> None:
    fake = FakeJellyfin(version)
    fake.port = port
    fake.is_changing = False
    fake.keeps_exchanges = False
    fake.accounts = {
        user.id: user
        for user in (
            User("root", new_id("root"), is_admin=True),
            User("viewer", new_id("viewer"), languages="ger"),
        )
    }
    now = datetime.now(UTC)
    streams = [audio("eng"), audio("ger", IsDefault=False), text("eng"), text("ger"), text("fre")]
    fake.add(
        *(
            film(
                f"Film {number:06d}",
                streams,
                library=fake.libraries[0].id,
                added=now - timedelta(minutes=items - number),
                minutes=95,
                now=now,
            )
            for number in range(items)
        )
    )
    async with fake:
        print(fake.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--version", default="10.11.11")
    options = parser.parse_args()
    asyncio.run(serve(options.items, options.port, options.version))
