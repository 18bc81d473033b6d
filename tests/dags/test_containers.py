"""docker-compose.yaml without a Docker: its form, its words, and every program it names asked whether it knows them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from certflow import airflow_home
from certflow.settings import Folders, Limits, Settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image") == "certflow:local"}
PROFILES = ["--profile", "demo", "--profile", "celery"]
CHOSEN_HERE = {
    "CORE__DAGS_FOLDER", "CORE__PLUGINS_FOLDER", "CORE__EXECUTOR", "CORE__PARALLELISM",
    "CORE__EXECUTION_API_SERVER_URL", "API__HOST", "API__BASE_URL", "LOGGING__BASE_LOG_FOLDER",
}  # fmt: skip
"""What containers cannot share with `certflow up`: paths, addresses, the executor."""


def environment(service):
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def words(command):
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]


def orders():
    """Every command line of our own image: as it is started, and as its health is asked for."""
    for name, service in OURS.items():
        line = words(service["command"])
        lines = line[2].split("&&") if line[:2] == ["sh", "-c"] else [shlex.join(line)]
        yield from ((name, words(one)) for one in lines)
        if test := service.get("healthcheck", {}).get("test"):
            yield name, words(test[1]) if test[0] == "CMD-SHELL" else test[1:]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The folder as an operator has it who followed the file's head."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen on this machine, with which an operator makes the keys")
    folder = tmp_path_factory.mktemp("compose")
    shutil.copy(FILE, folder)
    shutil.copy(ROOT / ".env.example", folder / ".env")
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    subprocess.run(["sh", "deploy/secrets.sh", "--demo"], cwd=folder, check=True)
    return folder


def test_the_file_has_the_form_of_the_compose_specification():
    judge = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [judge, "--builtin-schema", "vendor.compose-spec", FILE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_docker_compose_accepts_it_and_asks_for_what_env_does_not_say(project):
    program = compose()
    if program is None:
        pytest.skip("neither docker compose nor docker-compose on this machine")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CERTFLOW", "COMPOSE"))}
    shown = subprocess.run(
        [*program, *PROFILES, "config"], cwd=project, env=env, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert set(yaml.safe_load(shown.stdout)["services"]) == set(SERVICES)
    (project / "none").write_text("")
    refused = subprocess.run(
        [*program, "--env-file", "none", "config"], cwd=project, env=env, capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert ".env.example" in refused.stderr


def test_what_env_says_of_settings_reaches_every_process_of_ours(project):
    assert {one["env_file"] for one in OURS.values()} == {".env"}
    program = compose()
    if program is None:
        pytest.skip("neither docker compose nor docker-compose on this machine")
    with (project / ".env").open("a") as stream:
        stream.write("CERTFLOW_TWO_PERSON=yes\n")
    shown = subprocess.run([*program, *PROFILES, "config"], cwd=project, capture_output=True, text=True, check=True)
    services = yaml.safe_load(shown.stdout)["services"]
    assert {services[name]["environment"]["CERTFLOW_TWO_PERSON"] for name in OURS} == {"yes"}


def compose():
    """Docker's plugin, or the program of the same name, whichever is there."""
    if shutil.which("docker"):
        plugin = ["docker", "compose"]
        if subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0:
            return plugin
    return ["docker-compose"] if shutil.which("docker-compose") else None


_PARSE = """
import json, sys
from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf
parser = get_parser()
for line in json.load(sys.stdin):
    parser.parse_args(line)
known = {
    f"AIRFLOW__{section}__{option}".upper(): bool(entry.get("sensitive"))
    for section, part in conf.configuration_description.items() for option, entry in part["options"].items()
}
print(json.dumps(known))
"""


@pytest.fixture(scope="module")
def airflow_knows():
    """Options of Airflow and its providers → whether they may come from a command; its command lines are parsed too."""
    lines = [line[1:] for _, line in orders() if line[0] == "airflow"]
    assert len(lines) == 6
    asked = subprocess.run(
        [sys.executable, "-c", _PARSE], input=json.dumps(lines), capture_output=True, text=True, check=False
    )
    assert asked.returncode == 0, asked.stderr[-2000:]
    return json.loads(asked.stdout.splitlines()[-1])


