"""Check of each exchange with a fake server against the OpenAPI documents of Jellyfin."""

from collections.abc import Iterator

import pytest

from tests.fakes.jellyfin.server import MADE
from tests.support.openapi import CONTRACT, DOCUMENTS, violations


@pytest.fixture(autouse=True)
def _check_exchanges() -> Iterator[None]:
    """Fail a test whose requests or answers the document of the server's version does not allow."""
    MADE.clear()
    yield
    if not CONTRACT.is_dir():
        return
    problems: set[str] = set()
    checked = 0
    for fake in MADE:
        for exchange in fake.received:
            document = _document_of(exchange.version)
            if document is not None:
                problems.update(f"{document}: {problem}" for problem in violations(exchange, document))
                checked += 1
    MADE.clear()
    if checked:
        print(f"{checked} exchanges checked against the documents")
    assert sorted(problems) == []


def _document_of(version: str) -> str | None:
    """Return the version whose document describes a server version; None if there is none."""
    release = version.split(".")[:2]
    return next((document for document in DOCUMENTS if document.split(".")[:2] == release), None)
