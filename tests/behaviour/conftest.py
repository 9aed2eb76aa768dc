"""Over the whole suite: what the program and the fake servers said to each other is what Jellyfin's own documents allow."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.contract.openapi import CONTRACT, DOCUMENTS, violations
from tests.fakes.jellyfin.server import MADE

MOST_OF_A_KIND = 5
"""Exchanges of one route and status that are checked in one test: pages of hundreds of items take their time."""


@pytest.fixture(autouse=True)
def every_exchange_is_as_the_documents_say() -> Iterator[None]:
    MADE.clear()
    yield
    if not CONTRACT.is_dir():
        return
    seen: Counter[tuple[str, str, int, str]] = Counter()
    found: list[str] = []
    for fake in MADE:
        for exchange in fake.received:
            document = next((version for version in DOCUMENTS if version.split(".")[:2] == exchange.version.split(".")[:2]), None)
            kind = (exchange.method, exchange.route, exchange.status, exchange.version)
            seen[kind] += 1
            if document is not None and seen[kind] <= MOST_OF_A_KIND:
                found += violations(exchange, document)
    MADE.clear()
    assert found == []
