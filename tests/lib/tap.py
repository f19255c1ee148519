# SPDX-License-Identifier: BSD-3-Clause
"""A pytest plugin that reports each case as a line of TAP on stdout, for meson.

Loaded by tests/meson.build with `-p lib.tap`. pytest's own report goes to stderr, so that meson
keeps it in its log and shows it when something fails. The exit status is 0 whenever TAP already
says everything: meson takes any other status as a crash of the test program.
"""
import os
import sys

import pytest

# Taken before pytest's capture replaces descriptor 1.
_out = os.fdopen(os.dup(1), "w", buffering=1)
_err = os.fdopen(os.dup(2), "w", buffering=1)


def _one_line(text):
    # '#' would start a directive.
    return " ".join(str(text).replace("#", "No.").split())


class Tap:
    def __init__(self):
        self.count = 0
        self.seen = {}

    def line(self, ok, name, directive=""):
        self.count += 1
        _out.write(f"{'ok' if ok else 'not ok'} {self.count} - {_one_line(name)}{directive}\n")

    def pytest_runtest_logreport(self, report):
        """One line a case: the worst of its set-up, call and tear-down."""
        worst = self.seen.setdefault(report.nodeid, ("passed", ""))
        if report.failed:
            self.seen[report.nodeid] = ("failed", "")
        elif report.skipped and worst[0] == "passed":
            why = report.longrepr
            reason = why[2] if isinstance(why, tuple) else "expected failure"
            self.seen[report.nodeid] = ("skipped", reason.removeprefix("Skipped: "))
        if report.when == "teardown":
            outcome, reason = self.seen.pop(report.nodeid)
            name = report.nodeid.split("::", 1)[-1]
            if outcome == "skipped":
                self.line(True, name, f" # SKIP {_one_line(reason)}")
            else:
                self.line(outcome == "passed", name)

    def pytest_collectreport(self, report):
        if report.failed:
            self.line(False, f"collect {report.nodeid}")
        elif report.skipped:
            self.line(True, f"collect {report.nodeid}",
                      f" # SKIP {_one_line(report.longrepr[2].removeprefix('Skipped: '))}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or self.count:
            _out.write(f"1..{self.count}\n")
            if exitstatus == pytest.ExitCode.TESTS_FAILED:
                session.exitstatus = 0
        else:
            _out.write(f"Bail out! pytest ended with status {int(exitstatus)}\n")


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    config.pluginmanager.register(Tap(), "ringside-tap")
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter._tw._file = _err
