"""A client of Debian's sftp-server, which works in a local folder: what our answers are compared with."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.sftp.client import StreamClient
from tests.tools import need_file


class PipeClient(StreamClient):
    """A client of Debian's sftp-server."""

    def __init__(self, folder: Path) -> None:
        server = str(need_file("/usr/lib/openssh/sftp-server"))
        self.process: Any = subprocess.Popen([server, "-d", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        super().__init__()

    def transmit(self, data: bytes) -> None:
        """Send bytes."""
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def receive(self, length: int) -> bytes:
        """Receive so many bytes."""
        received: bytes = self.process.stdout.read(length)
        return received

    def stop(self) -> None:
        """End the server."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)
