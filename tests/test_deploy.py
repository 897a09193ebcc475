"""What deploy/ holds fits together: commands exist, ports and paths agree, their own programs take the files."""

from __future__ import annotations

import getpass
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme
import typer
import yaml

from headway.cli import app
from headway.config import Settings, load_settings
from headway.gateway.app import application
from headway.gateway.keys.records import default_path
from headway.gateway.limits import LIMITS
from headway.gateway.settings import ServeSettings

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
PAGES = [ROOT / "docs" / "deploying.md", ROOT / "docs" / "setting-up.md"]
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
UNIT, IMAGE = DEPLOY / "systemd" / "headway.service", DEPLOY / "docker" / "Dockerfile"
COMPOSE, POD = DEPLOY / "docker" / "compose.yaml", DEPLOY / "kubernetes" / "deployment.yaml"
NGINX, CADDY = DEPLOY / "nginx" / "headway.conf", DEPLOY / "caddy" / "Caddyfile"
HOME = "/var/lib/headway"
PORT = str(ServeSettings().port)


def text(path: Path) -> str:
    return path.read_text("utf-8")


def commands() -> list[list[str]]:
    """Every call of the command line that deploy/ or its pages name, as arguments."""
    found = []
    for path in [*FILES, *PAGES]:
        for line in text(path).splitlines():
            if "pip install" in line:
                continue
            # In shell (its prompt, a comment, an exec in a container), in a unit, in code within prose.
            for match in re.finditer(r"(?:^[#\s]*|[/ `=]|gateway )headway ((?:[a-z]+ ?)[^`#&]*)", line):
                words = shlex.split(match[1], posix=True)
                if path.suffix in (".md", ".service") or "keys create" in match[1]:
                    found.append(words)
            if match := re.match(r"(?:CMD|\s+args:) (\[\"serve.*\])$", line):
                found.append(re.findall(r'"([^"]+)"', match[1]))
            if match := re.search(r"docker compose run --rm gateway ([a-z ]+)", line):
                found.append(match[1].split())
    names = {command.callback.__name__ for command in app.registered_commands} | {
        group.name for group in app.registered_groups
    }
    return [words for words in found if words and words[0] in names | {"keys", "serve"}]


def test_commands_are_found():
    """The pattern sees those of the unit, the image, the pods and the pages."""
    assert {words[0] for words in commands()} >= {"serve", "keys", "init", "doctor"}
    assert sum(words[0] == "serve" for words in commands()) >= 4


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_one_of_the_command_line(words):
    """Each is parsed, options included, as the command line would parse it; nothing is run."""
    command = typer.main.get_command(app)
    context, rest = command.make_context("headway", [words[0], "x"]), words
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest) or ["x"] * hasattr(command, "commands"), parent=context)


def test_one_port_everywhere():
    """The default one: where it listens, is published, probed, and sent to."""
    for path, pattern in [
        (UNIT, r"--port (\d+)"),
        (IMAGE, r'"--port", "(\d+)"|EXPOSE (\d+)|127\.0\.0\.1:(\d+)/'),
        (COMPOSE, r'"127\.0\.0\.1:(\d+):(\d+)"'),
        (POD, r'"--port", "(\d+)"|containerPort: (\d+)'),
        (DEPLOY / "kubernetes" / "service.yaml", r"port: (\d+)|http://headway:(\d+)/"),
        (NGINX, r"server 127\.0\.0\.1:(\d+)"),
        (CADDY, r"reverse_proxy 127\.0\.0\.1:(\d+)"),
        (PAGES[0], r"on port (\d+)|http://headway:(\d+)/"),
    ]:
        found = {
            port
            for groups in re.findall(pattern, text(path))
            for port in ([groups] if isinstance(groups, str) else groups)
        }
        assert found - {""} == {PORT}, path


