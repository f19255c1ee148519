# SPDX-License-Identifier: BSD-3-Clause
"""`make demo` is what a newcomer sees first: it shows each of the five commands on a living guest,
ends by itself, and leaves nothing behind."""
import os
import re

import pytest

from lib.guest import images
from lib.guest_uml import require_uml
from lib.process import Process
from lib.ringside import Folder, binary

SHOWN = (
    "x-query-virtio:", "virtio-blk", "virtio-serial", "virtio-rng",
    "x-query-virtio-status", "VIRTIO_RING_F_EVENT_IDX", "no driver for virtio-rng",
    "x-query-virtio-queue-status", "last-avail-idx",
    "x-query-virtio-queue-element", "x-query-virtio-vhost-queue-status",
    "read it back, the same", "What to try next", "ringside serve")


@pytest.fixture
def folder():
    folder = Folder()
    yield folder
    folder.remove()


def test_demo(folder, source_root):
    require_uml()
    images("uml")
    env = {"TMPDIR": str(folder.path), "XDG_RUNTIME_DIR": str(folder.path), "TERM": "dumb"}
    with Process([source_root / "tools/demo", binary()], env=env, stdin=False) as demo:
        assert demo.wait(120) == 0, demo.text
        demo.assert_alone_gone()
        text = demo.text
    missing = [words for words in SHOWN if words not in text]
    assert not missing, f"{missing} not in:\n{text}"
    assert "\033" not in text, "colour, and this is no terminal"
    # The ring turned while it was looked at.
    looks = [int(n) for n in re.findall(r"^ +\d+\.\d\d s +(\d+)", text, re.M)]
    assert len(looks) > 2 and looks == sorted(looks) and looks[0] < looks[-1], looks
    assert os.listdir(folder.path) in ([], ["ringside"]), os.listdir(folder.path)
