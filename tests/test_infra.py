"""Containers and manifests: valid by their schemas, and as careful as the documentation says. No engine runs here."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

BIN = Path(sys.executable).parent
COMPOSE = Path("infra/compose.yaml")
MANIFESTS = sorted(Path("infra/k8s").glob("*.yaml"))
DOCKERFILES = [Path("infra/Dockerfile"), Path("infra/Dockerfile.cuda")]
#: Variables whose value is a secret.
SECRET = re.compile(r"(PASSWORD|SECRET|SECRET_KEY|ACCESS_KEY|ACCESS_KEY_ID|AUTH_STRING|AUTH_KEY|API_KEY|USERNAME)$")


def services() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())["services"]


def objects() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        yield from yaml.safe_load_all(path.read_text())


def pods() -> list[dict[str, Any]]:
    return [each["spec"]["template"]["spec"] for each in objects() if "template" in each.get("spec", {})]


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods() for container in pod["containers"]]


def run(*command: str) -> str:
    result = subprocess.run([str(BIN / command[0]), *command[1:]], capture_output=True, text=True, check=False)
    return result.stdout + result.stderr if result.returncode else ""


def test_compose_file_fits_the_compose_specification() -> None:
    assert run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)) == ""


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_fit_the_schemas_of_kubernetes(path: Path) -> None:
    for each in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(each, "1.33", strict=True)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_pass_hadolint(path: Path) -> None:
    assert run("hadolint", str(path)) == ""


def test_script_passes_shellcheck() -> None:
    assert run("shellcheck", "infra/local.sh") == ""


def test_compose_publishes_on_loopback_alone() -> None:
    published = [port for service in services().values() for port in service.get("ports", ())]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_cluster_publishes_nothing() -> None:
    kinds = [each["spec"]["type"] for each in objects() if each["kind"] == "Service"]
    assert kinds == ["ClusterIP"] * 3
    assert not [each["kind"] for each in objects() if each["kind"] in ("Ingress", "Gateway", "HTTPRoute")]


def test_compose_takes_secrets_from_the_environment_and_refuses_to_start_without() -> None:
    given = [(name, value) for each in services().values() for name, value in each["environment"].items()]
    secrets = {name: value for name, value in given if SECRET.search(name)}
    assert {"POSTGRES_PASSWORD", "RCLONE_AUTH_KEY", "MLFLOW_AUTH_ADMIN_PASSWORD"} <= secrets.keys()
    literal = re.compile(r"\$\{[A-Z_]+:\?\}")
    left = {name: literal.sub("", value) for name, value in secrets.items()}
    assert {name: text for name, text in left.items() if text.strip('",')} == {
        "LABEL_STUDIO_API_KEY": "${LABEL_STUDIO_API_KEY:-}"
    }
    assert not [value for _, value in given if re.search(r"://[^/@]*:[^/@]*@", value)]


def test_cluster_takes_secrets_by_reference() -> None:
    given = [entry for container in containers() for entry in container["env"]]
    secrets = [entry for entry in given if SECRET.search(entry["name"])]
    assert len(secrets) > 10
    assert {entry["valueFrom"]["secretKeyRef"]["name"] for entry in secrets} == {"frugal"}
    assert not [each["kind"] for each in objects() if each["kind"] == "Secret"]


def test_images_are_named_by_version_and_alike_in_both() -> None:
    images = {service["image"] for service in services().values()}
    assert images == {container["image"] for container in containers()}
    assert all(re.search(r":\d+\.\d+", image) for image in images)
    version = re.search(r'^version = "(.+)"', Path("pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert {image.split(":")[1].split("-")[0] for image in images if image.startswith("frugal")} == {version[1]}


def test_images_are_of_the_python_that_the_lock_is_for_and_install_by_it() -> None:
    (python,) = re.findall(r"--python-version (\S+)", Path("CONTRIBUTING.md").read_text())
    for path in DOCKERFILES:
        text = path.read_text()
        (base,) = re.findall(r"^FROM (.*)", text, re.MULTILINE)
        assert re.match(rf"python:{re.escape(python)}\.\d+-", base)
        assert "--constraint requirements.lock" in text
        assert re.search(r"^USER 10001$", text, re.MULTILINE)


def test_images_take_what_the_package_is_built_from() -> None:
    let_in = {line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")}
    for path in DOCKERFILES:
        copied = [
            name for line in re.findall(r"^COPY (.*) \S+$", path.read_text(), re.MULTILINE) for name in line.split()
        ]
        assert set(copied) == let_in
        assert all(Path(name).exists() for name in copied)


def test_gpus_are_asked_for() -> None:
    (device,) = services()["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    (pod,) = [pod for pod in pods() if pod["containers"][0]["name"] == "worker"]
    resources = pod["containers"][0]["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == 1
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]


def test_pods_are_not_root_and_are_probed() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"livenessProbe", "readinessProbe"} <= container.keys()


def test_mlflow_asks_for_passwords_and_answers_to_its_own_names_alone() -> None:
    (pod,) = [pod["containers"][0] for pod in pods() if pod["containers"][0]["name"] == "mlflow"]
    for command in (services()["mlflow"]["command"], pod["command"]):
        assert "--app-name=basic-auth" in command
        (hosts,) = [argument for argument in command if argument.startswith("--allowed-hosts=")]
        assert "*" not in hosts


def test_browsers_are_told_where_prefect_answers_and_not_where_it_listens() -> None:
    (pod,) = [pod["containers"][0] for pod in pods() if pod["containers"][0]["name"] == "prefect"]
    told = {entry["name"]: entry.get("value") for entry in pod["env"]}["PREFECT_UI_API_URL"]
    assert told == "http://localhost:4200/api"
    published = services()["prefect"]["ports"][0].rpartition(":")[0]
    assert services()["prefect"]["environment"]["PREFECT_UI_API_URL"] == f"http://{published}/api"


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        ([], {"PREFECT_API_URL": ""}, "set PREFECT_API_URL"),
        ([], {"FRUGAL_WORKSPACE": "mine"}, "from / on"),
        (["--gpus", "0"], {}, "give 1 or more"),
        ([], {}, "does not answer"),
    ],
)
def test_deploying_tells_mistakes(
    arguments: list[str],
    environment: dict[str, str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    from infra import deploy

    given = {"FRUGAL_WORKSPACE": "/w", "PREFECT_API_URL": "http://me:hunter2@127.0.0.1:9/api", **environment}
    monkeypatch.setenv("FRUGAL_WORKSPACE", given["FRUGAL_WORKSPACE"])
    monkeypatch.setattr(sys, "argv", ["deploy.py", *arguments])
    settings = {PREFECT_API_URL: given["PREFECT_API_URL"] or None, PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(settings), pytest.raises(SystemExit) as ended:
        deploy.main()
    said = f"{ended.value.code} {capsys.readouterr().err}"
    assert told in said
    assert "hunter2" not in said
