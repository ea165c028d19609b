"""A real Slurm cluster on this machine: many "GPU nodes" on one host, on free ports, in one folder.

Needs root and Debian's `slurm-wlm` and `munge` (with accounting also `slurmdbd` and `mariadb-server`).
It starts its own daemons, its own munged among them, and stops exactly those.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge", "slurmdbd", "mariadb-server")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db")

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmctldPort={controller}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool/%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=5,bf_interval=5
ReturnToService=2
SlurmdTimeout=30
KillWait=5
GresTypes=gpu
PreemptMode=REQUEUE
PreemptType=preempt/partition_prio
JobRequeue=1
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
{accounting}
"""


def missing_programs(accounting: bool = False) -> list[str]:
    names = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    return [name for name in names if shutil.which(name) is None]


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now, each for one daemon."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Cluster:
    """A cluster with `partitions`: name -> (numbers of its nodes, further settings).

    Args:
        more: further lines of slurm.conf.

    Attributes:
        environment: what a command needs to talk to this cluster.
    """

    def __init__(
        self, folder: Path, partitions: dict[str, tuple[list[int], str]], accounting: bool, more: str = ""
    ) -> None:
        self.more = more
        self.folder, self.partitions, self.accounting = folder, partitions, accounting
        self.nodes = sorted({node for nodes, _ in partitions.values() for node in nodes})
        self.conf = folder / "slurm.conf"
        self.environment = os.environ | {"SLURM_CONF": str(self.conf)}
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        for name in ("state", "log", "spool", "db"):
            (self.folder / name).mkdir(parents=True)
        self._write_conf()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        at = f"--socket={self.folder}/munge.socket"
        self._daemon("munged", "munged", "--foreground", "--force", at, *files)
        self._until(lambda: (self.folder / "munge.socket").exists(), "munged", 20)
        if self.accounting:
            self._start_accounting()
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        self._until(self._all_idle, "all nodes idle", 90)

    def _write_conf(self) -> None:
        controller, database, accountant, *ports = free_ports(len(self.nodes) + 3)
        host = socket.gethostname().split(".")[0]
        accounting = "AccountingStorageType=accounting_storage/none"
        if self.accounting:
            accounting = (
                "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\n"
                f"AccountingStoragePort={accountant}\nAccountingStoragePass={self.folder}/munge.socket"
            )
        lines = [CONF.format(host=host, folder=self.folder, controller=controller, accounting=accounting)]
        for node, port in zip(self.nodes, ports, strict=True):
            lines.append(
                f"NodeName=gpu{node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 "
                "RealMemory=2000 Gres=gpu:1 State=UNKNOWN"
            )
        lines.append(self.more)
        for name, (nodes, more) in self.partitions.items():
            names = ",".join(f"gpu{node}" for node in nodes)
            lines.append(f"PartitionName={name} Nodes={names} MaxTime=INFINITE State=UP {more}")
        self.conf.write_text("\n".join(lines) + "\n")
        gres = [f"NodeName=gpu{node} Name=gpu File=/dev/null" for node in self.nodes]
        (self.folder / "gres.conf").write_text("\n".join(gres) + "\n")
        if self.accounting:
            self._write_database_conf(database, accountant)

    def _write_database_conf(self, database: int, accountant: int) -> None:
        self.database = database
        path = self.folder / "slurmdbd.conf"
        path.touch(mode=0o600)
        path.write_text(
            f"AuthType=auth/munge\nAuthInfo=socket={self.folder}/munge.socket\nDbdHost=localhost\n"
            f"DbdPort={accountant}\nSlurmUser=root\nLogFile={self.folder}/log/slurmdbd.log\n"
            f"PidFile={self.folder}/slurmdbd.pid\nStorageType=accounting_storage/mysql\n"
            f"StorageHost=127.0.0.1\nStoragePort={database}\nStorageUser=slurm\nStoragePass=slurm\n"
            "StorageLoc=slurm_acct_db\n"
        )

    def _start_accounting(self) -> None:
        db, at = self.folder / "db", self.folder / "db.socket"
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={db}", "--user=root",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, capture_output=True,
        )  # fmt: skip
        self._daemon("mariadbd", "mariadbd", "--no-defaults", "--user=root", f"--datadir={db}",
                     f"--port={self.database}", f"--socket={at}", "--bind-address=127.0.0.1",
                     f"--pid-file={self.folder}/mariadb.pid")  # fmt: skip
        self._until(at.exists, "mariadbd", 60)
        grant = "".join(
            f"CREATE USER slurm@{host} IDENTIFIED BY 'slurm'; GRANT ALL ON *.* TO slurm@{host}; "
            for host in ("'%'", "localhost")
        )
        subprocess.run(["mariadb", "--no-defaults", f"--socket={at}", "-u", "root", "-e", grant], check=True)
        self._daemon("slurmdbd", "slurmdbd", "-D")
        self._until(lambda: self.ask("sacctmgr", "-n", "list", "cluster").returncode == 0, "slurmdbd", 60)

    def start_controller(self) -> None:
        self._daemon("slurmctld", "slurmctld", "-D")

    def start_node(self, node: int) -> None:
        self._daemon(f"slurmd-{node}", "slurmd", "-D", "-N", f"gpu{node}")

    def until_usable(self, account: str) -> None:
        """Until the controller knows the account, of which the database tells it."""
        known = ("sbatch", "-A", account, "--test-only", "--wrap", "true")
        self._until(lambda: self.ask(*known).returncode == 0, f"account {account}", 60)

    def kill(self, name: str) -> None:
        """kill -9 of one daemon; what it started goes on."""
        self.started[name].send_signal(signal.SIGKILL)
        self.started.pop(name).wait()

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)

    def _all_idle(self) -> bool:
        states = self.ask("sinfo", "-h", "-N", "-o", "%N %T").stdout.split("\n")
        return len({line.split()[0] for line in states if line.endswith(" idle")}) == len(self.nodes)

    def _daemon(self, name: str, *command: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self.started[name] = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def _until(self, ready: object, what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not ready():  # type: ignore[operator]
            if time.monotonic() > deadline:
                logs = "".join(p.read_text(errors="replace")[-1500:] for p in (self.folder / "log").iterdir())
                raise TimeoutError(f"{what}: not ready after {seconds:.0f} s\n{logs}")
            time.sleep(0.5)

    def stop(self) -> None:
        self.ask("scancel", "--me")
        time.sleep(1)
        for name in reversed(self.started):
            self.started[name].terminate()
        for process in self.started.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._end_leftover_tasks()

    def _end_leftover_tasks(self) -> None:
        """slurmstepd and what it runs outlive a slurmd that was killed: those that know our folder."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                ours = str(self.folder).encode() in (entry / "environ").read_bytes()
                name = (entry / "comm").read_text().strip()
            except OSError:
                continue
            if (
                ours
                and int(entry.name) != os.getpid()
                and (name.startswith("slurmstepd") or name == "python")
            ):
                os.kill(int(entry.name), signal.SIGKILL)
