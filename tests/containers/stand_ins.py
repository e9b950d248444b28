"""Images in the place of the official ones, where no registry can be reached: of the distribution's packages and the local cluster's jars.

They take the variables, commands and volumes that docker-compose.yml gives the official ones, and have their names.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.containers.daemon import Docker
from topologies.errors import ServerAway, SetupError

REPOSITORY: Final = Path(__file__).parents[2]
IMAGES: Final = Path(__file__).parent / "images"
SERVERS: Final = REPOSITORY / "cluster" / "servers"
NAMES: Final = {
    "apache/kafka": "kafka",
    "cassandra": "cassandra",
    "redis": "redis",
    "memcached": "memcached",
    "zookeeper": "zookeeper",
    "haproxy": "haproxy",
    "prom/prometheus": "prometheus",
}
"""The folder below images/ by the official image's name. Grafana is in no package."""
PYTHON: Final = "python"
"""What Marquee's own image is made on; BASE can do for it."""
BASE: Final = "marquee-stand-in:base"
LABEL: Final = "marquee.stand-in"
"""BASE has it, and so has all that is made on it."""
PACKAGES: Final = (
    "ca-certificates", "python3", "python3-venv", "openjdk-17-jre-headless", "redis-server", "memcached", "haproxy", "prometheus", "wget",
)  # fmt: skip
"""Of the one base, which all of them share: an image more costs a layer of its own files."""
SUITE: Final = "bookworm"
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
PULL_S: Final = 600.0
BOOTSTRAP_S: Final = 900.0


def provide(docker: Docker, images: Sequence[str], directory: Path, *, pull: bool, base: Path | None, say: Callable[[str], None]) -> bool:
    """Sees to it that the daemon has all of these; returns whether BASE has to do for PYTHON.

    pull: ask the registry first. base: where the archive of the base is, or is to be kept. Raises SetupError when an image can neither be
    pulled nor stood in for.
    """
    missing = [image for image in images if docker.inspect("image", image) is None]
    if pull:
        missing = [image for image in missing if not _pulled(docker, image, say)]
    if not missing:
        return False
    if strange := [image for image in missing if image.rpartition(":")[0] not in {*NAMES, PYTHON}]:
        raise SetupError(f"no registry has {', '.join(strange)}, and nothing stands in for it.")
    if docker.inspect("image", BASE) is None:
        archive = base or directory / "base.tar"
        if not archive.exists():
            bootstrap(archive, say)
        changes = [f"--change=ENV {name}={CERTIFICATES}" for name in ("SSL_CERT_FILE", "PIP_CERT")]
        docker.run("import", *changes, f"--change=LABEL {LABEL}=true", str(archive), BASE, patience_s=BOOTSTRAP_S)
    served = [image for image in missing if image.rpartition(":")[0] != PYTHON]
    for image in served:
        say(f"{image}: a stand-in of the distribution's packages")
        _build(docker, image, directory / "contexts" / NAMES[image.rpartition(":")[0]])
    return served != missing


def forget(docker: Docker) -> None:
    """Takes all stand-ins away, and what was made on them: with official names, nobody is to take them for official images later."""
    docker.run("image", "prune", "--all", "--force", "--filter", f"label={LABEL}")


def _pulled(docker: Docker, image: str, say: Callable[[str], None]) -> bool:
    try:
        docker.run("pull", "--quiet", image, patience_s=PULL_S)
    except ServerAway as error:
        say(f"{image} cannot be pulled: {str(error).splitlines()[-1]}")
        return False
    return True


def bootstrap(archive: Path, say: Callable[[str], None]) -> None:
    """Makes the archive: a root file system of Debian's packages, with this machine's certificate authorities; a minute, 0.6 GB."""
    program = shutil.which("mmdebstrap")
    if program is None:
        raise SetupError("no registry can be reached, and stand-ins for official images need mmdebstrap: install it (Debian).")
    say("the base of all stand-ins: Debian's packages")
    archive.parent.mkdir(parents=True, exist_ok=True)
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("doc", "locale", "info")]
    unfinished = archive.with_suffix(".part")
    words = [program, "--variant=minbase", *excluded, f"--include={','.join(PACKAGES)}"]
    if Path(CERTIFICATES).exists():
        words.append(f"--customize-hook=copy-in {CERTIFICATES} /etc/ssl/certs")
    ran = subprocess.run([*words, "--format=tar", SUITE, str(unfinished)], capture_output=True, text=True, check=False, timeout=BOOTSTRAP_S)
    if ran.returncode:
        raise SetupError(f"mmdebstrap failed:\n{ran.stderr[-2000:]}")
    unfinished.rename(archive)


def _build(docker: Docker, image: str, context: Path) -> None:
    """From its folder, the server's jars and what the local cluster configures it with."""
    name = context.name
    shutil.copytree(IMAGES / name, context)
    if (jars := REPOSITORY / "var" / "jars" / name).is_dir():
        shutil.copytree(jars, context / "jars")
    for file in (SERVERS / name).glob("*.*"):
        shutil.copy2(file, context)
    docker.run("build", "--network", "host", "--build-arg", f"BASE={BASE}", "--tag", image, str(context), patience_s=BOOTSTRAP_S)
