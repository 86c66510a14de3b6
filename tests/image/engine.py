"""A Dockerfile without an engine: its own steps, in overlays of this machine's root that nothing leaves.

    unshare --mount python engine.py build DOCKERFILE SCRATCH     every stage, from RUN, COPY, WORKDIR and ENV
    unshare --mount python engine.py run SCRATCH COMMAND…         COMMAND in the last stage, as its USER, read-only

The machine stands for the base image: its Python takes the place of the image's, and its tools are there too. Needs
root, for mounts in a namespace of their own.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

BASE_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@dataclass
class Stage:
    """One stage: its name, its instructions, and where its files are."""

    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """The environment that its ENV instructions make."""
        env = {"PATH": BASE_PATH}
        for keyword, rest in self.instructions:
            if keyword == "ENV":
                for pair in shlex.split(rest):
                    key, _, value = pair.partition("=")
                    env[key] = re.sub(r"\$\{?(\w+)\}?", lambda match: env[match[1]], value)
        return env

    def last(self, keyword: str) -> str:
        """Return the last instruction of that name."""
        return [rest for name, rest in self.instructions if name == keyword][-1]


def parse(text: str) -> list[Stage]:
    """Return the stages of a Dockerfile that uses neither heredocs nor ONBUILD."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    stages: list[Stage] = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        keyword, _, rest = line.strip().partition(" ")
        if keyword == "FROM":
            stages.append(Stage(rest.partition(" AS ")[2] or "final"))
        elif keyword and stages:
            stages[-1].instructions.append((keyword, rest.strip()))
    return stages


def mount(scratch: Path) -> Path:
    """Put the files of a stage over this machine's root, and return where they are together."""
    root, upper, work = scratch / "root", scratch / "upper", scratch / "work"
    for folder in (root, upper, work):
        folder.mkdir(parents=True, exist_ok=True)
    layers = f"lowerdir=/,upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, root], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)
    subprocess.run(["mount", "--rbind", "/dev", root / "dev"], check=True)
    return root


def put_python(root: Path) -> None:
    """Put this Python where the image has its own, in /usr/local."""
    subprocess.run(["mount", "--bind", root / sys.base_prefix.lstrip("/"), root / "usr/local"], check=True)


def open_python(root: Path) -> None:
    """Let every user read this Python, which may be in the home of another."""
    for folder in Path(sys.base_prefix).parents:
        (root / folder.relative_to("/")).chmod(0o755)


def drop_bytecode(root: Path) -> None:
    """Leave Python's own library as the base image has it: without bytecode."""
    for folder in (root / sysconfig.get_path("stdlib").lstrip("/")).rglob("__pycache__"):
        shutil.rmtree(folder)


def build(dockerfile: Path, scratch: Path) -> None:
    """Carry out every stage; its files are then in `scratch/<stage>`."""
    roots: dict[str, Path] = {}
    for stage in parse(dockerfile.read_text()):
        root = roots[stage.name] = mount(scratch / stage.name)
        open_python(root)
        if stage.name == "final":  # no RUN of it is kept for the next build, so something may be missing
            drop_bytecode(root)
        put_python(root)
        place, digest = "/", sha256(sys.version.encode())
        for keyword, rest in stage.instructions:
            digest.update(f"{keyword} {rest}\n".encode())
            if keyword == "WORKDIR":
                place = rest
                (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif keyword == "COPY" and (source := re.match(r"--from=(\S+) (.*)", rest)):
                copy(roots[source[1]], source[2].split(), root / place.lstrip("/"))
            elif keyword == "COPY":
                copied = copy(dockerfile.parent, rest.split(), root / place.lstrip("/"), "__pycache__", "pb")
                for path in sorted(copied):
                    digest.update(path.read_bytes())
            elif keyword == "RUN":
                carry_out = partial(run, root, place, rest, stage.env)
                layer = Path.home() / ".cache" / "keda-queue-scaler" / f"layer-{digest.hexdigest()[:16]}"
                if "type=cache" in rest:
                    run_once(layer, root, scratch / stage.name / "upper", carry_out)
                else:
                    carry_out()
        last = {"env": stage.env, "user": stage.last("USER") if stage.name == "final" else "0:0"}
        (scratch / stage.name / "stage.json").write_text(json.dumps(last))


def run_once(layer: Path, root: Path, upper: Path, carry_out: Callable[[], None]) -> None:
    """Keep what a RUN that loads things makes, for the next build with the same steps and files; it may only add."""
    if layer.exists():
        subprocess.run(["cp", "--archive", f"{layer}/.", root], check=True)
        return
    carry_out()
    for old in layer.parent.glob("layer-*"):
        shutil.rmtree(old, ignore_errors=True)
    kept = Path(tempfile.mkdtemp(dir=layer.parent))
    subprocess.run(["cp", "--archive", f"{upper}/.", kept], check=True)
    with suppress(OSError):  # another build was faster
        kept.rename(layer)


def copy(origin: Path, names: list[str], place: Path, *ignored: str) -> list[Path]:
    """Copy files and folders as COPY does in the folder `place`, without `ignored`; return the files copied to."""
    *sources, target = names
    goal = place / target.lstrip("/")
    for name in sources:
        source = origin / name.lstrip("/")
        if source.is_dir():
            shutil.copytree(source, goal, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*ignored))
        else:
            goal.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, goal)
    return [path for path in goal.rglob("*") if path.is_file()]


def run(root: Path, place: str, command: str, env: dict[str, str]) -> None:
    """Carry out a RUN; a cache mount is this machine's folder of the same name."""
    for target in re.findall(r"--mount=type=cache,target=(\S+)", command):
        Path(target).mkdir(parents=True, exist_ok=True)
        (root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", target, root / target.lstrip("/")], check=True)
    command = re.sub(r"--mount=\S+", "", command)
    settings = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}  # of the registry
    script = f"cd {shlex.quote(place)} && {command}"
    subprocess.run(["chroot", root, "/bin/sh", "-ec", script], env={**settings, "HOME": "/root", **env}, check=True)


def execute(scratch: Path, command: list[str]) -> None:
    """Become `command` in the last stage: read-only, as its USER, without capabilities."""
    final = scratch / "final"
    stage = json.loads((final / "stage.json").read_text())
    root = mount(final)
    put_python(root)
    for point in (root, root / "usr/local"):
        subprocess.run(["mount", "--options", "remount,bind,ro", point], check=True)
    user, _, group = stage["user"].partition(":")
    drop = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    os.execvpe("chroot", ["chroot", str(root), *drop, "--inh-caps=-all", *command], stage["env"])


if __name__ == "__main__":
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    match sys.argv[1:]:
        case ["build", dockerfile, scratch]:
            build(Path(dockerfile), Path(scratch))
        case ["run", scratch, *command]:
            execute(Path(scratch), command)
        case _:
            sys.exit(__doc__)
