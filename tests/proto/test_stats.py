# SPDX-License-Identifier: BSD-3-Clause
"""What queues count: query-stats and its schemas in QEMU's shapes, and OpenMetrics text over
HTTP, read by somebody else's strict parser. HTTP clients of any kind cost nobody anything."""
import re
import socket
import time

import pytest

from lib.process import PATIENCE, wait_until
from lib.relay import relay
from lib.ringside import serve, tool
from lib.vhost_user import Front
from lib.virtio import BLK_S_IOERR, BLK_T_IN, Blk

parser = pytest.importorskip("prometheus_client.openmetrics.parser",
                             reason="python3-prometheus-client is not installed")

DISK0 = "/machine/peripheral/disk0/virtio-backend"
DISK = "virtio-blk,id=disk0,size=1M,num-queues=2"
HISTOGRAM = "ringside_virtqueue_service_time_seconds"


@pytest.fixture
def host(tmp_path):
    with serve(tmp_path, DISK, arguments=["--metrics", "127.0.0.1:0"]) as running:
        yield running


def port(host):
    return int(wait_until(lambda: re.search(r"metrics at tcp:127\.0\.0\.1:(\d+)",
                                            host.process.text), "the address")[1])


def http(address, request, family=socket.AF_INET):
    """All that comes back; the server ends the connection."""
    with socket.socket(family) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(address)
        sock.sendall(request)
        got = b""
        while True:
            more = sock.recv(65536)
            if not more:
                return got
            got += more


def get(address, family=socket.AF_INET):
    head, _, body = http(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
                         family).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    assert lines[0] == "HTTP/1.1 200 OK"
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert int(headers["content-length"]) == len(body)
    return body.decode()


def samples(text, queue="0"):
    """{(name, its own labels): value} of a queue, by a strict parser."""
    found = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.documentation and family.name.startswith("ringside_virtqueue_")
        for sample in family.samples:
            labels = dict(sample.labels)
            own = labels.pop("queue"), labels.pop("device"), labels.pop("path"), labels.pop("type")
            if own[0] == queue:
                found[sample.name, tuple(sorted(labels.items()))] = sample.value
    return found


def stats(qmp, queue=0, **filters):
    results = qmp.command("query-stats", target="virtqueue", **filters)
    return {s["name"]: s["value"] for r in results if r["queue"] == queue for s in r["stats"]}


def test_schemas_name_all_that_there_is(host):
    with host.qmp() as qmp, Front(host.socket("disk0"), queues=2) as front:
        Blk(front).read(0, 512)
        schema, = qmp.command("query-stats-schemas")
        assert (schema["provider"], schema["target"]) == ("virtio", "virtqueue")
        assert qmp.command("query-stats-schemas", provider="virtio") == [schema]
        names = [value["name"] for value in schema["stats"]]
        assert len(set(names)) == len(names)
        assert set(stats(qmp)) <= set(names)
        kinds = {v["name"]: (v["type"], v.get("unit"), v["exponent"]) for v in schema["stats"]}
        assert kinds["kicks"] == ("cumulative", None, 0)
        assert kinds["bytes-read"] == ("cumulative", "bytes", 0)
        assert kinds["in-flight"] == ("instant", None, 0)
        assert kinds["service-time"] == ("log2-histogram", "seconds", -9)


def test_numbers_are_those_of_the_requests(host):
    with host.qmp() as qmp, Front(host.socket("disk0"), queues=2) as front:
        blk = Blk(front)
        for sector in range(10):
            blk.read(sector, 512)
        assert blk.do(BLK_T_IN, 1 << 40, length=512)[0] == BLK_S_IOERR
        wait_until(lambda: stats(qmp)["completed"] == 11, "the last one to be counted")
        found = stats(qmp)
        assert (found["popped"], found["in-flight"]) == (11, 0)
        assert found["bytes-read"] == 11 * 16
        assert found["bytes-written"] == 10 * 513
        assert found["descriptors"] == 33
        assert found["errors-request"] == 1 and found["errors-ring"] == 0
        assert 1 <= found["kicks"] <= 11 and found["calls"] == 11
        assert sum(found["service-time"]) == 11 and len(found["service-time"]) == 41
        now = time.monotonic_ns()
        assert 0 < found["last-kick"] <= found["last-pop"] <= found["last-complete"] <= \
            found["last-call"] <= now
        other = stats(qmp, queue=1)
        assert other["completed"] == 0 and "last-pop" not in other
        # The text says the same.
        text = samples(get(("127.0.0.1", port(host))))
        name = "ringside_virtqueue_"
        assert text[name + "completed_total", ()] == 11
        assert text[name + "payload_bytes_total", (("direction", "written"),)] == 10 * 513
        assert text[name + "errors_total", (("class", "request"),)] == 1
        assert text[name + "calls_total", (("result", "sent"),)] == 11
        assert text[HISTOGRAM + "_count", ()] == 11
        assert text[HISTOGRAM + "_bucket", (("le", "+Inf"),)] == 11
        assert 0 < text[HISTOGRAM + "_sum", ()] < 3600
        last = text[name + "last_event_time_seconds", (("event", "complete"),)]
        assert abs(last - time.time()) < 3600


