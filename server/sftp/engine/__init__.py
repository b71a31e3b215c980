"""SFTP version 3 over one drive, as bytes in and bytes out: draft-ietf-secsh-filexfer-02, with OpenSSH's extensions.

The engine knows no sockets, no threads and no loop. Whoever carries its bytes is a `Door`:

    engine = Engine(drive, door)      # one for each channel on which the subsystem was asked for
    engine.receive(data)              # what the client sent, in pieces of any size
    engine.drained()                  # `door.unsent()` has fallen again after it stood high
    engine.ended()                    # the client sent its last byte; what it asked for is still answered
    engine.lost()                     # the channel is gone, and nothing more can be sent

Everything is called from one thread, and the engine calls the door from that thread alone. What may block (the drive)
goes to `door.submit`, one hop for a block of bytes or a batch of writes, never one for each request. What the drive has
at hand is answered without a hop, by `door.at_once`.

After `lost` the engine still submits jobs: uploads without a close are put aside for their maker to resume, never
committed. A worker may stop once `is_idle` is true.
"""

from server.sftp.engine.door import Door
from server.sftp.engine.engine import Engine
from server.sftp.engine.limits import Limits

__all__ = ["Door", "Engine", "Limits"]
