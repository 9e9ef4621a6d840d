"""What a terminal is told."""

from vitdemo.core.terminal import printable, progress_line


def test_a_name_cant_steer_the_terminal():
    assert printable("café/ü.png") == "café/ü.png"
    assert printable("a\x1b[2Jb\n") == r"'a\x1b[2Jb\n'"
    assert printable("caf\udce9") == r"'caf\udce9'"


def test_how_far_work_has_come():
    assert progress_line(50, 200, 10) == "50/200 photos, 5.0 a second, 0:30 left "
    assert progress_line(1, 1000, 2) == "1/1000 photos, 0.5 a second, 33:18 left "
    assert progress_line(0, 7, 0) == "0/7 photos, 0.0 a second, 0:00 left "
