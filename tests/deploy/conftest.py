"""A server behind each of the proxies of deploy/, set up as their files say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.ports import free_port
from tests.proxies import Proxy, shipped_caddy, shipped_nginx
from tests.serving import Dav, Served, serving

SHIPPED = {"nginx": shipped_nginx, "caddy": shipped_caddy}


@dataclass
class Behind:
    """A proxy and the server behind it."""

    proxy: Proxy
    server: Served
    _clients: list[Dav] = field(default_factory=list)

    def dav(self, login: str | None = None) -> Dav:
        """Return a client of a person, or of nobody, that goes through the proxy."""
        password = self.server.world.passwords.get(login or "", "")
        made = Dav(f"{self.proxy.origin}/dav/", login, password, self.proxy.authority)
        self._clients.append(made)
        return made

    def close(self) -> None:
        """Let all clients' connections go."""
        for client in self._clients:
            client.close()


@pytest.fixture(scope="module", params=SHIPPED)
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """Two workers behind one proxy."""
    folder = tmp_path_factory.mktemp(request.param)
    port = free_port()
    overrides = {
        "http.public_origins": [f"https://localhost:{port}"],
        "http.trusted_proxies": ["127.0.0.1/32", "::1/128"],
    }
    with serving(folder / "data", **overrides) as server:
        upstream = server.http_url.split("/")[2]
        with SHIPPED[request.param](folder, upstream, port=port) as proxy:
            found = Behind(proxy, server)
            yield found
            found.close()
