"""Memory after large photos, measured from outside."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT, noise

SCRIPT = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from vitdemo.core.config import Settings
from vitdemo.core import memory
from vitdemo.core.photos import open_photo

def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) // 1024

memory.EVERY = 1
assert memory.give_back_freed_memory()
settings = Settings()
open_photo(sys.argv[1], settings)
before = resident()
with ThreadPoolExecutor(4) as pool:
    for _ in pool.map(lambda _: open_photo(sys.argv[1], settings).image.size, range(16)):
        pass
time.sleep(2 * memory.EVERY)
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_large_photos_leave_nothing_behind(tmp_path):
    noise(60, 40).resize((6000, 4000)).save(tmp_path / "large.jpg")
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path / "large.jpg"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 40  # MB; one of these photos takes 72
