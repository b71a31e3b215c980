"""The HTTP front: cheroot's life cycle with a strict, fast reader and writer of our own.

A *listener* owns a listening socket, a *connection* one client's socket, a *channel* the bytes on it, a *request* one
exchange of head, body and answer. No thread waits for a head or a handshake: a connection that has neither whole goes
back to the selector. Nothing here knows of documents.
"""
