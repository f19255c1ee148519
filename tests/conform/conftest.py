# SPDX-License-Identifier: BSD-3-Clause
"""The ways in which a driver reaches a device: each case that takes `way` runs once for each.

A new transport or ring format is a row here; the cases stay as they are.
"""
import json

import pytest

from lib.memory import Memory
from lib.ringside import PARTS, serve
from lib.vhost_user import F_EVENT_IDX, F_INDIRECT, Front


class Way:
    """A transport and what is negotiated on it."""

    def __init__(self, transport, ring, *, indirect, event_idx, status):
        self.transport, self.ring = transport, ring
        self.indirect, self.event_idx, self.status = indirect, event_idx, status

    def __str__(self):
        return "-".join([self.transport, self.ring, "indirect" if self.indirect else "direct",
                         "event" if self.event_idx else "flags",
                         "status" if self.status else "derived"])

    def connect(self, path, *, features=~0, memory=None, **how):
        """A driver on a device's socket; `features` limits what it accepts further."""
        features &= ~(0 if self.indirect else F_INDIRECT) & ~(0 if self.event_idx else F_EVENT_IDX)
        memory = memory or Memory([(0, 64 << 20)])
        return Front(path, features=features, status=self.status, memory=memory,
                     packed=self.ring == "packed", **how)


# Each pair of values meets on either ring; all three together on split ones.
PACKED = [Way("vhost-user", "packed", indirect=indirect, event_idx=event_idx,
              status=indirect == event_idx)
          for indirect in (True, False) for event_idx in (True, False)]
WAYS = [Way("vhost-user", "split", indirect=indirect, event_idx=event_idx, status=status)
        for indirect in (True, False) for event_idx in (True, False) for status in (False, True)]
WAYS += PACKED


@pytest.fixture(params=WAYS, ids=str)
def way(request):
    return request.param


@pytest.fixture(params=[way for way in WAYS if way.ring == "split"], ids=str)
def split_way(request):
    return request.param


@pytest.fixture(params=PACKED, ids=str)
def packed_way(request):
    return request.param


def offer_packed(device):
    """A --device, in either of its forms, that offers packed rings."""
    if device.startswith("{"):
        return json.dumps({**json.loads(device), "packed": True})
    if device.startswith(PARTS):
        return device
    return device + ",packed=on"


@pytest.fixture
def start(tmp_path):
    """start(device, ...): a running program with these devices, stopped and checked afterwards."""
    hosts = []

    def run(*devices, **how):
        # Whether a driver takes packed rings is the way's to say.
        hosts.append(serve(tmp_path, *map(offer_packed, devices), **how))
        return hosts[-1]

    yield run
    failed = None
    for host in hosts:
        try:
            host.stop()
        except AssertionError as error:
            failed = error
        finally:
            host.destroy()
    if failed:
        raise failed
