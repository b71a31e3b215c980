"""The command line: `mellanrum NOUN VERB`.

A *command* is a function that takes the *desk* (the installation, opened when first asked for, and whoever sits at the
machine) and the parsed options, and gives an *answer*: a document for `--json`, lines for people, and perhaps an error
that decides the exit code. `frame` is what all commands share; each noun has a module of its own.

Imports everything below; nothing imports it but the console script.
"""
