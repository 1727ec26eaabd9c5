"""A Slurm cluster of one node on loopback, made of Debian's packages, that ends with its test."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")


def lacking() -> str:
    """Why no cluster can be started here; empty where one can."""
    search = f"{os.environ.get('PATH', '')}:/usr/sbin"
    absent = [name for name in PROGRAMS if shutil.which(name, path=search) is None]
    if absent:
        packages = "munge slurmctld slurmd slurm-client"
        return f"{', '.join(absent)} not installed (apt-get install {packages})"
    return "" if os.geteuid() == 0 else "slurmd needs root"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start munged, slurmctld and slurmd; yield the environment in which ``sbatch`` finds them.

    Ports, sockets, key and state are its own, so that another Slurm of this machine is left alone.
    """
    host = socket.gethostname().partition(".")[0]
    ports = _free_ports(2)
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True, mode=0o755)
    key = folder / "munge" / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    conf = folder / "slurm.conf"
    conf.write_text(_configuration(folder, host, ports))
    environ = {**os.environ, "SLURM_CONF": str(conf), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    with ExitStack() as stack:
        files = [
            f"--{what}={folder / 'munge' / what}"
            for what in ("socket", "pid-file", "seed-file", "log-file")
        ]
        munged = ["munged", "--foreground", "--force", f"--key-file={key}", *files]
        for command in (munged, ["slurmctld", "-D"], ["slurmd", "-D"]):
            stack.enter_context(_daemon(command, environ, folder / f"{command[0]}.log"))
            time.sleep(1)
        _wait_for_node(environ, folder)
        yield environ
        subprocess.run(["scancel", "--me"], env=environ, check=False)
        finish(environ, timeout_s=40)


def finish(environ: dict[str, str], *, timeout_s: float) -> None:
    """Wait until no job is left."""
    end = time.monotonic() + timeout_s
    while queue(environ):
        if time.monotonic() > end:
            raise TimeoutError(f"jobs are left after {timeout_s} s: {queue(environ)}")
        time.sleep(1)


def queue(environ: dict[str, str]) -> list[str]:
    """One line for each job or task: ``12_1 RUNNING``."""
    command = ["squeue", "--noheader", "--array", "--format", "%i %T"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:-1]


def _configuration(folder: Path, host: str, ports: list[int]) -> str:
    cpus = len(os.sched_getaffinity(0))
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return f"""ClusterName=relad
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ReturnToService=2
KillWait=5
MinJobAge=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb - 500} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def _daemon(command: list[str], environ: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environ, stdout=file, stderr=file)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_node(environ: dict[str, str], folder: Path) -> None:
    """Until the one node is idle."""
    seen = ""
    for _ in range(60):
        command = ["sinfo", "--noheader", "--format", "%T"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if (seen := done.stdout.strip() or done.stderr) == "idle":
            return
        time.sleep(1)
    logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
    raise TimeoutError(f"the node is {seen!r}, needed is idle\n{logs}")