def test_every_command_is_one_of_the_program_it_names(airflow_knows):
    assert airflow_knows, "airflow parsed its own"
    for name, line in orders():
        match line[0]:
            case "airflow":
                continue
            case "certflow":
                asked = [Path(sys.executable).with_name("certflow"), *line[1:], "--help"]
            case "python":
                assert (ROOT / line[1]).is_file(), name
                # A port nobody listens on: a wrong part or word is said, exit code 1 alone is "not healthy".
                asked = [sys.executable, ROOT / line[1], line[2], "http://127.0.0.1:1"]
            case "celery":
                asked = [Path(sys.executable).with_name("celery"), *line[1 : line.index("ping")], "--help"]
            case other:
                pytest.fail(f"{name}: nobody looks at {other}")
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1 if line[0] == "python" else 0, ""), (name, done.stderr)


def test_the_databases_own_health_check_is_one_of_pg_isready():
    if not shutil.which("pg_isready"):
        pytest.skip("no pg_isready on this machine")
    asked = SERVICES["postgres"]["healthcheck"]["test"][1:]
    assert subprocess.run([*asked, "-p", "1", "-q"], check=False).returncode == 2, "no answer; 3 is a wrong word"


def test_i10_the_databases_log_quotes_no_rows():
    from certflow.registry import cluster

    ours = dict(re.findall(r"^(log_\w+) = (panic|terse|0)$", cluster._CONFIGURATION, re.MULTILINE))
    program, *options = words(SERVICES["postgres"]["command"])
    assert (program, len(ours), set(options[::2])) == ("postgres", 4, {"-c"})
    assert dict(option.split("=") for option in options[1::2]) == ours


def test_every_variable_is_one_that_certflow_or_airflow_knows(airflow_knows):
    settings = {f"CERTFLOW_{item.name.upper()}" for item in fields(Settings)}
    settings |= {f"CERTFLOW_FOLDERS_{item.name.upper()}" for item in fields(Folders)}
    settings |= {f"CERTFLOW_LIMITS_{item.name.upper()}" for item in fields(Limits)}
    for name, service in OURS.items():
        for variable in environment(service):
            if variable.startswith("CERTFLOW_"):
                assert re.sub("_(FILE|KEY|KNOWN_HOSTS)$", "", variable) in settings, (name, variable)
            elif variable.startswith("AIRFLOW__"):
                option = variable.removesuffix("_CMD")
                assert option in airflow_knows, (name, variable)
                assert variable == option or airflow_knows[option], f"{variable}: Airflow runs no command for it"
            else:
                assert variable == "TZ", (name, variable)
    settings = Settings.load({
        variable: "sftp://a@b/" if variable.endswith("_SFTP") else value
        for variable, value in environment(OURS["scheduler"]).items() if not variable.endswith("_FILE")
    })  # fmt: skip
    assert settings.behind_proxy == "yes"


