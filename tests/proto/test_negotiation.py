# SPDX-License-Identifier: BSD-3-Clause
"""Who offered, acknowledged and dropped a feature: query-virtio-negotiation and `ringside info
features`."""
import struct

import pytest

from lib.relay import R0, Ends, Listener, relay
from lib.ringside import serve, tool
from lib.vhost_user import (F_EVENT_IDX, F_LOG_ALL, F_PROTOCOL, F_VERSION_1, REPLY, VERSION, Front,
                            Proto, Req)

DISK = "/machine/peripheral/disk0/virtio-backend"


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def host(tmp_path, listener):
    with relay(tmp_path, "id=r0,type=virtio-net", connect=listener.path) as running:
        yield running


def word(n):
    return struct.pack("<Q", n)


def offer(ends, features, protocol=None):
    """The back-end's two words."""
    for request, bits in ((Req.GET_FEATURES, features), (Req.GET_PROTOCOL_FEATURES, protocol)):
        if bits is not None:
            ends.front.send(request)
            ends.back.recv()
            ends.back.send(request, word(bits), flags=VERSION | REPLY)
            ends.front.recv()


def ack(ends, features=None, protocol=None):
    for request, bits in ((Req.SET_PROTOCOL_FEATURES, protocol), (Req.SET_FEATURES, features)):
        if bits is not None:
            ends.front.send(request, word(bits))
            ends.back.recv()


def negotiation(qmp, path=R0):
    return qmp.command("query-virtio-negotiation", path=path)


def bits(rows):
    return {row["bit"]: row for row in rows}


def capability(reply, name):
    return next(c for c in reply["capabilities"] if c["name"] == name)


def test_nothing_said(host):
    with host.qmp() as qmp:
        reply = negotiation(qmp)
        assert (reply["name"], reply["device-id"]) == ("virtio-net", 1)
        assert reply["parties"] == ["back-end", "transport", "front-end", "driver"]
        assert {row["outcome"] for row in reply["features"]} == {"unknown"}
        assert {row["outcome"] for row in reply["protocol-features"]} == {"unknown"}
        assert not any("possible" in c for c in reply["capabilities"])
        assert "previous" not in reply


def test_each_outcome_and_who_it_was(host, listener):
    mac, status, ctrl_vq, ctrl_rx = 5, 16, 17, 18
    with Ends(host, listener) as ends, host.qmp() as qmp:
        offered = F_VERSION_1 | F_PROTOCOL | 1 << mac | 1 << ctrl_vq | 1 << ctrl_rx | 1 << 49
        offer(ends, offered, 1 << Proto.MQ | 1 << Proto.REPLY_ACK)
        row = bits(negotiation(qmp)["features"])[mac]
        assert row["outcome"] == "pending" and row["front-end"] == "unknown"
        assert "dropped-by" not in row
        ack(ends, F_VERSION_1 | F_EVENT_IDX | 1 << ctrl_rx | 1 << 49, 1 << Proto.MQ)
        reply = negotiation(qmp)
        rows = bits(reply["features"])
        assert rows[32] == {"bit": 32, "name": "VIRTIO_F_VERSION_1", "back-end": "offered",
                            "transport": "kept", "front-end": "acked", "driver": "unknown",
                            "outcome": "negotiated"}
        assert rows[mac]["outcome"] == "dropped" and rows[mac]["front-end"] == "not-acked"
        assert rows[mac]["dropped-by"].startswith("front-end or driver")
        assert (rows[status]["outcome"], rows[status]["dropped-by"]) == ("not-offered", "back-end")
        assert rows[29]["outcome"] == "unoffered", "QEMU does it"
        assert (rows[30]["outcome"], rows[30]["dropped-by"]) == ("dropped", "front-end")
        assert "enabled from their start" in rows[30]["note"]
        assert rows[49]["name"] == "bit 49" and rows[49]["outcome"] == "negotiated"
        assert "of no use without VIRTIO_NET_F_CTRL_VQ" in rows[ctrl_rx]["note"]
        protocol = bits(reply["protocol-features"])
        assert protocol[0] == {"bit": 0, "name": "VHOST_USER_PROTOCOL_F_MQ", "back-end": "offered",
                               "front-end": "acked", "outcome": "negotiated"}
        assert (protocol[3]["outcome"], protocol[3]["dropped-by"]) == ("dropped", "front-end")
        assert protocol[12]["outcome"] == "not-offered"
        assert ends.front.silent() and ends.back.silent()


