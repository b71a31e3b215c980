"""What one channel may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on one engine. Bytes and seconds, as the names say.

    Attributes:
        packet_bytes_max: the longest packet taken; a longer one ends the channel.
        block_bytes_max: the most that one read or write carries; longer reads are answered short.
        handles_max: open documents and folders.
        drafts_max: documents open for writing; each takes some 4 MiB. `Door.take_draft` bounds those of all channels.
        cached_bytes_max: of documents being read, beyond the one read last.
        queued_bytes_max: of packets not yet begun, and of writes not yet in a draft; beyond, reading pauses.
        unsent_bytes_max: answers not yet taken by the client; beyond, nothing more is begun.
        reply_bytes_max: of a folder's listing in one answer; sshfs takes no more than 128 KiB.
        valid_seconds: how long a check that rights still stand may serve reads and writes.
    """

    packet_bytes_max: int = 256 * 1024 + 1024
    block_bytes_max: int = 255 * 1024
    handles_max: int = 512
    drafts_max: int = 64
    cached_bytes_max: int = 4 << 20
    queued_bytes_max: int = 4 << 20
    unsent_bytes_max: int = 1 << 20
    reply_bytes_max: int = 96 * 1024
    valid_seconds: float = 1.0
