"""Label Studio as the place where people label: a thin adapter over its HTTP API.

Nothing but the loop's own files and the server's say what was exchanged, so that an exchange can be broken off at any
instant and simply be done again: a task carries its item and its round, an annotation its annotator and its time.
"""
