"""The bench of the doors measures what it says."""

from __future__ import annotations

from contextlib import closing

import pytest

from config.settings import Settings
from server.http.dispatcher import Dispatcher
from server.webdav.app import WebDav
from tests.bench.front import Keeper, OneConnection, requests


@pytest.mark.parametrize("name", requests())
def test_what_the_doors_cost_was_measured_of_requests_that_failed(name: str) -> None:
    with closing(OneConnection(Dispatcher(WebDav(Keeper(), Settings())))) as one:
        assert one.exchange(requests()[name]).startswith(b"HTTP/1.1 2")
