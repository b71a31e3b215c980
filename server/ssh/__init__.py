"""The front door for SSH: who may connect, how they sign in, and the channels on which `server.sftp` answers.

A *stranger* is a connection that has not signed in. The *gate* accepts connections in the supervisor and hands each to
a worker; a *visitor* is one connection in a worker. It knows nothing of documents.
"""