def test_no_service_refuses_to_start_with_these_settings_but_with_a_misspelt_one(project, tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CERTFLOW"))}
    for variable, value in environment(OURS["scheduler"]).items():
        env[variable] = value.replace("/run/secrets", str(project / "secrets")).replace("/opt/certflow", str(ROOT))
    env |= {"CERTFLOW_CITY_SFTP": "sftp://a@b/", "CERTFLOW_AUTHORITY_SFTP": "sftp://a@b/"}
    env |= {"AIRFLOW__CORE__EXECUTOR": "LocalExecutor", "AIRFLOW__CORE__PARALLELISM": "8"}
    env |= {"AIRFLOW__API__BASE_URL": "http://127.0.0.1:8080", "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(tmp_path)}
    env |= {"AIRFLOW_HOME": str(tmp_path), "CERTFLOW_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "plugins")}
    asked = "import start_check; start_check.refuse(['api-server']); print('it starts')"
    done = subprocess.run([sys.executable, "-c", asked], env=env, capture_output=True, text=True, check=False)
    assert "it starts" in done.stdout, done.stderr[-2000:]
    env |= {"CERTFLOW_TWO_PERSONS": "yes"}
    done = subprocess.run([sys.executable, "-c", asked], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, "it starts" in done.stdout) == (1, False)
    assert "拒绝启动：环境变量 CERTFLOW_TWO_PERSONS 不是任何设置的名称" in done.stderr


def test_containers_run_airflow_with_the_settings_of_certflow_up(tmp_path):
    home = airflow_home.environment(Settings(home=tmp_path, database_url="postgresql://nobody@localhost/certflow"))
    ours = {name: value for name, value in home.items() if name.startswith("AIRFLOW__")}
    theirs = environment(OURS["scheduler"])
    for variable, value in ours.items():
        if variable.removeprefix("AIRFLOW__") in CHOSEN_HERE:
            assert variable in theirs
        elif variable not in theirs:
            assert f"{variable}_CMD" in theirs, f"{variable}: set by `certflow up`, not in docker-compose.yaml"
        else:
            assert theirs[variable] == value, variable


def test_no_secret_stands_in_the_file_and_every_one_is_made(project):
    made = {path.name for path in (project / "secrets").iterdir()}
    wanted = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert wanted == set(COMPOSE["secrets"])
    for name in wanted:
        assert COMPOSE["secrets"][name] == {"file": f"./secrets/{name}"}
        assert name in made
    for name, service in SERVICES.items():
        for variable, value in environment(service).items():
            for secret in re.findall(r"/run/secrets/(\S+)", value):
                with_keys = secret in {"city_key", "authority_key", "known_hosts"} and name not in {
                    "scheduler",
                    "worker",
                }
                assert secret in service["secrets"] or with_keys, f"{name}: {variable} names {secret}"
    before = {path: path.read_bytes() for path in sorted((project / "secrets").rglob("*")) if path.is_file()}
    subprocess.run(["sh", "deploy/secrets.sh", "--demo"], cwd=project, check=True)
    assert {path: path.read_bytes() for path in sorted((project / "secrets").rglob("*")) if path.is_file()} == before
    assert (project / "secrets").stat().st_mode & 0o777 == 0o700
    kept = [path.read_text() for path in before if path.suffix != ".pub" and "://" not in path.read_text()]
    assert len(kept) == len(set(kept)), "no two secrets are the same"


def test_only_who_runs_tasks_has_the_keys_of_the_sftp_servers():
    holders = {name for name, service in OURS.items() if "authority_key" in service["secrets"]}
    assert holders == {"scheduler", "worker"}
    assert [name for name, service in OURS.items() if "owner_url" in service["secrets"]] == ["migrate"]


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_open_writable_or_mighty_beyond_its_need(name):
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert ("user" in service) != (name == "sftp"), "only sshd starts as root: it has to chroot"
    if name in OURS:
        assert service["read_only"] is True
        assert service["user"] == "5000:5000"
        assert name == "migrate" or "healthcheck" in service
    for volume in service.get("volumes", []):
        source, _target, *mode = volume.split(":")
        if source.startswith("."):
            assert mode == ["ro"], volume
            assert (ROOT / source).exists(), volume
        else:
            assert source in COMPOSE["volumes"]


def test_the_image_takes_what_is_there_and_holds_what_the_compose_file_names():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    taken = [word for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    for source in taken:
        assert (ROOT / source).exists(), source
        assert not listed[0] or any(path == source or path.startswith(f"{source}/") for path in listed), source
    assert {"include", "dags", "plugins", "expectations", "deploy", "docs"} <= set(taken)
    for target in re.findall(r"AS (\S+)$", text, re.MULTILINE):
        assert any(service.get("build", {}).get("target") == target for service in SERVICES.values())
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["certflow"]
    assert "--uid 5000" in text
    assert ".[celery]" in text


def test_the_demos_logins_are_the_cities_of_the_reference_table():
    from certflow.reference import load_reference

    lines = [line.split() for line in (ROOT / "deploy" / "sftp-logins").read_text(encoding="utf-8").splitlines()]
    cities = load_reference(Settings()).cities.values()
    assert {login for login, role in lines if role == "city"} == {city.account for city in cities if not city.historic}
    script, names = (ROOT / "deploy" / "sftp.sh").read_text(encoding="utf-8"), Folders()
    made = re.findall(r"for name in (.+?); do folder", script)
    assert [set(line.split()) for line in made] == [
        {names.inbox, names.trial, names.proofs},
        {names.received, names.replies},
        {names.upward, names.returned, names.archive},
    ]
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert {"province", "province-upward"} == set(re.findall(r"sftp://([^@]+)@sftp:2222/", example))


@pytest.mark.parametrize("script", sorted((ROOT / "deploy").glob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_one_that_sh_can_read(script):
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
