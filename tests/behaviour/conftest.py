"""Fixtures of the behaviour tests.

Each exchange with a fake server is checked against the OpenAPI documents of Jellyfin.
"""

import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.jellyfin import FakeJellyfin, audio, film, new_id
from tests.fakes.jellyfin.accounts import User
from tests.fakes.jellyfin.server import INSTANCES
from tests.support.app import CERTIFICATE
from tests.support.commands import ServerThread, StartServer
from tests.support.openapi import CONTRACT, DOCUMENTS, violations


@pytest.fixture(autouse=True)
def _check_exchanges() -> Iterator[None]:
    """Fail a test whose requests or answers the document of the server's version does not allow."""
    INSTANCES.clear()
    yield
    if not CONTRACT.is_dir():
        return
    problems: set[str] = set()
    checked = 0
    for fake in INSTANCES:
        for exchange in fake.received:
            document = _document_of(exchange.version)
            if document is not None:
                problems.update(f"{document}: {problem}" for problem in violations(exchange, document))
                checked += 1
    INSTANCES.clear()
    if checked:
        print(f"{checked} exchanges checked against the documents")
    assert sorted(problems) == []


def _document_of(version: str) -> str | None:
    """Return the version whose document describes a server version; None if there is none."""
    release = version.split(".")[:2]
    return next((document for document in DOCUMENTS if document.split(".")[:2] == release), None)


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Yield a function that starts a server with one film, an administrator and a user, beside commands."""
    thread = ServerThread()

    def start(*arguments: Any, is_tls: bool = False, **options: Any) -> FakeJellyfin:
        fake = FakeJellyfin(*arguments, **options)
        if is_tls:
            fake.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            fake.tls.load_cert_chain(CERTIFICATE)
        thread.start(fake)
        fake.accounts = {
            new_id(name): User(name, new_id(name), is_admin=name == "root", languages=languages)
            for name, languages in (("root", "ger"), ("kid", "ger,spa"))
        }
        fake.add(film("Film", [audio("eng")], library=fake.libraries[0].id))
        return fake

    yield start
    thread.close()
