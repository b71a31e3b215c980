"""The front doors: WebDAV, SFTP, the HTTP listener, the processes, and the command line."""