def test_one_state_directory_everywhere():
    """What is set as HEADWAY_HOME is what is mounted, and where the pod waits for keys.sqlite."""
    assert f"Environment=HEADWAY_HOME={HOME}\n" in text(UNIT)
    assert f"StateDirectory={Path(HOME).name}\n" in text(UNIT)
    assert re.search(rf"HEADWAY_HOME={HOME} ", text(IMAGE))
    assert f"VOLUME {HOME}\n" in text(IMAGE)
    assert f"- state:{HOME}\n" in text(COMPOSE)
    assert text(POD).count(f"mountPath: {HOME}\n") == 2
    assert f"[ -s {default_path({'HEADWAY_HOME': HOME})} ]" in text(POD)
    assert HOME in text(PAGES[0])


def test_whoever_kills_waits_longer_than_it_takes_to_end():
    """The time to end is more than --drain-s, and what passes before it, in each of them."""
    drain_s = ServeSettings().drain_s
    for path in (UNIT, IMAGE, POD):
        assert float(re.search(r'--drain-s"?,? "?(\d+)', text(path))[1]) == drain_s
    assert int(re.search(r"TimeoutStopSec=(\d+)", text(UNIT))[1]) > drain_s
    assert int(re.search(r"stop_grace_period: (\d+)s", text(COMPOSE))[1]) > drain_s
    before_s = int(re.search(r'\["sleep", "(\d+)"\]', text(POD))[1])
    assert int(re.search(r"terminationGracePeriodSeconds: (\d+)", text(POD))[1]) > drain_s + before_s


def test_what_is_probed_exists():
    """Health and readiness are paths of the application."""
    probed = set(re.findall(r"path: (/\w+), port: http", text(POD))) | set(re.findall(rf":{PORT}(/\w+)'", text(IMAGE)))
    paths = {
        route.path for route in application(SimpleNamespace(handle=None, check=None, settings=ServeSettings())).routes
    }
    assert probed == {"/healthz", "/readyz"} <= paths


def test_proxies_agree_with_the_gateway():
    """Bodies as large, kept connections shorter, waits longer, no buffer, and the client's own name for the host."""
    nginx, caddy = text(NGINX), text(CADDY)
    largest = LIMITS.file_bytes_max >> 20
    assert f"client_max_body_size {largest}m;" in nginx
    assert f"max_size {largest}MiB" in caddy
    assert int(re.search(r"keepalive_timeout (\d+)s", nginx)[1]) < LIMITS.idle_s
    assert int(re.search(r"keepalive (\d+)s", caddy)[1]) < LIMITS.idle_s
    assert int(re.search(r"proxy_read_timeout (\d+)s", nginx)[1]) > Settings().timeout_s
    assert int(re.search(r"response_header_timeout (\d+)s", caddy)[1]) > Settings().timeout_s
    for line in ("proxy_buffering off;", "proxy_set_header Host $host;", "proxy_next_upstream off;", "gzip off;"):
        assert line in nginx
    assert "flush_interval -1" in caddy
    assert "header_up" not in caddy
    assert "encode" not in caddy


def test_the_image_is_given_what_the_package_is_built_from():
    """Every file that the build needs is copied in, and not kept out of the context."""
    project = tomllib.loads(text(ROOT / "pyproject.toml"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "constraints.txt", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= {name.partition("/")[0] for name in [*wheel["packages"], *wheel["force-include"]]}
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text(IMAGE), re.MULTILINE) for name in line.split()
    }
    let_in = set(re.findall(r"^!(\S+)$", text(IMAGE.with_name("Dockerfile.dockerignore")), re.MULTILINE))
    assert copied == let_in == needed
    extras = re.search(r"'\.\[([\w,]+)\]'", text(IMAGE))[1].split(",")
    assert set(extras) <= set(project["project"]["optional-dependencies"])
    for version in re.findall(r"^FROM python:(\d+\.\d+)-slim", text(IMAGE), re.MULTILINE):
        assert f"Programming Language :: Python :: {version}" in project["project"]["classifiers"]


def test_no_image_but_the_known_ones_and_no_key():
    """Nothing is pulled from a place that was made up, and nothing looks like a secret."""
    images = {name for path in FILES for name in re.findall(r"^\s*(?:FROM|image:) (\S+)", text(path), re.MULTILINE)}
    assert images == {"python:3.13-slim", "redis", "headway"}
    for path in FILES:
        assert not re.search(r"(sk|hw)-[A-Za-z0-9]{6}", text(path)), path


