"""Over the whole suite: what the program and the fake servers said to each other is what Jellyfin's own documents allow."""

from collections.abc import Iterator

import pytest

from tests.fakes.jellyfin.server import MADE
from tests.support.openapi import CONTRACT, DOCUMENTS, violations


@pytest.fixture(autouse=True)
def every_exchange_is_as_the_documents_say() -> Iterator[None]:
    MADE.clear()
    yield
    if not CONTRACT.is_dir():
        return
    found: set[str] = set()
    checked = 0
    for fake in MADE:
        for exchange in fake.received:
            document = next(
                (
                    version
                    for version in DOCUMENTS
                    if version.split(".")[:2] == exchange.version.split(".")[:2]
                ),
                None,
            )
            if document is not None:
                found.update(f"{document}: {problem}" for problem in violations(exchange, document))
                checked += 1
    MADE.clear()
    if checked:
        print(f"{checked} exchanges checked against the documents")
    assert sorted(found) == []
