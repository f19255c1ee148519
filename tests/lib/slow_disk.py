# SPDX-License-Identifier: BSD-3-Clause
"""A disk with a moment's latency, for processes that shall have requests in flight.

    serve(tmp_path, "virtio-blk,...,aio=threads", env=slow_disk(5000))
"""
import os
import pathlib

import pytest


def slow_disk(microseconds, hold=None):
    """What a program's environment needs: transfers of its threads take so much longer, more or
    less, so that they overtake each other. While the file `hold` is there, a quarter of them stays
    before it is done, and a quarter of the others after that."""
    library = os.environ.get("RINGSIDE_SLOW_DISK", "")
    if os.environ.get("RINGSIDE_SANITIZED") or not pathlib.Path(library).is_file():
        pytest.skip("nothing can be loaded before a sanitized program")
    environment = {"LD_PRELOAD": library, "SLOW_DISK_US": str(microseconds)}
    if hold:
        environment["SLOW_DISK_HOLD"] = str(hold)
    return environment
