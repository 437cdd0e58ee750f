"""Starts `frugal` processes from one that has loaded the heavy libraries already, so that a start takes no seconds.

A line of standard input is a JSON list: a file for the output, then the arguments of `frugal`. The answer is the number
of a new process in a session of its own, which runs the command as the real one would.
"""

import json
import os
import sys


def load() -> None:
    """Import what `frugal run` imports in its course; none of these starts a thread."""
    import dvc.repo  # noqa: F401
    import mlflow.tracking  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch._dynamo  # noqa: F401

    import flows.cli
    import flows.loop
    import flows.record.tracking_store
    import tasks.datasets.run
    import tasks.infer.run
    import tasks.policy.run
    import tasks.select.run
    import tasks.train.run  # noqa: F401

    flows.record.tracking_store.quiet()


def become_frugal(log: str, arguments: list[str]) -> None:
    """In the new process: run the command and end with its exit status."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["frugal", *arguments]
    from flows.cli import main

    main()


if __name__ == "__main__":
    load()
    print("ready", flush=True)
    for line in sys.stdin:
        log, *arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            become_frugal(log, arguments)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
