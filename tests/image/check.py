"""What can be known of the image without building it. A container engine would know more; see the end of this page.

Not checked here: that the base images exist and can be had, and that the layers' cache works as meant.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import recipe

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# What debian:bookworm-slim has of the libraries that a Rust program may want, and its glibc.
BASE_LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
BASE_GLIBC = (2, 36)
START_SECONDS = 20
GUIDED = "benches/guided/build"


class Wrong(Exception):
    """The recipe is wrong; the text says where."""


def context_is_complete(stages: list[recipe.Stage]) -> str:
    """Each COPY finds its sources, and .dockerignore lets through exactly what is copied."""
    let_through = _let_through()
    wanted = {source for stage in stages for copy in stage.copies() if copy.stage is None for source in copy.sources}
    for source in sorted(wanted):
        if not (ROOT / source).exists():
            raise Wrong(f"COPY {source}: there is no such file")
        if not any(Path(source).is_relative_to(entry) for entry in let_through):
            raise Wrong(f"COPY {source}: .dockerignore keeps it out of the build")
    if spare := {entry for entry in let_through if not any(Path(source).is_relative_to(entry) for source in wanted)}:
        raise Wrong(f".dockerignore lets {sorted(spare)} through, which nothing copies")
    return f"COPY finds {', '.join(sorted(wanted))}"


def versions_agree(stages: list[recipe.Stage]) -> str:
    """The builder is the pinned toolchain and of the same Debian as the final image."""
    toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    version, _, debian = stages[0].base.removeprefix("rust:").partition("-")
    if toolchain != version and not toolchain.startswith(f"{version}."):
        raise Wrong(f"the builder has Rust {version}, rust-toolchain.toml says {toolchain}")
    if stages[-1].base != f"debian:{debian}-slim":
        raise Wrong(f"built on {debian}, but run on {stages[-1].base}")
    return f"Rust {version} on {debian} builds what {stages[-1].base} runs"


def build_steps_work(stages: list[recipe.Stage], binary: Path) -> str:
    """Plays the builder's COPY and RUN. For the build itself it checks the sources, and plays the training with the binary
    that is there: the same files are seen, and it is quicker."""
    scratch = TARGET / "image-build"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    quick = f"cargo check --quiet --release --locked && {GUIDED} --train {shlex.quote(str(binary))}"
    played = {f"{GUIDED} --tools": f"{GUIDED} --tools", f"{GUIDED} --out {_built(stages)}": quick}
    for word, text in stages[0].instructions:
        if word == "COPY":
            _copy(recipe.read_copy(text), scratch)
        elif word == "RUN":
            if text not in played:
                raise Wrong(f"RUN {text}: this test can play only {', '.join(played)}")
            command = ["bash", "-ec", played.pop(text)]
            done = subprocess.run(command, cwd=scratch, env=os.environ | {"CARGO_TARGET_DIR": str(TARGET)})
            if done.returncode != 0:
                raise Wrong(f"RUN {text}: failed with {done.returncode} on the files that the image would have")
    if played:
        raise Wrong(f"the builder does not RUN {', '.join(played)}")
    shutil.rmtree(scratch)
    return "the build steps work on what they are given"


def final_stage_takes_the_binary(stages: list[recipe.Stage]) -> str:
    """The binary is copied from where the builder leaves it, to where the entry point finds it."""
    (name,) = [binary["name"] for binary in tomllib.loads((ROOT / "Cargo.toml").read_text())["bin"]]
    built = _built(stages)
    from_builder = [copy for copy in stages[-1].copies() if copy.stage == stages[0].name]
    if [copy.sources for copy in from_builder] != [[built]]:
        raise Wrong(f"the final stage copies {from_builder}, not {built}")
    if from_builder[0].target != f"/usr/local/bin/{name}" or json.loads(stages[-1].the("ENTRYPOINT")) != [name]:
        raise Wrong(f"the entry point is not {name} in /usr/local/bin")
    return f"{built} becomes {from_builder[0].target}"


def links_only_to_the_base(binary: Path) -> str:
    """The binary needs no library and no glibc that the base image lacks."""
    needs = set(re.findall(r"\(NEEDED\).*\[(.+)\]", _output("readelf", "-d", str(binary))))
    if missing := needs - BASE_LIBRARIES:
        raise Wrong(f"the binary needs {sorted(missing)}, which the base image does not have")
    symbols = re.findall(r"GLIBC_(\d+)\.(\d+)", _output("readelf", "-V", str(binary)))
    newest = max((int(major), int(minor)) for major, minor in symbols)
    if newest > BASE_GLIBC:
        raise Wrong(f"the binary needs glibc {newest}, the base image has {BASE_GLIBC}")
    return f"{binary.stat().st_size >> 20} MiB, needs {', '.join(sorted(needs))} and glibc {newest[0]}.{newest[1]}"


def runs_as_the_image_would(stages: list[recipe.Stage], binary: Path) -> str:
    """Default command, user, health check and stop signal, on a copy of the configuration with ports that are free."""
    final = stages[-1]
    uid, gid = _user(final)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        shutil.copy(binary, scratch / "verdigris")
        environment = {"PATH": f"{scratch}:/usr/bin:/bin"} | _environment(final)
        admin = environment["VERDIGRIS_ADMIN"] = f"http://127.0.0.1:{_free_port()}"
        config = _configuration(scratch, admin, (uid, gid))
        identity = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
        same = {"env": environment, "cwd": "/", "stdin": subprocess.DEVNULL} | identity
        health = recipe.health_command(final.the("HEALTHCHECK"))
        if subprocess.run(health, **same, capture_output=True).returncode == 0:
            raise Wrong(f"{health} says that all is well before anything runs")
        command = [argument.replace("/etc/verdigris/verdigris.toml", str(config)) for argument in json.loads(final.the("CMD"))]
        with (scratch / "log").open("wb") as log:
            process = subprocess.Popen(json.loads(final.the("ENTRYPOINT")) + command, **same, stdout=log, stderr=log)
        try:
            _wait_healthy(health, same, process, scratch / "log")
            process.send_signal(getattr(signal, final.the("STOPSIGNAL")))
            code = process.wait(START_SECONDS)
        finally:
            process.kill()
            process.wait()
        if code != 0:
            raise Wrong(f"{final.the('STOPSIGNAL')} ended it with {code}\n{(scratch / 'log').read_text()}")
    return f"as user {uid if identity else 'of this test'}: the default command runs, {' '.join(health)} finds it, the stop signal ends it"


def _built(stages: list[recipe.Stage]) -> str:
    """Where the builder leaves the binary."""
    (name,) = [binary["name"] for binary in tomllib.loads((ROOT / "Cargo.toml").read_text())["bin"]]
    return f"{stages[0].the('WORKDIR')}/{name}"


def _let_through() -> set[str]:
    first, *rest = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    if first != "*" or any(not line.startswith("!") or "*" in line for line in rest):
        raise Wrong(".dockerignore is not a list of exceptions to `*`")
    return {line.removeprefix("!").strip("/") for line in rest}


def _copy(copy: recipe.Copy, workdir: Path) -> None:
    for source in copy.sources:
        target = workdir / copy.target / source if copy.target == "./" else workdir / copy.target
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / source, target)


def _user(final: recipe.Stage) -> tuple[int, int]:
    user = final.the("USER")
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user):
        raise Wrong(f"USER {user}: Kubernetes takes only a number for a user that is not root")
    uid, gid = user.split(":")
    return int(uid), int(gid)


def _environment(final: recipe.Stage) -> dict[str, str]:
    texts = [instruction.text for instruction in final.instructions if instruction.word == "ENV"]
    return dict(text.split("=", 1) for text in texts)


def _configuration(scratch: Path, admin: str, owner: tuple[int, int]) -> Path:
    """config/docker.toml with other ports and another state directory; it must be the one in the image otherwise."""
    text = (ROOT / "config/docker.toml").read_text()
    state = scratch / "state"
    state.mkdir()
    if os.geteuid() == 0:
        os.chown(state, *owner)
    for old, new in [
        ('listen = "0.0.0.0:8080"', f'listen = "127.0.0.1:{_free_port()}"'),
        ('listen = "127.0.0.1:9900"', f'listen = "{admin.removeprefix("http://")}"'),
        ('dir = "/var/lib/verdigris"', f'dir = "{state}"'),
    ]:
        if text.count(f"\n{old}\n") != 1:
            raise Wrong(f"config/docker.toml does not say {old}")
        text = text.replace(f"\n{old}\n", f"\n{new}\n")
    config = scratch / "verdigris.toml"
    config.write_text(text)
    return config


def _wait_healthy(health: list[str], same: dict, process: subprocess.Popen, log: Path) -> None:
    begin = time.monotonic()
    while (done := subprocess.run(health, **same, capture_output=True, text=True)).returncode != 0:
        if process.poll() is not None or time.monotonic() - begin > START_SECONDS:
            raise Wrong(f"{health} does not become well: {done.stdout}{done.stderr}\n{log.read_text()}")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=lambda text: Path(text).resolve(), required=True)
    binary = parser.parse_args().binary
    stages, failed = recipe.read(ROOT / "Dockerfile"), 0
    checks = [context_is_complete, versions_agree, final_stage_takes_the_binary]
    for check, arguments in [
        *((check, (stages,)) for check in checks),
        (build_steps_work, (stages, binary)),
        (links_only_to_the_base, (binary,)),
        (runs_as_the_image_would, (stages, binary)),
    ]:
        try:
            print(f"ok   {check(*arguments)}", flush=True)
        except (Wrong, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"FAIL {check.__doc__}\n     {type(error).__name__}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
