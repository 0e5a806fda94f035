"""Fixtures of the tests that download."""

import pytest
from serving import Server


@pytest.fixture
def server(monkeypatch):
    """A real HTTP server, reached without a proxy."""
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    server = Server()
    yield server
    server.stop()
