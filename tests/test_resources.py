import os

import pytest

from relad_bids.errors import UsageError
from relad_bids.resources import Resources, available, parse_memory

MEMINFO = "MemTotal:       33554432 kB\nMemFree:        1000 kB\n"
"""A host with 32768 MB."""


@pytest.fixture
def look(tmp_path):
    """Ask for the resources of a made-up machine with 64 CPUs; files are path -> content."""

    def _look(files=None, environ=None, affinity=64):
        for name, content in {"proc/meminfo": MEMINFO, **(files or {})}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return available(root=tmp_path, environ=environ or {}, affinity=affinity)

    return _look


def test_without_limits_the_host_is_the_limit(look):
    assert look() == Resources(64, "CPU affinity", 32768, "host")


def test_this_very_process():
    found = available()
    assert 1 <= found.cpus <= len(os.sched_getaffinity(0))
    assert found.memory_mb >= 1


def test_cgroup_v2_in_a_container(look):
    found = look(
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/cpu.max": "250000 100000\n",
            "sys/fs/cgroup/memory.max": "4294967296\n",
        }
    )
    assert found == Resources(2, "cgroup v2 cpu.max", 4096, "cgroup v2 memory.max")


def test_the_tightest_cgroup_on_the_way_up_counts(look):
    """Slurm limits the job; the step below it says ``max``."""
    job = "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7"
    found = look(
        {
            "proc/self/cgroup": "0::/system.slice/slurmstepd.scope/job_7/step_0\n",
            f"{job}/step_0/memory.max": "max\n",
            f"{job}/step_0/cpu.max": "max 100000\n",
            f"{job}/memory.max": f"{6000 * 2**20}\n",
            f"{job}/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/system.slice/memory.max": f"{9000 * 2**20}\n",
        }
    )
    assert (found.cpus, found.memory_mb) == (4, 6000)


def test_the_tightest_v1_folder_on_the_way_up_counts(look):
    """PBS limits the job and leaves the folder of the process unlimited (2**63 in pages)."""
    unlimited = "9223372036854771712\n"
    memory, slice_ = "sys/fs/cgroup/memory/pbspro.slice/job7", "sys/fs/cgroup/cpu/pbspro.slice"
    found = look(
        {
            "proc/self/cgroup": "9:memory:/pbspro.slice/job7/task\n"
            "4:cpu,cpuacct:/pbspro.slice/job7\n",
            f"{memory}/task/memory.limit_in_bytes": unlimited,
            f"{memory}/memory.limit_in_bytes": f"{5000 * 2**20}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": unlimited,
            f"{slice_}/job7/cpu.cfs_quota_us": "-1\n",
            f"{slice_}/job7/cpu.cfs_period_us": "100000\n",
            f"{slice_}/cpu.cfs_quota_us": "600000\n",
            f"{slice_}/cpu.cfs_period_us": "100000\n",
        },
        environ={"NCPUS": "8", "PBS_JOBID": "7.server"},
    )
    assert (found.cpus, found.memory_mb) == (6, 5000)


def test_v1_limits_beside_a_v2_hierarchy_without_controllers(look):
    """The hybrid of systemd: v2 is there to count processes, v1 limits."""
    found = look(
        {
            "proc/self/cgroup": "2:memory:/a\n1:name=systemd:/a\n0::/a\n",
            "sys/fs/cgroup/unified/a/cgroup.procs": "1\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{700 * 2**20}\n",
        }
    )
    assert (found.memory_mb, found.memory_source) == (700, "cgroup v1 memory.limit_in_bytes")


@pytest.mark.parametrize(("high", "memory_mb"), [("max", 4096), (str(3 * 2**30), 3072)])
def test_memory_above_which_a_job_is_slowed_down(look, high, memory_mb):
    found = look(
        {
            "proc/self/cgroup": "0::/job\n",
            "sys/fs/cgroup/job/memory.max": f"{4 * 2**30}\n",
            "sys/fs/cgroup/job/memory.high": f"{high}\n",
        }
    )
    assert found.memory_mb == memory_mb


@pytest.mark.parametrize("limit", ["max\n", "\n", "0\n", "-1\n", "lots\n", "1.5e9\n"])
def test_what_a_cgroup_does_not_limit(look, limit):
    files = {
        "proc/self/cgroup": "0::/job\n",
        "sys/fs/cgroup/job/memory.max": limit,
        "sys/fs/cgroup/job/cpu.max": limit,
    }
    assert look(files) == Resources(64, "CPU affinity", 32768, "host")


@pytest.mark.parametrize("path", ["/../../outside", "/gone/away", ""])
def test_a_path_that_this_process_cannot_see(look, path):
    """In a namespace of its own a process is told ``/..``; the mount point then speaks for it."""
    files = {"proc/self/cgroup": f"0::{path}\n", "sys/fs/cgroup/memory.max": f"{2**30}\n"}
    assert look(files).memory_mb == 1024