def test_nobody_runs_as_root_or_writes_elsewhere():
    """One user's number in the image and the pod; nothing more is granted than is used."""
    assert re.search(r"^USER 10001$", text(IMAGE), re.MULTILINE)
    assert "--uid 10001" in text(IMAGE)
    for line in (
        "runAsUser: 10001",
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
    ):
        assert line in text(POD)
    assert text(COMPOSE).count("no-new-privileges:true") == text(COMPOSE).count("read_only: true") == 2
    for line in ("User=headway", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="):
        assert f"\n{line}\n" in text(UNIT)


def test_every_file_has_its_place_on_the_page():
    """A file or its folder is linked from docs/deploying.md."""
    page = text(PAGES[0])
    for path in FILES:
        name = path.relative_to(ROOT)
        assert str(name) in page or f"../{name.parent})" in page or str(name).endswith(".dockerignore"), name


# -- read as what they are ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".yaml"], ids=lambda path: path.name)
def test_yaml_is_yaml(path):
    """It is parsed, and says what kind of thing it is."""
    (tree,) = yaml.safe_load_all(text(path))
    assert {"kind", "apiVersion"} <= tree.keys() or {"services", "volumes"} <= tree.keys()


def test_the_manifests_belong_together():
    """The service finds the pod, volumes and settings by name; the settings load."""
    trees = {path.stem: yaml.safe_load(text(path)) for path in (DEPLOY / "kubernetes").glob("*.yaml")}
    assert {f"{name}.yaml" for name in trees} == {*trees["kustomization"]["resources"], "kustomization.yaml"}
    pod = trees["deployment"]["spec"]["template"]
    assert trees["service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["state"]["persistentVolumeClaim"]["claimName"] == trees["volume"]["metadata"]["name"]
    assert volumes["config"]["configMap"]["name"] == trees["config"]["metadata"]["name"]
    (gateway,) = pod["spec"]["containers"]
    for container in (gateway, *pod["spec"]["initContainers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
    mounted = next(mount["mountPath"] for mount in gateway["volumeMounts"] if mount["name"] == "config")
    (name,) = trees["config"]["data"]
    assert f"{mounted}/{name}" in gateway["args"]
    assert gateway["ports"][0]["name"] == trees["service"]["spec"]["ports"][0]["targetPort"]


def test_the_cluster_s_settings_load(tmp_path):
    """The headway.toml in the config map, without the YAML around it."""
    body = re.search(r"headway\.toml: \|\n((?:    .*\n)+)", text(DEPLOY / "kubernetes" / "config.yaml"))[1]
    file = tmp_path / "headway.toml"
    file.write_text(re.sub(r"^    ", "", body, flags=re.MULTILINE))
    assert load_settings(file=file, environ={}).cache == "disk"


def run(*command: str) -> str:
    """What a program says, which must be content; skipped where it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_kustomize_puts_the_manifests_together():
    """Its own reading of them, strict about fields of the kustomization."""
    assert run("kubectl", "kustomize", str(DEPLOY / "kubernetes")).count("kind: ") == 4


def test_systemd_takes_the_unit(tmp_path):
    """systemd-analyze has nothing to say, the program's place and user aside."""
    unit = tmp_path / "headway.service"
    unit.write_text(
        re.sub(r"/opt/headway/bin/headway", sys.executable, text(UNIT)).replace(
            "User=headway", f"User={getpass.getuser()}"
        )
    )
    said = run("systemd-analyze", "verify", "--man=no", str(unit))
    assert "headway.service" not in said, said


def test_nginx_takes_its_file(tmp_path):
    """Its own test, with certificates and ports of the moment."""
    certificate = trustme.CA().issue_cert("gateway.example.com")
    certificate.private_key_pem.write_to_path(tmp_path / "privkey.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "fullchain.pem")
    inner = text(NGINX).replace("/etc/ssl/headway/", f"{tmp_path}/")
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{inner}\n}}\n")
    run("nginx", "-t", "-q", "-p", str(tmp_path), "-c", str(whole))
