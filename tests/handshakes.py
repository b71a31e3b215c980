"""What a server that speaks TLS can be brought to agree on, asked by `openssl s_client`."""

from __future__ import annotations

import re
import subprocess

from tests.tools import need

#: The groups that Mozilla's "intermediate" names, and others that a server should not agree on.
GROUPS = ["X25519", "P-256", "P-384"]
OTHER_GROUPS = ["X448", "P-521", "ffdhe2048", "ffdhe3072"]


def agreed(target: str, *options: str) -> str | None:
    """Return the suite that a client with these options agrees on with `HOST:PORT`, or None."""
    command = [str(need("openssl")), "s_client", "-connect", target, *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    found = re.search(rb"Cipher is (\S+)", done.stdout)
    return found[1].decode() if found and found[1] != b"(NONE)" else None


def all_agreed(target: str, offered: list[str], *options: str) -> set[str]:
    """Return all suites of the offered that are agreed on: each is offered no more once it was chosen."""
    found = set()
    while suite := agreed(target, *options, ":".join(each for each in offered if each not in found)):
        found.add(suite)
    return found


def all_agreed_until_1_2(target: str) -> set[str]:
    """Return every suite of TLS 1.2 and before that is agreed on, of all that the machine's OpenSSL can offer."""
    command = [str(need("openssl")), "ciphers", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    suites = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split(":")
    known = [suite for suite in suites if not suite.startswith("TLS_")]
    assert len(known) > 50
    return all_agreed(target, [*known, "@SECLEVEL=0"], "-tls1_2", "-cipher")


def groups_agreed(target: str) -> list[str]:
    """Return the groups that are agreed on, of those that are tried."""
    return [group for group in (*GROUPS, *OTHER_GROUPS) if agreed(target, "-tls1_3", "-groups", group)]
