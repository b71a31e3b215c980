"""What somebody does in a folder in a day, step by step the same wherever the folder is."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.saves.editors import nano, vim
from tests.tools import need

SECONDS_MAX = 600
#: When everything was made that somebody brings along.
LONG_AGO = 1_500_000_000
#: How many programs write to the database, one after the other.
LEDGERS = 6
_LEDGER = """
import sqlite3, sys
ledger = sqlite3.connect(sys.argv[1])
ledger.execute("create table if not exists entry(number integer primary key, text)")
for number in range(int(sys.argv[2])):
    ledger.execute("insert into entry(text) values(?)", (f"entry {number} " * 20,))
    ledger.commit()
    if number % 50 == 49:
        ledger.execute("delete from entry where number % 7 = 3")
        ledger.rollback()
    if number % 100 == 99:
        ledger.execute("update entry set text = upper(text) where number % 5 = 2")
        ledger.commit()
print(ledger.execute("pragma integrity_check").fetchone()[0], ledger.execute("pragma journal_mode").fetchone()[0])
"""
_MODULE = '#include "all.h"\n\nint step_{n}(int value)\n{{\n    return value + {n};\n}}\n'
_MAIN = """#include <stdio.h>
#include "all.h"

int main(void)
{{
    int sum = 0;
{calls}    printf("%s %d\\n", WORD, sum);
}}
"""
_MAKEFILE = """OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))
program: main.o libsteps.a
\tgcc -o $@ main.o -L. -lsteps
libsteps.a: $(filter-out main.o,$(OBJECTS))
\tar rcsD $@ $^
%.o: %.c all.h
\tgcc -O1 -Wall -Werror -c -o $@ $<
clean:
\trm -f *.o *.a program
"""


@dataclass
class Worker:
    """Somebody at work in a folder, with what they brought along in another, and an empty home.

    `tenth` is how much of a day it is, in tenths.
    """

    place: Path
    brought: Path
    home: Path
    tenth: int
    index: bytes = b""
    indexes_seen: int = 0

    def look_at_index(self) -> None:
        """Count one more index of the repository if it is not the one that was there."""
        file = self.place / "repository" / ".git" / "index"
        if file.exists() and (found := file.read_bytes()) != self.index:
            self.index, self.indexes_seen = found, self.indexes_seen + 1

    def part(self, whole: int) -> int:
        """Return how often something is done that a whole day would have so often."""
        return whole * self.tenth // 10

    def environ(self) -> dict[str, str]:
        """Return what programs find in their environment: nothing of this machine's account."""
        told = {"HOME": str(self.home), "TMPDIR": str(self.home), "LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "xterm"}
        who = {
            f"GIT_{role}_{what}": f"{role.lower()}@example.org"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        return {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", **told, **who}

    def run(self, *command: object, where: str = "", **environ: str) -> str:
        """Run a program in the folder, or below it; return what it wrote. Fails where the program does."""
        done = subprocess.run(
            [str(each) for each in command], cwd=self.place / where, env=self.environ() | environ, timeout=SECONDS_MAX,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-4000:]}"
        return done.stdout


def bring(folder: Path) -> None:
    """Make what the worker brings along: a tree of files of all sizes, and a repository."""
    chance = random.Random(4711)
    for name in (
        "Ritningar/Plan 1.dwg",
        "Ritningar/Plan 2.dwg",
        "Avtal/Avtal å ä ö.odt",
        "Avtal/tom.txt",
        "läs mig.txt",
    ):
        file = folder / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(chance.randbytes(0 if "tom" in name else chance.randrange(1, 300_000)))
    for number in range(60):
        file = folder / "tree" / "many" / f"{number % 7}" / f"{number}.dat"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(chance.randbytes(chance.randrange(20_000)))
    (folder / "large.bin").write_bytes(chance.randbytes(3_000_000))
    for number, each in enumerate(sorted(folder.rglob("*"), key=lambda path: -len(path.parts))):
        os.utime(each, (LONG_AGO + number, LONG_AGO + number))
    made = Worker(folder, folder, folder, 10)
    source = folder / "source"
    source.mkdir()
    git(made, "init", "-q", "-b", "main", where="source")
    for number in range(8):
        (source / f"file {number}.txt").write_text("".join(f"line {line}\n" for line in range(200)))
    git(made, "add", ".", where="source")
    git(made, "commit", "-q", "-m", "as it began", where="source")


# --- the parts of a day


def git(worker: Worker, *words: str, where: str = "repository", at: int = 0) -> str:
    """Run git as of a fixed time."""
    told = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"{LONG_AGO + at} +0000")
    told["GIT_TRACE2_EVENT"] = str(worker.home / "git-trace")
    said = worker.run(need("git"), "-c", "pack.threads=1", "-c", "gc.auto=0", *words, where=where, **told)
    worker.look_at_index()
    return said


def indexes(worker: Worker) -> range:
    """Return how many indexes the repository may have had: as often as it was seen to differ, or as git wrote one."""
    said = [json.loads(line) for line in (worker.home / "git-trace").read_text().splitlines()]
    written = sum(each["event"] == "region_enter" and each.get("label") == "do_write_index" for each in said)
    return range(worker.indexes_seen, written + 1)


def commits(worker: Worker) -> str:
    """Clone, and commit 200 times; a branch now and then, which is merged; in the end put all into one pack."""
    git(worker, "clone", "-q", "-c", "core.filemode=false", str(worker.brought / "source"), "repository", where="")
    place = worker.place / "repository"
    for number in range(worker.part(200)):
        with (place / f"file {number % 8}.txt").open("a") as file:
            file.write(f"commit {number}\n")
        (place / f"new {number % 30}.txt").write_text(f"as of {number}\n" * (1 + number % 50))
        git(worker, "add", "-A", at=number)
        git(worker, "commit", "-q", "-m", f"commit {number}", at=number)
        if number % 40 == 15:
            git(worker, "checkout", "-q", "-b", f"branch-{number}", "HEAD~3", at=number)
            (place / f"branch {number}.txt").write_text("on a branch\n")
            git(worker, "add", "-A", at=number)
            git(worker, "commit", "-q", "-m", "on a branch", at=number)
            git(worker, "checkout", "-q", "main", at=number)
            git(worker, "merge", "-q", "--no-edit", f"branch-{number}", at=number)
            git(worker, "branch", "-q", "-d", f"branch-{number}", at=number)
    git(worker, "fsck", "--full", "--strict")
    git(worker, "gc", "-q")
    git(worker, "fsck", "--full", "--strict")
    listed = git(worker, "ls-files", "--stage") + git(worker, "log", "--format=%H %s")
    return listed + git(worker, "status", "--porcelain")


def build(worker: Worker) -> str:
    """Write a program in C, make it, change a header and make it again; make finds nothing left to do; it runs."""
    place, count = worker.place / "program", 2 + worker.part(30)
    place.mkdir()
    steps = "".join(f"int step_{number}(int);\n" for number in range(count))
    calls = "".join(f"    sum = step_{number}(sum);\n" for number in range(count))
    (place / "Makefile").write_text(_MAKEFILE)
    (place / "main.c").write_text(_MAIN.format(calls=calls))
    for number in range(count):
        (place / f"step_{number}.c").write_text(_MODULE.format(n=number))
    told = ""
    for word in ("first", "second"):
        # Version 3 of SFTP tells whole seconds: what is changed in the second it was made in looks as old.
        time.sleep(1.1)
        (place / "all.h").write_text(f'#define WORD "{word}"\n{steps}')
        worker.run(need("make"), "-s", "-j2", where="program")
        worker.run(need("make"), "-q", where="program")
        # The drive shows one set of permissions for all.
        worker.run("cp", "program", worker.home / "program", where="program")
        worker.run("chmod", "+x", worker.home / "program")
        told += worker.run(worker.home / "program")
    return told


def ledger(worker: Worker) -> str:
    """Commit 1,000 times in SQLite: most of them by one program, the rest by some that open it anew."""
    for times in (worker.part(900), *[worker.part(20)] * (LEDGERS - 1)):
        told = worker.run(sys.executable, "-c", _LEDGER, "ledger.db", times)
    return told + worker.run(need("sqlite3"), "ledger.db", "pragma integrity_check; select count(*) from entry")


def archives(worker: Worker) -> str:
    """Take in a tree by tar, and out again, onto the drive and past it."""
    worker.run("tar", "cf", worker.home / "in.tar", "--sort=name", "-C", worker.brought, "tree")
    (worker.place / "taken in").mkdir()
    worker.run("tar", "xf", worker.home / "in.tar", "-C", "taken in")
    alike = ("--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=0644", "--format=pax")
    plain = ("--pax-option=delete=atime,delete=ctime", "--mtime=2020-01-01")
    worker.run("tar", "cf", "out.tar", *alike, *plain, "-C", "taken in", "tree")
    worker.run("tar", "czf", "out.tar.gz", *alike, *plain, "-C", "taken in", "tree", GZIP="-n")
    return worker.run("tar", "tf", "out.tar")


def editing(worker: Worker) -> str:
    """Save a text by vim, by nano, and by sed."""
    for name in ("vim.txt", "nano.txt", "sed.txt"):
        (worker.place / name).write_text("a line\n" * 50)
    for number in range(1 + worker.part(10)):
        new = worker.home / "new"
        new.write_text(f"save {number}\n" * (60 + number))
        worker.run(*vim(worker.place / "vim.txt", new))
        nano(worker.place / "nano.txt", f"save {number} ".encode(), worker.environ())
        worker.run("sed", "-i", f"1s/^/save {number} /", "sed.txt")
    return ""


def copying(worker: Worker) -> str:
    """Change a large document in place by rsync, keep a tree alike by it, copy, move, delete, and look at times."""
    rsync, large = need("rsync"), worker.home / "large.bin"
    content = bytearray((worker.brought / "large.bin").read_bytes())
    for number in range(1 + worker.part(10)):
        content[number * 10_000 : number * 10_000 + 100] = b"%100d" % number
        large.write_bytes(content)
        os.utime(large, (LONG_AGO + number, LONG_AGO + number))
        worker.run(rsync, "--inplace", "--no-whole-file", "--times", large, "large.bin")
    worker.run(rsync, "-a", f"{worker.brought}/tree/", "alike/")
    worker.run("rm", "-r", "alike/many/3")
    worker.run(rsync, "-a", "--delete", f"{worker.brought}/tree/", "alike/")
    told = worker.run(rsync, "-a", "--delete", "--itemize-changes", "--no-perms", f"{worker.brought}/tree/", "alike/")
    worker.run("cp", "-a", "alike", "copied")
    worker.run("mv", "copied/many", "moved")
    worker.run("rm", "-r", "moved/5", "copied/Avtal")
    worker.run("touch", "-d", "2015-05-05", "moved/1/1.dat")
    worker.run("cp", "large.bin", "copied/large.bin")
    worker.run("truncate", "-s", "1000", "copied/large.bin")
    worker.run(
        "dd", "if=large.bin", "of=copied/large.bin", "bs=4096", "seek=3", "count=9", "conv=notrunc", "status=none"
    )
    return told + worker.run("sh", "-c", "find . | sort | grep -v .fuse_hidden")


PARTS: dict[str, Callable[[Worker], str]] = {
    "git": commits, "make": build, "SQLite": ledger, "tar": archives, "editors": editing, "rsync and cp": copying,
}  # fmt: skip
