"""The WSGI application at `/dav`: OPTIONS for anyone, signing in, then our methods, five of them by way of WsgiDAV."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from wsgidav.dav_provider import DAVProvider
from wsgidav.request_resolver import RequestResolver
from wsgidav.wsgidav_app import WsgiDAVApp

from auth.errors import Revoked, SignInRefused, Throttled
from auth.rights import Principal
from config.errors import MellanrumError
from config.logging import get_log
from config.settings import Settings
from providers.errors import QuotaExceeded
from server.walls import is_for_another_page
from server.webdav.errors import ALLOWED, answer_to
from server.webdav.exchange import GUARD, Answer, Exchange
from server.webdav.get import get
from server.webdav.locking import lock, unlock
from server.webdav.propfind import propfind
from server.webdav.proppatch import proppatch
from server.webdav.put import put
from server.webdav.refusals import NotHere, OfAnotherPage
from server.webdav.signin import Authenticator, principal_of
from server.webdav.trees import copy, delete, mkcol, move
from server.webdav.urls import href_of, path_of

if TYPE_CHECKING:
    from providers.drive import Drive

METHODS: dict[str, Callable[[Exchange], Answer]] = {
    "COPY": copy,
    "DELETE": delete,
    "GET": get,
    "HEAD": get,
    "LOCK": lock,
    "MKCOL": mkcol,
    "MOVE": move,
    "PROPFIND": propfind,
    "PROPPATCH": proppatch,
    "PUT": put,
    "UNLOCK": unlock,
}
#: What programs ask hundreds of times in a row. The way through WsgiDAV would cost each more than all the rest here.
DIRECT = frozenset({"GET", "HEAD", "LOCK", "PROPFIND", "PUT", "UNLOCK"})
OPTIONS = [("DAV", "1, 2, 3"), ("MS-Author-Via", "DAV"), ("Allow", ALLOWED), ("Content-Length", "0")]
_DRIVE, _OFFICE = "mellanrum.drive", "microsoft office"
_log = get_log("webdav")


class DoorKeeper(Protocol):
    """What WebDAV needs of an installation."""

    @property
    def authenticator(self) -> Authenticator:
        """Whom to ask who that is."""
        ...

    def drive(self, principal: Principal) -> Drive:
        """Return what the principal may see and do."""
        ...


class Methods(DAVProvider):  # type: ignore[misc]
    """Takes over every method, so that none of WsgiDAV's own data paths is reached."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def get_resource_inst(self, path: str, environ: dict[str, Any]) -> None:
        """Never asked: methods find their resources through the drive."""
        raise NotImplementedError

    def custom_request_handler(
        self, environ: dict[str, Any], start_response: Callable[..., Any], default_handler: object
    ) -> Iterable[bytes | memoryview]:
        """Answer one request that came by way of WsgiDAV."""
        return self.answer(environ, start_response, environ[_DRIVE])

    def answer(
        self, environ: dict[str, Any], start_response: Callable[..., Any], drive: Drive
    ) -> Iterable[bytes | memoryview]:
        """Answer one request of a method that is ours."""
        method, path = environ["REQUEST_METHOD"], None
        try:
            target = _target(environ)
            path = path_of(target)
            if path is None:
                raise NotHere
            exchange = Exchange(
                environ, self._settings, drive, path, ends_in_slash=target[-1] == "/" and not path.is_root
            )
            answer = METHODS[method](exchange)
        except MellanrumError as error:
            answer = answer_to(error, method, "/dav/" if path is None else href_of(path))
            if isinstance(error, QuotaExceeded):
                _log.info("quota_exceeded")
            elif answer.status.startswith("5"):
                _log.error("request_failed", error, status=int(answer.status[:3]))
        return send(answer, start_response)


def _target(environ: dict[str, Any]) -> str:
    """Return the path of the URL as it came, undecoded."""
    target: bytes = environ["mellanrum.target"]
    return target.partition(b"?")[0].decode("latin-1")


def send(answer: Answer, start_response: Callable[..., Any]) -> Iterable[bytes | memoryview]:
    """Start the response and return its body."""
    body = answer.body
    length = answer.length
    if length is None:
        body = tuple(body)
        length = sum(map(len, body))
    start_response(answer.status, [*answer.headers, ("Content-Length", str(length))])
    return body


class WebDav:
    """`/dav` as a WSGI application. `environ["mellanrum.target"]` is the request's target as it came."""

    def __init__(self, keeper: DoorKeeper, settings: Settings) -> None:
        self._keeper = keeper
        self._methods = Methods(settings)
        self._wsgidav = WsgiDAVApp(
            {
                "provider_mapping": {"/": self._methods},
                "middleware_stack": [RequestResolver],
                "lock_storage": None,
                "property_manager": None,
                "verbose": 0,
                "logging": {"enable": False, "enable_loggers": []},
                "hotfixes": {"re_encode_path_info": False},
            }
        )

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes | memoryview]:
        """Answer one request."""
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            start_response("200 OK", OPTIONS)
            return ()
        if is_for_another_page(environ):  # before it is asked who that is: it is nobody's act
            return send(answer_to(OfAnotherPage(), method, "/dav/"), start_response)
        try:
            principal = principal_of(environ, self._keeper.authenticator)
        except MellanrumError as error:
            if isinstance(error, SignInRefused | Throttled | Revoked) and _is_office_head(environ):
                return send(Answer("200 OK", GUARD), start_response)
            return send(answer_to(error, method, "/dav/"), start_response)
        if method not in METHODS:
            return send(answer_to(NotHere(), method, "/dav/"), start_response)
        owned: Callable[[bytes], None] | None = environ.get("mellanrum.owned")
        if owned is not None:
            owned(principal.id)
        drive = self._keeper.drive(principal)
        if method in DIRECT:
            return self._methods.answer(environ, start_response, drive)
        environ[_DRIVE] = drive
        # The path is ours to parse, and what is left of a body is the listener's to drain, within bounds.
        environ.update({"PATH_INFO": "/", "wsgidav.all_input_read": 1, "wsgidav.auth.user_name": ""})
        answered: Iterable[bytes | memoryview] = self._wsgidav(environ, start_response)
        return answered


def _is_office_head(environ: dict[str, Any]) -> bool:
    """Office asks for the document it is about to open without credentials, and shows a box for any but 200."""
    return environ["REQUEST_METHOD"] == "HEAD" and _OFFICE in environ.get("HTTP_USER_AGENT", "").lower()
