"""The exchange with whatever people label in: tasks out, answers in.

A labeler that is a file needs none. A hub publishes the tasks of the open round that it does not have yet, and takes
new answers into the journal; it may be asked at any time, and again after it was killed or its server was away.
"""

from tasks import registry
from tasks.rounds import Workspace, load_config


def sync(workspace: Workspace, round_: int) -> str | None:
    """Bring an open round and its labeler's hub up to date; what was done in one line, or None without a hub.

    Raises:
        FrugalError: the hub is away or refuses; whatever was exchanged is kept, and the next call goes on.
    """
    labeler = load_config(workspace).label.labeler
    if labeler not in registry.HUBS:
        return None
    told: str = registry.resolve(registry.HUBS, labeler)(workspace, round_)
    return told
