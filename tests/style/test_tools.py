# SPDX-License-Identifier: BSD-3-Clause
"""The tools that judge: counts come out right, and nothing that failed looks like a pass."""
import importlib.machinery
import importlib.util
import os
import subprocess
import sys

import pytest

from lib.process import Process, Timeout, wait_until

CASES = '''
import pytest
def test_good(): pass
def test_bad(): assert 1 == 2
@pytest.mark.skip(reason="no #hardware")
def test_skipped(): pass
@pytest.fixture
def broken():
    yield
    raise OSError("late")
def test_teardown(broken): pass
'''


@pytest.fixture(scope="module")
def check(source_root):
    """tools/check as a module."""
    loader = importlib.machinery.SourceFileLoader("check", str(source_root / "tools" / "check"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("check", loader))
    loader.exec_module(module)
    return module


def tap(source_root, path):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "lib.tap", "-p", "no:cacheprovider", "-q", path],
        capture_output=True, text=True, cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(source_root / "tests")})


def entry(stdout="", result="OK", returncode=0):
    return {"name": "t", "stdout": stdout, "result": result, "returncode": returncode}


def test_tap_of_cases(tmp_path, source_root, check):
    path = tmp_path / "test_cases.py"
    path.write_text(CASES)
    run = tap(source_root, path)
    assert run.returncode == 0
    assert run.stdout.splitlines() == [
        "ok 1 - test_good", "not ok 2 - test_bad", "ok 3 - test_skipped # SKIP no No.hardware",
        "not ok 4 - test_teardown", "1..4"]
    assert "assert 1 == 2" in run.stderr
    passed, failed, skipped = check.count(entry(run.stdout, "FAIL"))
    assert (passed, failed, skipped) == (1, 2, [("t: test_skipped", "no No.hardware")])


@pytest.mark.parametrize("text", ["import no_such_module\n", "def test_x(:\n"])
def test_tap_of_what_cannot_be_collected(tmp_path, source_root, text):
    path = tmp_path / "test_broken.py"
    path.write_text(text)
    assert "not ok 1 - collect" in tap(source_root, path).stdout


def test_tap_of_nothing(tmp_path, source_root):
    path = tmp_path / "test_none.py"
    path.write_text("")
    run = tap(source_root, path)
    assert run.returncode != 0 and "Bail out!" in run.stdout


@pytest.mark.parametrize("case,passed,failed,skipped", [
    (entry("1..2\nok 1 - a\nok 2 - b\n"), 2, 0, 0),
    (entry("ok 1 - a\nnot ok 2 - b\n1..2\n", "FAIL"), 1, 1, 0),
    (entry("1..1\nok 1 a # SKIP no reason\n", "SKIP"), 0, 0, 1),
    (entry("1..2\nok 1 - a\n", "ERROR", 1), 1, 1, 0),
    (entry("1..1\nok 1 - a\n", "TIMEOUT", -15), 1, 1, 0),
    (entry("", "SKIP"), 0, 1, 0),
    (entry("why not", "SKIP", 77), 0, 0, 1),
    (entry("done", "OK"), 1, 0, 0),
    (entry("done", "FAIL", 1), 0, 1, 0),
    (entry("", "ERROR", -11), 0, 1, 0),
], ids=lambda v: v["result"] if isinstance(v, dict) else None)
def test_counts(check, case, passed, failed, skipped):
    p, f, s = check.count(case)
    assert (p, f, len(s)) == (passed, failed, skipped)


def test_guest_image_is_reproducible(tmp_path, source_root):
    results = []
    for name in ("a", "b"):
        run = subprocess.run([source_root / "tools/guest-images", "--out", tmp_path / name, "uml"],
                             capture_output=True, text=True)
        if run.returncode == 77:
            pytest.skip(run.stdout.strip())
        assert run.returncode == 0, run.stderr
        results.append((tmp_path / name / "uml.initrd").read_bytes())
    assert results[0] == results[1]


def test_deps_refuses_an_unknown_group(source_root):
    run = subprocess.run([source_root / "tools/deps.sh", "nonsense"], capture_output=True,
                         text=True)
    assert run.returncode == 2 and "'nonsense'" in run.stderr


def test_process_finds_who_left_the_group():
    """A grandchild in a session of its own is family, and ends with it."""
    with Process(["sh", "-c", "setsid sleep 1000 & echo $!; exit 0"]) as process:
        left = int(process.expect(rb"(\d+)\n")[1])
        wait_until(lambda: not process.running(), "the shell's end")
        # In the moment of its exec a process shows no environment.
        wait_until(lambda: process.family() == [left], "the grandchild")
    assert process.family() == []


def test_process_says_what_it_waited_for():
    with Process(["sh", "-c", "echo something else"]) as process:
        with pytest.raises(Timeout, match="something else"):
            process.expect(rb"hello")
        assert process.wait() == 0
        process.assert_alone_gone()
