"""Without the rule, what depends on it fails: so the checks of `test_table.py` can."""

from __future__ import annotations

import pytest

from tests.saves.dances import ALL, Dance
from tests.saves.stage import Stage, saves

#: What keeps a document one by itself: something is renamed over it, or it is written in place. Which properties it has
#: then is the rule's, too: by RFC 4918 9.8.4 they are those of what was renamed.
RENAMED_OVER = {"LibreOffice", "gedit", "sed -i", "rsync", "Syncthing", "rclone, partial"}
IN_PLACE = {"LibreOffice, direct", "vim, backupcopy=yes", "emacs, nano, cp, Notepad", "renamed away and back"}
#: Who empties a document before writing it leaves an empty version, which only the rule makes a step on the way.
INDEPENDENT = {"plain": RENAMED_OVER | IN_PLACE, "sshfs": RENAMED_OVER}


@pytest.mark.parametrize("kind", INDEPENDENT)
@pytest.mark.parametrize("dance", ALL, ids=lambda dance: dance.program)
def test_what_depends_on_the_rule_fails_without_it(off: Stage, dance: Dance, kind: str) -> None:
    found = saves(off, kind, dance, off.document(dance.document), 1)
    if dance.program in RENAMED_OVER:
        assert found == ["after 1: without its property"]
    else:
        assert bool(found) == (dance.program not in INDEPENDENT[kind]), found
