"""Put the two halves of a round on the Prefect server that PREFECT_API_URL names.

Makes the work pool, the limit `gpu`, the deployments of prefect.yaml and the automations of automations.yaml; the same
again brings them up to date. FRUGAL_WORKSPACE is the workspace's folder as the runs see it.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from httpx import HTTPError, HTTPStatusError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from flows.masked import masked

HERE = Path(__file__).parent
#: Stands in automations.yaml for the notification block.
NO_BLOCK = "00000000-0000-0000-0000-000000000000"


def make_pool(client: SyncPrefectClient, kind: str) -> None:
    """The work pool of a type, by the template in pools/ where there is one, else by Prefect's own."""
    name, template = f"frugal-{kind}", HERE / "pools" / f"{kind}.json"
    own = {"base_job_template": yaml.safe_load(template.read_text())} if template.exists() else {}
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, type=kind, **own))
    else:
        client.update_work_pool(name, WorkPoolUpdate(**own))


def make_limit(client: SyncPrefectClient, gpus: int | None) -> None:
    """The limit `gpu`; where there is one already, only a number that was asked for changes it."""
    try:
        client.read_global_concurrency_limit_by_name("gpu")
    except ObjectNotFound:
        client.upsert_global_concurrency_limit_by_name("gpu", gpus or 1)
    else:
        if gpus is not None:
            client.upsert_global_concurrency_limit_by_name("gpu", gpus)


def automations(block: str | None) -> list[AutomationCore]:
    """Those of automations.yaml; those that notify only with a block's id."""
    text = (HERE / "automations.yaml").read_text()
    found: list[dict[str, Any]] = yaml.safe_load(text.replace(NO_BLOCK, block or NO_BLOCK))["automations"]
    wanted = [item for item in found if block or NO_BLOCK not in str(item)]
    return [AutomationCore.model_validate(item) for item in wanted]


def make_automations(client: SyncPrefectClient, block: str | None) -> None:
    """Create them, in place of those of the same name."""
    for automation in automations(block):
        for old in client.read_automations_by_name(automation.name):
            client.delete_automation(old.id)
        client.create_automation(automation)


def block_id(client: SyncPrefectClient, name: str) -> str:
    """The id of a notification block, as in slack-webhook/frugal."""
    kind, _, document = name.partition("/")
    try:
        return str(client.read_block_document_by_name(document, kind).id)
    except ObjectNotFound:
        sys.exit(f"error: --notify {name}: there is no such block; `prefect block ls` lists those that there are")


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", choices=("process", "docker", "kubernetes"), default="process")
    parser.add_argument("--gpus", type=int, help="slots of the limit gpu (default: 1, or as it is)")
    parser.add_argument("--notify", metavar="TYPE/NAME", help="a notification block, as in slack-webhook/frugal")
    asked = parser.parse_args()
    if not os.environ.get("FRUGAL_WORKSPACE", "").startswith("/"):
        parser.error("set FRUGAL_WORKSPACE to the workspace's folder, as the runs see it, from / on")
    if asked.gpus is not None and asked.gpus < 1:
        parser.error(f"--gpus {asked.gpus}: without a slot no run would ever begin to train; give 1 or more")
    if PREFECT_API_URL.value() is None:
        parser.error("set PREFECT_API_URL to the server that is to have the deployments")
    try:
        with get_client(sync_client=True) as client:
            block = block_id(client, asked.notify) if asked.notify else None
            make_pool(client, asked.pool)
            make_limit(client, asked.gpus)
            make_automations(client, block)
    except HTTPStatusError as error:
        sys.exit(f"error: Prefect's server refuses: {masked(str(error).splitlines()[0])}")
    except HTTPError as error:
        sys.exit(f"error: Prefect's server, which PREFECT_API_URL names, does not answer: {masked(str(error))}")
    names = ("open", "close") if asked.pool == "process" else (f"open-{asked.pool}", f"close-{asked.pool}")
    wanted = [argument for name in names for argument in ("--name", name)]
    command = ["prefect", "--no-prompt", "deploy", "--prefect-file", str(HERE / "prefect.yaml"), *wanted]
    sys.exit(subprocess.run([sys.executable, "-m", *command]).returncode)


if __name__ == "__main__":
    main()
