"""Memory after large photos, measured from outside."""

import subprocess
import sys
import threading
import time

import pytest

from tests.support.apps import ROOT
from tests.support.pictures import noise
from vitdemo.core.errors import UserError
from vitdemo.core.memory import Budget

SCRIPT = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from vitdemo.core.config import Settings
from vitdemo.core import memory
from vitdemo.core.photos.photo import open_photo

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
time.sleep(2 * memory.TRIM_SECONDS)  # freed memory goes back at the next round
print(resident() - before)
"""


@pytest.mark.app
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_large_photos_leave_nothing_behind(tmp_path):
    noise(60, 40).resize((6000, 4000)).save(tmp_path / "large.jpg")
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path / "large.jpg"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 40  # MB; one of these photos takes 72


def test_a_line_for_memory_has_an_end():
    budget, had = Budget(10, most=1), []

    def wait() -> None:
        with budget.room_for(6):
            had.append("room")

    with budget.room_for(6):
        waiting = threading.Thread(target=wait)
        waiting.start()
        while not budget._waiting:
            time.sleep(0.001)  # between two looks
        with pytest.raises(UserError, match="the queue for requests is full, with 1 waiting"), budget.room_for(1):
            pass
        assert had == []
    waiting.join(60)
    assert had == ["room"]
    with budget.room_for(100):  # more than there is: alone
        pass