def test_what_pbs_grants(look):
    """OpenPBS: the CPUs of this node; how many nodes there are is of no use to one process."""
    granted = {"PBS_JOBID": "7.server", "NCPUS": "6", "PBS_NUM_NODES": "2", "PBS_NP": "12"}
    assert look(environ=granted) == Resources(6, "NCPUS", 32768, "host")
    assert look(environ={"PBS_NUM_PPN": "5", "PBS_NP": "10"}).cpus == 5


def test_slurm_and_its_cgroup_agree_or_the_smaller_one_holds(look):
    files = {
        "proc/self/cgroup": "0::/job_7\n",
        "sys/fs/cgroup/job_7/memory.max": f"{3 * 2**30}\n",
    }
    for megabytes, held in (("2000", 2000), ("9000", 3072)):
        assert look(files, {"SLURM_MEM_PER_NODE": megabytes}).memory_mb == held


def test_cgroups_of_others_do_not_count(look):
    found = look({"proc/self/cgroup": "0::/mine\n", "sys/fs/cgroup/other/memory.max": "1048576\n"})
    assert found.memory_mb == 32768


@pytest.mark.parametrize("mounted", ["docker/abc/", ""])
def test_cgroup_v1_inside_and_outside_a_container(look, mounted):
    """A container sees its own folder as the mount point, under the host's path."""
    found = look(
        {
            "proc/self/cgroup": "5:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n",
            f"sys/fs/cgroup/memory/{mounted}memory.limit_in_bytes": "2147483648\n",
            f"sys/fs/cgroup/cpu/{mounted}cpu.cfs_quota_us": "300000\n",
            f"sys/fs/cgroup/cpu/{mounted}cpu.cfs_period_us": "100000\n",
        }
    )
    assert (found.cpus, found.cpus_source) == (3, "cgroup v1 cpu.cfs_quota_us")
    assert (found.memory_mb, found.memory_source) == (2048, "cgroup v1 memory.limit_in_bytes")


def test_cgroup_v1_without_limits(look):
    found = look(
        {
            "proc/self/cgroup": "5:memory:/\n3:cpu:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        }
    )
    assert found == Resources(64, "CPU affinity", 32768, "host")


@pytest.mark.parametrize(("quota", "cpus"), [(50000, 1), (199999, 1), (200000, 2)])
def test_a_share_of_a_cpu_is_rounded_down_but_not_to_nothing(look, quota, cpus):
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": f"{quota} 100000\n"}
    assert look(files).cpus == cpus


@pytest.mark.parametrize(
    "name",
    ["SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "PBS_NCPUS", "PBS_NUM_PPN", "NCPUS",
     "LSB_DJOB_NUMPROC"],
)  # fmt: skip
def test_schedulers_grant_cpus(look, name):
    assert look(environ={name: "3"}).cpus_source == name
    assert look(environ={name: "3"}).cpus == 3


@pytest.mark.parametrize("text", ["", "0", "n/a", "2(x3)"])
def test_what_is_no_number_is_no_limit(look, text):
    assert look(environ={"SLURM_CPUS_PER_TASK": text, "SLURM_MEM_PER_NODE": text}) == look()


def test_a_scheduler_cannot_grant_more_than_the_process_may_run_on(look):
    found = look(environ={"SLURM_CPUS_PER_TASK": "16"}, affinity=2)
    assert (found.cpus, found.cpus_source) == (2, "CPU affinity")


def test_slurm_memory(look):
    assert look(environ={"SLURM_MEM_PER_NODE": "16000"}).memory_mb == 16000
    found = look(environ={"SLURM_MEM_PER_CPU": "2000", "SLURM_CPUS_PER_TASK": "4"})
    assert (found.memory_mb, found.memory_source) == (8000, "SLURM_MEM_PER_CPU x 4")
    granted = {"SLURM_MEM_PER_CPU": "2000", "SLURM_CPUS_PER_TASK": "4"}
    assert look(environ=granted, affinity=2).memory_mb == 8000
    assert look(environ={"SLURM_MEM_PER_CPU": "2000"}, affinity=3).memory_mb == 6000


@pytest.mark.parametrize(
    ("text", "megabytes"),
    [
        ("8000", 8000),
        ("8000M", 8000),
        ("8G", 8192),
        ("8g", 8192),
        ("8GB", 8192),
        ("8 GiB", 8192),
        ("1.5G", 1536),
        ("2T", 2 * 1024**2),
        ("1024K", 1),
    ],
)
def test_amounts_of_memory(text, megabytes):
    assert parse_memory(text) == megabytes


@pytest.mark.parametrize("text", ["", "G", "-8", "8X", "0", "1023K", "8,5G", "lots"])
def test_what_is_no_amount_of_memory(text):
    with pytest.raises(UsageError, match=r"is not an amount of memory.*such as 8G"):
        parse_memory(text)
