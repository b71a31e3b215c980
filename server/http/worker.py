"""One process that serves HTTP on a listening socket. Run as `python -P -m server.http.worker`; see server.serving."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

from config.logging import get_log
from config.settings import Settings
from providers.installation import Installation
from server import serving
from server.http import tls
from server.http.dispatcher import Dispatcher
from server.http.listener import Listener
from server.webdav.app import WebDav

_log = get_log("worker")


def serve(task: dict[str, Any], installation: Installation, settings: Settings, stop: threading.Event) -> None:
    """Answer requests until told to stop, then let those under way end. News are certificates, and which of the others'
    sockets are left alone.
    """
    context = tls.context(tls.Pair(*task["tls"])) if task["tls"] else None
    application = Dispatcher(WebDav(installation, settings))
    others = [socket.socket(fileno=each) for each in task["others"]]
    listener = Listener(socket.socket(fileno=task["descriptor"]), application, settings, context, others)
    listener.prepare()
    accepting = threading.Thread(target=listener.serve, name="accept")
    accepting.start()

    def take(news: dict[str, Any]) -> None:
        if "tls" in news:
            listener.tls = tls.context(tls.Pair(*news["tls"]))
        if "left" in news:
            listener.stand_in(news["left"])

    serving.heed_supervisor(stop, take)
    serving.say_ready()
    serving.wait_for(stop)
    started = time.monotonic()
    listener.stop()
    accepting.join()
    _log.info("drained", milliseconds=int((time.monotonic() - started) * 1000))


if __name__ == "__main__":
    serving.main(serve)
