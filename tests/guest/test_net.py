# SPDX-License-Identifier: BSD-3-Clause
"""virtio-net with a real driver: user-mode Linux behind libslirp."""
import hashlib
import http.server
import socket
import threading

import pytest

from lib.guest import Guest, images
from lib.guest_uml import require_uml
from lib.process import PATIENCE, wait_until
from lib.ringside import run_uml

PATH = "/machine/peripheral/net0/virtio-backend"
DHCP = "udhcpc -i eth0 -n -q -s /bin/dhcp-apply"
HOST = "10.0.2.2"
MIB = 1 << 20


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Web:
    """A web server of the host's, on the loopback address: GET of one body, PUT of anything."""

    def __init__(self, body):
        outer = self
        self.puts = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):  # pylint: disable=invalid-name
                size = int(self.headers["Content-Length"])
                outer.puts[self.path] = self.rfile.read(size)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format, *args):  # pylint: disable=redefined-builtin
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(PATIENCE)


def pattern(size):
    """Text: busybox's wget posts no zeroes."""
    return hashlib.shake_128(b"net").hexdigest(size // 2).encode()


@pytest.fixture
def machine(tmp_path):
    """(host, guest, port): a guest with an address; our port leads to its port 80."""
    require_uml()
    port = free_port()
    with run_uml(tmp_path, f"virtio-net,id=net0,netdev=user,hostfwd=tcp::{port}-:80",
                 "virtio-rng,id=rng0", initrd=images("uml") / "uml.initrd") as host:
        guest = Guest(host.process).wait_ready()
        guest.check(DHCP)
        yield host, guest, port


def queue(host, index):
    return host.qmp().command("x-query-virtio-queue-status", path=PATH, queue=index)


def status(host):
    return host.qmp().command("x-query-virtio-status", path=PATH)["status"]


def fetch(port):
    """What the guest's web server has."""
    data = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        sock.sendall(b"GET /file HTTP/1.0\r\n\r\n")
        while piece := sock.recv(65536):
            data += piece
    return data.partition(b"\r\n\r\n")[2]


def test_address_and_ping(machine):
    host, guest, _ = machine
    assert "inet 10.0.2.15/24" in guest.check("ip addr show eth0")
    assert "10.0.2.3" in guest.check("cat /etc/resolv.conf")
    assert "3 packets received" in guest.check(f"ping -c 3 {HOST}")
    # What the monitor shows is what went through.
    assert queue(host, 0)["used-idx"] >= 4 and queue(host, 1)["used-idx"] >= 4
    assert queue(host, 2)["last-avail-idx"] > 0, "the driver has a control queue"
    assert queue(host, 0)["name"] == "virtio-net"


def test_transfers(machine):
    """HTTP both ways, on the host's server and on the guest's."""
    host, guest, port = machine
    body = pattern(4 * MIB)
    with Web(body) as web:
        out = guest.check(f"mkdir -p /tmp/www; wget -q -O /tmp/www/file {HOST}:{web.port}/;"
                          "md5sum </tmp/www/file")
        assert out.split()[0] == hashlib.md5(body).hexdigest()
        guest.check("ip link set lo up; httpd -h /tmp/www")
        assert fetch(port) == body
        guest.check(f"wget -q -O - --post-file=/tmp/www/file {HOST}:{web.port}/up")
        wait_until(lambda: web.puts.get("/up") == body, "what the guest posted")


def test_commands(machine):
    """What Linux says on the control queue is answered, and packets are judged by it."""
    host, guest, _ = machine
    before = queue(host, 2)["used-idx"]
    guest.check("ip link set eth0 promisc on; ip link set eth0 promisc off;"
                "ifconfig eth0 allmulti; ifconfig eth0 -allmulti")
    guest.check("ip link set eth0 down; ip link set eth0 address 52:54:00:77:88:99;"
                "ip link set eth0 up")
    assert queue(host, 2)["used-idx"] > before
    assert queue(host, 2)["inuse"] == 0
    guest.check(DHCP)
    assert "2 packets received" in guest.check(f"ping -c 2 {HOST}")
    assert "52:54:00:77:88:99" in guest.check("ip link show eth0")
    assert guest.run("dmesg | grep -i 'failed to set'")[1] == ""


def test_set_link(machine):
    """The guest sees its cable pulled and plugged in again, and nothing gets through meanwhile."""
    host, guest, _ = machine
    carrier = "/sys/class/net/eth0/carrier"

    def wait_for(value):
        guest.check(f"for i in $(seq 200); do [ $(cat {carrier}) = {value} ] && exit 0;"
                    " sleep 0.1; done; exit 1")

    assert guest.check(f"cat {carrier}") == "1"
    with host.qmp() as qmp:
        qmp.command("set_link", name="net0", up=False)
        wait_for(0)
        assert guest.run(f"ping -c 1 -W 1 {HOST}")[0] != 0
        # By its path too.
        qmp.command("set_link", name=PATH, up=True)
    wait_for(1)
    assert "2 packets received" in guest.check(f"ping -c 2 {HOST}")


def test_driver_unbound_and_bound(machine):
    host, guest, _ = machine
    guest.check("""
        for dev in /sys/bus/virtio/drivers/virtio_net/virtio*; do name=$(basename $dev); done
        for i in 1 2 3; do
            echo $name >/sys/bus/virtio/drivers/virtio_net/unbind
            [ ! -e /sys/class/net/eth0 ] || exit 1
            echo $name >/sys/bus/virtio/drivers/virtio_net/bind
            [ -e /sys/class/net/eth0 ] || exit 2
        done""")
    guest.check(DHCP)
    assert "2 packets received" in guest.check(f"ping -c 2 {HOST}")
    assert not any("broken" in line for line in host.process.text.splitlines())


def test_reboot(machine):
    host, guest, _ = machine
    guest.start("reboot -f")
    guest.wait_ready()
    guest.check(DHCP)
    assert "1 packets received" in guest.check(f"ping -c 1 {HOST}")


def test_stop_and_cont_under_load(machine):
    """A stop in the midst of a transfer loses nothing that TCP does not send again."""
    host, guest, port = machine
    body = pattern(8 * MIB)
    qmp = host.qmp()
    with Web(body) as web:
        number = guest.start(f"wget -q -O - {HOST}:{web.port}/ | md5sum")
        for _ in range(5):
            qmp.command("stop")
            assert queue(host, 0)["inuse"] == 0
            qmp.command("cont")
        # Our own log is on the same terminal.
        code, out = guest.finish(number)
        assert code == 0 and hashlib.md5(body).hexdigest() in out


def test_device_del_under_load(machine):
    """The card goes in the midst of a transfer; the guest and its other device live on."""
    host, guest, port = machine
    qmp = host.qmp()
    guest.check("mkdir -p /tmp/www; dd if=/dev/zero of=/tmp/www/file bs=1M count=4 2>/dev/null;"
                "httpd -h /tmp/www")
    seen = threading.Event()

    def load():
        try:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
                sock.settimeout(PATIENCE)
                sock.sendall(b"GET /file HTTP/1.0\r\n\r\n")
                while sock.recv(4096):
                    seen.set()
        except OSError:
            pass
        seen.set()

    thread = threading.Thread(target=load)
    thread.start()
    assert seen.wait(PATIENCE)
    qmp.command("device_del", id="net0")
    qmp.event("DEVICE_DELETED")
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert [d["path"] for d in qmp.command("x-query-virtio")] == \
        ["/machine/peripheral/rng0/virtio-backend"]
    assert guest.check("echo alive") == "alive"


def test_restricted(tmp_path):
    """With restrict=on the guest reaches nobody, and hostfwd still leads in."""
    require_uml()
    port = free_port()
    with run_uml(tmp_path, f"virtio-net,id=net0,restrict=on,hostfwd=tcp::{port}-:80",
                 initrd=images("uml") / "uml.initrd") as host, Web(b"secret") as web:
        guest = Guest(host.process).wait_ready()
        guest.check(DHCP)
        assert guest.run(f"wget -T 2 -q -O - {HOST}:{web.port}/")[0] != 0
        guest.check("mkdir /tmp/www; echo -n inside >/tmp/www/file; httpd -h /tmp/www")
        assert fetch(port) == b"inside"
