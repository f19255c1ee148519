# SPDX-License-Identifier: BSD-3-Clause
"""The human monitor: a client of its socket, and the layouts of QEMU's five `info` commands.

    with Hmp(path) as hmp: hmp.run("info virtio")       # the answer's lines

A layout makes of a QMP reply what the monitor prints for it, so that one check serves QEMU's
monitor and ours.
"""
import socket
import time

from lib.process import PATIENCE, Timeout, wait_until

PROMPT = b"(ringside) "

STATUS = ("device_id vhost_started bus_name broken disabled disable_legacy_check started "
          "use_started start_on_kick use_guest_notifier_mask vm_running "
          "num_vqs queue_sel isr").split()
VHOST = ("nvqs vq_index max_queues n_mem_sections n_tmp_sections backend_cap log_enabled "
         "log_size").split()


class Hmp:
    """A session on the socket of --monitor."""

    def __init__(self, path, timeout=PATIENCE):
        self.timeout = timeout
        self._received = b""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(str(path))
        self.greeting = self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def answer(self):
        """Everything up to the next prompt."""
        end = time.monotonic() + self.timeout
        while PROMPT not in self._received:
            if time.monotonic() > end:
                raise Timeout(f"no prompt: {self._received[-200:]!r}")
            more = self.sock.recv(65536)
            assert more, f"closed after {self._received[-200:]!r}"
            self._received += more
        text, _, self._received = self._received.partition(PROMPT)
        return text.decode(errors="replace")

    def run(self, line):
        self.send(line.encode() + b"\n")
        return lines(self.answer())


def lines(text):
    """Of an answer; each ends in CR LF."""
    assert text == "" or text.endswith("\r\n"), text
    assert text.count("\n") == text.count("\r") == text.count("\r\n"), text
    return text.split("\r\n")[:-1]


def hmp(qmp, line):
    """Through human-monitor-command."""
    return lines(qmp.command("human-monitor-command", command_line=line))


def both(qmp, path, what, **arguments):
    """Of one moment: QMP's reply to x-query-virtio-WHAT, the lines of info virtio-WHAT."""
    line = " ".join([f"info virtio-{what} {path}", *map(str, arguments.values())])
    found = []

    def same():
        before = qmp.command(f"x-query-virtio-{what}", path=path, **arguments)
        found[:] = before, hmp(qmp, line)
        return before == qmp.command(f"x-query-virtio-{what}", path=path, **arguments)
    wait_until(same, "a moment in which nothing moves")
    return found


def _value(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rows(indent, width, pairs):
    return [" " * indent + (label + ":").ljust(width) + value for label, value in pairs]


def _names(names):
    return [f"\t{n}{',' if i + 1 < len(names) else ''}" for i, n in enumerate(names)] or [""]


def _features(title, features):
    found = [title + ":", *_names(features["transports"])]
    if features["dev-features"]:
        found += _names(features["dev-features"])
    if "unknown-dev-features" in features:
        found.append(f"  unknown-features(0x{features['unknown-dev-features']:016x})")
    return found


def _address(number):
    return f"0x{number:016x}"


LAYOUTS = {}


def check(qmp, path, what, no_bus="(none)", **arguments):
    """What the monitor prints of a device is its QMP reply in QEMU's layout; returns the reply."""
    reply, printed = both(qmp, path, what, **arguments)
    more = {"no_bus": no_bus} if what == "status" else {}
    assert printed == LAYOUTS[what](path, reply, **more)
    return reply


def virtio(reply):
    return [f"{d['path']} [{d['name']}]" for d in reply] or ["No VirtIO devices"]


def status(path, reply, no_bus):
    """no_bus: what stands for a bus that is none."""
    members = {**reply, "bus-name": reply["bus-name"] or no_bus}
    found = [path + ":"]
    found += _rows(2, 25, [("device_name", reply["name"] + " " +
                            ("(vhost)" if reply["vhost-started"] else ""))])
    found += _rows(2, 25, [(m, _value(members[m.replace("_", "-")])) for m in STATUS])
    found += _rows(2, 25, [("endianness", reply["device-endian"])])
    found += ["  status:", *_names(reply["status"]["statuses"])]
    if "unknown-statuses" in reply["status"]:
        found.append(f"  unknown-statuses(0x{reply['status']['unknown-statuses']:016x})")
    for who in ("guest", "host", "backend"):
        found += _features(f"  {who.capitalize()} features", reply[f"{who}-features"])
    if "vhost-dev" not in reply:
        return found
    vhost = reply["vhost-dev"]
    found += ["  VHost:", *_rows(4, 16, [(m, _value(vhost[m.replace("_", "-")])) for m in VHOST])]
    for title, member in (("Features", "features"), ("Acked features", "acked-features"),
                          ("Backend features", "backend-features")):
        found += _features("    " + title, vhost[member])
    found += ["    Protocol features:", *_names(vhost["protocol-features"]["protocols"])]
    if "unknown-protocols" in vhost["protocol-features"]:
        found.append("  unknown-protocols(0x%016x)" %
                     vhost["protocol-features"]["unknown-protocols"])
    return found


def queue_status(path, reply):
    members = [m for m in ("queue-index", "inuse", "used-idx", "signalled-used",
                           "signalled-used-valid", "last-avail-idx", "shadow-avail-idx")
               if m in reply]
    found = [path + ":", *_rows(2, 22, [("device_name", reply["name"])])]
    found += _rows(2, 22, [(m.replace("-", "_"), _value(reply[m])) for m in members])
    found.append("  VRing:")
    found += _rows(4, 14, [(m.replace("-", "_"), _value(reply["vring-" + m]))
                           for m in ("num", "num-default", "align")])
    return found + _rows(4, 14, [(m, _address(reply["vring-" + m]))
                                 for m in ("desc", "avail", "used")])


def vhost_queue_status(path, reply):
    found = [path + ":", *_rows(2, 22, [("device_name", reply["name"] + " (vhost)"),
                                        ("kick", _value(reply["kick"])),
                                        ("call", _value(reply["call"]))])]
    found += ["  VRing:", *_rows(4, 13, [("num", _value(reply["num"]))])]
    for area in ("desc", "avail", "used"):
        found += _rows(4, 13, [(area, _address(reply[area])),
                               (area + "_phys", _address(reply[area + "-phys"])),
                               (area + "_size", _value(reply[area + "-size"]))])
    return found


def _descriptor(desc):
    flags = f" ({', '.join(desc['flags'])})" if desc["flags"] else ""
    return f"        addr 0x{desc['addr']:x} len {desc['len']}{flags}"


def queue_element(path, reply):
    found = [path + ":", f"  device_name: {reply['name']}", f"  index:   {reply['index']}",
             "  desc:", "    descs:"]
    found += ",\n".join(map(_descriptor, reply["descs"])).split("\n")
    avail, used = reply["avail"], reply["used"]
    return found + ["  avail:", *_rows(4, 7, [(m, _value(avail[m])) for m in ("flags", "idx",
                                                                              "ring")]),
                    "  used:", *_rows(4, 7, [(m, _value(used[m])) for m in ("flags", "idx")])]


LAYOUTS.update({"status": status, "queue-status": queue_status, "queue-element": queue_element,
                "vhost-queue-status": vhost_queue_status})
