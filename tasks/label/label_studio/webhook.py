"""Asks Label Studio to tell of annotations as they come, so that nobody has to wait for the next look."""

from typing import Any

from tasks.errors import HubError
from tasks.label.label_studio import project
from tasks.label.label_studio.client import connect
from tasks.loop_id import loop_id
from tasks.rounds import Workspace, load_config

#: The header that carries the shared secret.
HEADER = "X-Frugal-Secret"
_EVENTS = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")


def register(workspace: Workspace, address: str, secret: str) -> bool:
    """Have the loop's project call ``address`` with ``secret`` on each annotation; again, it changes nothing.

    Returns:
        Whether there is such a project; it is made when the first round is published.

    Raises:
        ConfigError: there is no token, or it or the address is not valid.
        HubError: the server is away or refuses.
    """
    with connect(load_config(workspace).label.label_studio) as client:
        number = project.find(client, loop_id(workspace))
        if number is None:
            return False
        wanted: dict[str, Any] = {
            "url": address,
            "project": number,
            # What has happened is asked for; a message from outside is not trusted to tell it.
            "send_payload": False,
            "send_for_all_actions": False,
            "actions": list(_EVENTS),
            "headers": {HEADER: secret},
            "is_active": True,
        }
        found = client.get("/api/webhooks/", project=number)
        if not isinstance(found, list):
            raise HubError(f"{client.url}: Label Studio's answer is not a list of webhooks")
        ours = [one for one in found if isinstance(one, dict) and one.get("url") == address]
        if not ours:
            client.post("/api/webhooks/", wanted)
        elif not _is(ours[0], wanted):
            client.patch(f"/api/webhooks/{ours[0]['id']}/", wanted)
        return True


def _is(there: dict[str, Any], wanted: dict[str, Any]) -> bool:
    found = {key: there.get(key) for key in wanted}
    if isinstance(found["actions"], list):
        found["actions"] = sorted(map(str, found["actions"]))
    return found == {**wanted, "actions": sorted(wanted["actions"])}
