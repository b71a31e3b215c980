"""The rule is read from the catalogue: a server that is stopped in the middle of a save goes on with it."""

from __future__ import annotations

from pathlib import Path

from tests.saves.dances import ALL, Dance
from tests.saves.stage import Document, perform, staged, text

WINDOW_SECONDS = 300


def test_the_server_is_restarted_between_the_steps(tmp_path: Path) -> None:
    """Every way to save, half done before a restart and half after, alternately over WebDAV and SFTP."""
    begun: list[tuple[Dance, str, Document]] = []
    found = []
    with staged(tmp_path, WINDOW_SECONDS) as stage:

        def some(dance: Dance, kind: str, document: Document, start: int, stop: int) -> None:
            for step in list(dance.step_names(1))[start:stop]:
                perform(stage.hands(kind), document.home, step, text(1, dance.program), document.contents[0])

        for number, dance in enumerate(ALL):
            kind, document = ("plain", "sshfs")[number % 2], stage.document(dance.document)
            some(dance, kind, document, 0, len(dance.steps) // 2)
            begun.append((dance, kind, document))
        stage.restart()
        for dance, kind, document in begun:
            some(dance, kind, document, len(dance.steps) // 2, len(dance.steps))
            document.contents.append(text(1, dance.program))
            names = {document.name} | ({dance.named(dance.stays, 0)} if dance.stays else set())
            found += [f"{dance.program}: {fault}" for fault in document.faults(names)]
        assert stage.in_trash() == {}
        assert list(stage.door.world.installation.verify()) == []
    assert found == []
