"""fio writes in many ways, and reads every byte back and checks it."""

from __future__ import annotations

import pytest

from programs.conftest import Mounted
from programs.shell import run

pytestmark = pytest.mark.mount

JOBS = {
    "sequential": ["--rw=write", "--bs=1M", "--size=96M", "--end_fsync=1"],
    "random": ["--rw=randwrite", "--bs=4k", "--size=8M", "--fsync=64"],
    "odd sizes": ["--rw=randwrite", "--bsrange=512-200k", "--bs_unaligned=1", "--size=24M"],
    "mixed": ["--rw=randrw", "--bs=16k", "--size=16M", "--numjobs=3"],
    "direct": ["--rw=randwrite", "--bs=64k", "--size=24M", "--direct=1"],
    "mmap": ["--rw=randwrite", "--bs=4k", "--size=8M", "--ioengine=mmap"],
}


@pytest.mark.parametrize("job", JOBS)
def test_what_fio_writes_it_reads_back(mounted: Mounted, job: str) -> None:
    common = ["--name=job", f"--directory={mounted.point}", "--verify_fatal=1", "--randseed=7"]
    common.append("--verify_state_save=0")
    run("fio", *common, *JOBS[job], "--verify=crc32c", "--do_verify=1")
    if job in ("sequential", "random", "direct"):
        mounted.remount()
        run("fio", *common, *JOBS[job], "--verify=crc32c", "--verify_only=1")