# What people find out by reading sources: pains of real projects.
CAPABILITIES = [
    (F_PROTOCOL, 0, F_PROTOCOL, 0, "migration", False, "never possible: VHOST_F_LOG_ALL"),
    (F_PROTOCOL | F_LOG_ALL, 0, F_PROTOCOL, 0, "migration", False,
     "never possible: VHOST_USER_PROTOCOL_F_LOG_SHMFD is not offered by the back-end"),
    (F_PROTOCOL | F_LOG_ALL, 1 << Proto.LOG_SHMFD, F_PROTOCOL, 0, "migration", False,
     "not in this connection: VHOST_USER_PROTOCOL_F_LOG_SHMFD was not acknowledged by the front-"),
    (F_PROTOCOL | F_LOG_ALL, 2, F_PROTOCOL, 2, "migration", True, None),
    (0, None, 0, None, "back-end restarts without loss", False,
     "never possible: VHOST_USER_F_PROTOCOL_FEATURES is not offered by the back-end"),
    (F_PROTOCOL, 1 << Proto.INFLIGHT_SHMFD, 0, 1 << Proto.INFLIGHT_SHMFD,
     "back-end restarts without loss", True, None),
    (F_PROTOCOL, None, 0, None, "post-copy migration", None, None),
]


@pytest.mark.parametrize("offered, protocol, acked, taken, name, possible, because", CAPABILITIES)
def test_what_hangs_on_bits(host, listener, offered, protocol, acked, taken, name, possible,
                            because):
    with Ends(host, listener) as ends, host.qmp() as qmp:
        offer(ends, offered, protocol)
        ack(ends, acked, taken)
        found = capability(negotiation(qmp), name)
        assert found.get("possible") is possible
        assert because is None or because in found["because"]
        assert because is not None or "because" not in found


def test_the_connection_before(host, listener):
    """FDio/vpp#1885: ports that come up with fewer features, found by comparing masks by eye."""
    with host.qmp() as qmp:
        with Ends(host, listener) as ends:
            offer(ends, F_VERSION_1 | F_PROTOCOL | 1 << 15, 1 << Proto.MQ)
            ack(ends, F_VERSION_1 | F_PROTOCOL | 1 << 15, 1 << Proto.MQ)
        with Ends(host, listener) as ends:
            offer(ends, F_VERSION_1 | F_PROTOCOL | F_EVENT_IDX, 0)
            ack(ends, F_VERSION_1 | F_PROTOCOL, 0)
            assert negotiation(qmp)["previous"] == {
                "connection": 1,
                "no-longer-offered": ["VIRTIO_NET_F_MRG_RXBUF", "VHOST_USER_PROTOCOL_F_MQ"],
                "newly-offered": ["VIRTIO_RING_F_EVENT_IDX"],
                "no-longer-acked": ["VIRTIO_NET_F_MRG_RXBUF", "VHOST_USER_PROTOCOL_F_MQ"],
                "newly-acked": []}


def test_own_device(tmp_path):
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M,event_idx=off") as host, host.qmp() as qmp:
        assert bits(negotiation(qmp, DISK)["features"])[9]["outcome"] == "pending"
        with Front(host.socket("disk0"), features=~(1 << 9)) as front:
            front.set_features(front.features | F_EVENT_IDX)
            reply = negotiation(qmp, DISK)
            assert reply["parties"] == ["device", "transport", "front-end", "driver"]
            rows = bits(reply["features"])
            assert (rows[9]["device"], rows[9]["transport"], rows[9]["front-end"]) == \
                ("offered", "kept", "not-acked")
            assert rows[29]["outcome"] == "unoffered" and rows[29]["device"] == "not-offered"
            assert (rows[26]["device"], rows[26]["transport"], rows[26]["outcome"]) == \
                ("not-offered", "added", "negotiated")
            assert (rows[5]["outcome"], rows[5]["dropped-by"]) == ("not-offered", "device")
            assert bits(reply["protocol-features"])[3]["outcome"] == "negotiated"
        assert "not a realized" in qmp.error("query-virtio-negotiation", path="/machine")[1]


@pytest.mark.parametrize("kind", ["relay", "own"])
def test_text(tmp_path, kind):
    with serve(tmp_path, "virtio-blk,id=disk0,size=1M") as back:
        with relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0")) as host:
            looked, name = (host, "r0") if kind == "relay" else (back, "disk0")
            with Front(host.socket("r0"), features=~(1 << 9), protocol=~(1 << 9)):
                text, _ = tool("info", "--qmp", f"unix:{looked.qmp_path}", "features", name)
    assert max(map(len, text.splitlines())) <= 80 and "\x1b" not in text
    lines = {line.split()[1]: line for line in text.splitlines() if len(line.split()) > 2}
    assert lines["BLK_F_FLUSH"].endswith("dropped: front-end or driver")
    assert lines["CONFIG"].endswith("dropped: front-end")
    assert lines["VERSION_1"].split()[-1] == "negotiated"
    assert "never possible: VHOST_USER_PROTOCOL_F_PAGEFAULT" in " ".join(text.split())