def test_filters(host):
    with host.qmp() as qmp:
        only = {"providers": [{"provider": "virtio", "names": ["kicks", "service-time"]}]}
        assert set(stats(qmp, **only)) == {"kicks", "service-time"}
        results = qmp.command("query-stats", target="virtqueue", paths=[DISK0])
        assert [(r["qom-path"], r["queue"]) for r in results] == [(DISK0, 0), (DISK0, 1)]
        assert all(r["provider"] == "virtio" for r in results)
        assert qmp.command("query-stats", target="virtqueue", providers=[]) == []
        assert qmp.command("query-stats", target="virtqueue", paths=[]) == []
        for wrong in ({"target": "vm"}, {"target": "virtqueue", "paths": ["nobody"]}, {},
                      {"target": "virtqueue", "providers": [{"provider": "kvm"}]},
                      {"target": "virtqueue", "providers": [{"provider": "virtio",
                                                             "names": ["nothing"]}]}):
            qmp.error("query-stats", **wrong)


def test_a_unix_socket(tmp_path):
    path = tmp_path / "m.sock"
    with serve(tmp_path, DISK, arguments=["--metrics", f"unix:{path}"]):
        assert samples(get(str(path), socket.AF_UNIX))
    assert not path.exists()


def test_a_relayed_queue_has_what_memory_tells(tmp_path):
    with serve(tmp_path, DISK) as back:
        with relay(tmp_path, "id=r0,type=virtio-blk", connect=back.socket("disk0"),
                   arguments=["--metrics", "127.0.0.1:0"]) as host:
            with host.qmp() as qmp, Front(host.socket("r0")) as front:
                Blk(front).read(0, 512)
                assert stats(qmp) == {"in-flight": 0}
                text = samples(get(("127.0.0.1", port(host))))
                assert text == {("ringside_virtqueue_in_flight", ()): 0}


REQUESTS = [
    (b"GET / HTTP/1.1\r\n\r\n", 404), (b"GET /metrics/x HTTP/1.1\r\n\r\n", 404),
    (b"GET /metrics?x=1 HTTP/1.1\r\n\r\n", 200), (b"GET /metrics HTTP/1.0\n\n", 200),
    (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
    (b"GET /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 413),
    (b"GET /metrics HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 200),
    (b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
    (b"GET /metrics\r\n\r\n", 400), (b"GET metrics HTTP/1.1\r\n\r\n", 400),
    (b"\r\n\r\n", 400), (b"\0\0\0\0", 400), (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
    (b"GET /metrics HTTP/2\r\n\r\n", 400), (b'{"execute": "quit"}\n\n', 400),
    (b"HEAD /metrics HTTP/1.1\r\n\r\n", 200), (b"x" * 8192, 431),
    (b"GET /metrics HTTP/1.1\r\nA: " + b"a" * 8192, 431),
]


@pytest.mark.parametrize("request_text,code", REQUESTS)
def test_requests(host, request_text, code):
    address = "127.0.0.1", port(host)
    head, _, body = http(address, request_text).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % code)
    if request_text.startswith(b"HEAD"):
        assert not body
    assert samples(get(address))


def test_clients_that_hang_are_ended(host):
    """As many as there is room for, who say nothing: the next one is served all the same."""
    address = "127.0.0.1", port(host)
    silent = [socket.create_connection(address) for _ in range(20)]
    for sock in silent[:8]:
        sock.sendall(b"GET /met")
    for sock in silent[8:]:
        sock.close()
    assert samples(get(address))
    with host.qmp() as qmp:
        qmp.command("query-status")
    for sock in silent[:8]:
        sock.close()


@pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1:99999", "unix:", "unix:/no/such/x"])
def test_wrong_addresses(address):
    _, told = tool("serve", "--metrics", address, "--device", "virtio-rng,id=r0,listen=/no/where",
                   status=1)
    assert told
