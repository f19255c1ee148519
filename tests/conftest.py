# SPDX-License-Identifier: BSD-3-Clause
"""Shared fixtures. meson sets the environment; by hand: RINGSIDE_BIN=build/ringside pytest-3 FILE.
"""
import os
import pathlib
import signal

import pytest

SOURCE = pathlib.Path(__file__).resolve().parent.parent

# Under nohup, say: what is ignored here would be ignored by all that the tests start.
for _signal in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL)


@pytest.fixture(scope="session")
def source_root():
    """The checkout."""
    return SOURCE


@pytest.fixture(scope="session")
def ringside_bin():
    """The built program; a case that needs it is skipped when none was named."""
    path = os.environ.get("RINGSIDE_BIN")
    if not path:
        pytest.skip("RINGSIDE_BIN does not name a built ringside")
    return pathlib.Path(path)
