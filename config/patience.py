"""How long we wait for PostgreSQL: a server that is frozen, or behind a dead network, keeps its connections open and
answers nothing, so neither its own time-outs nor the kernel's end the wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event

from config.errors import DatabaseUnreachable

#: For requests of clients: whoever asks has an answer within ten seconds.
ANSWER_SECONDS_MAX = 8.0


def limit(engine: Engine, seconds_max: Callable[[], float | None]) -> None:
    """Let each wait of the engine's connections end after `seconds_max()` seconds (None: never), by closing them.

    Statements end before that by themselves, sooner where they wait for one lock, and the connection stays.
    Of a commit that was cut off so nobody knows whether it was carried out: it is whole, or absent.
    """
    driver: Any = engine.dialect.loaded_dbapi

    class Impatient(driver.Connection):  # type: ignore[misc]
        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            """Wait for the server. Raises OperationalError when it took too long."""
            try:
                return super().wait(gen, interval, seconds_max() if timeout is None else timeout)
            except driver.OperationalError as error:
                if error.sqlstate is None:  # it told us nothing, so what it is doing is unknown
                    self.pgconn.finish()
                raise

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: object, record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        seconds = seconds_max()
        if seconds is not None:
            limits = f"-c lock_timeout={int(seconds * 500)} -c statement_timeout={int(seconds * 750)}"
            options["options"] = f"{options.get('options', '')} {limits}"
        try:
            return Impatient.connect(*arguments, **options)
        except driver.OperationalError as error:
            # Clients are not told where the database stands, nor as whom it is reached.
            why = " ".join(str(error).split()).rstrip(".") if seconds is None else "it is away"
            raise DatabaseUnreachable(why=why) from error


def is_silence(error: BaseException | None) -> bool:
    """Return whether the driver speaks of a PostgreSQL that could not be reached, or broke off."""
    if not type(error).__module__.startswith("psycopg"):
        return False
    return type(error).__name__ != "ProgrammingError" and getattr(error, "sqlstate", None) is None
