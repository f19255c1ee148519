# SPDX-License-Identifier: BSD-3-Clause
"""What a relay shows of a device, held against itself and against what its front-end says.

    all_five(host.qmp(), "r0", range(2))                # how many answers the rings have, each
    with_qemu(host.qmp(), guest.qmp, "r0", range(2))    # asks QEMU only what is harmless there
    with Onlooker(host.qmp(), "r0", range(2)): ...      # the five commands, over and over meanwhile
"""
import threading

from lib.contract import check
from lib.look import flag_names, queue_of, status_of
from lib.process import PATIENCE

# QEMU 7.2 has the names of the protocol before it was reworded.
RENAMED = {"VHOST_USER_PROTOCOL_F_SLAVE_REQ": "VHOST_USER_PROTOCOL_F_BACKEND_REQ",
           "VHOST_USER_PROTOCOL_F_SLAVE_SEND_FD": "VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD"}

# QEMU 7.2 shows these bits as numbers.
UNLABELLED = {"VIRTIO_F_RING_RESET", "VHOST_USER_PROTOCOL_F_STATUS"}


def path_of(device):
    return f"/machine/peripheral/{device}/virtio-backend"


def identifiers(texts):
    """Without the words behind them, which are each side's own."""
    names = {text.partition(":")[0] for text in texts}
    return {RENAMED.get(name, name) for name in names}


def vhost_queue(qmp, device, queue):
    return qmp.command("x-query-virtio-vhost-queue-status", path=path_of(device), queue=queue)


def has(status, feature):
    """Whether a transport's or a ring's feature was agreed upon."""
    return feature in identifiers(status["guest-features"]["transports"])


def sizes(num, packed, event_idx):
    """Of descriptors, driver and device area, as a vhost back-end is given them."""
    if packed:
        return 16 * num, 4, 4
    event = 2 if event_idx else 0
    return 16 * num, 4 + 2 * num + event, 4 + 8 * num + event


def _element(qmp, device, queue, packed):
    """Of a packed ring an index has to be given. A ring that goes on may refuse."""
    arguments = {"path": path_of(device), "queue": queue, **({"index": 0} if packed else {})}
    reply = qmp.execute("x-query-virtio-queue-element", arguments)
    if "return" in reply:
        check(reply["return"], "VirtioQueueElement")
    return reply.get("return")


def all_five(qmp, device, queues):
    """The five commands agree with one another, also while requests run; {queue: used-idx}."""
    listed = {d["path"]: d["name"] for d in qmp.command("x-query-virtio")}
    status = status_of(qmp, device)
    check(status, "VirtioStatus")
    assert listed[path_of(device)] == status["name"]
    assert status["vhost-started"] and status["started"] and not status["broken"]
    assert {"DRIVER_OK", "FEATURES_OK"} <= flag_names(status)
    assert status["vhost-dev"]["n-mem-sections"] >= 1
    assert status["num-vqs"] > max(queues)
    packed, used = has(status, "VIRTIO_F_RING_PACKED"), {}
    for number in queues:
        queue, vhost = queue_of(qmp, device, number), vhost_queue(qmp, device, number)
        check(queue, "VirtQueueStatus")
        check(vhost, "VirtVhostQueueStatus")
        assert vhost["num"] == queue["vring-num"] > 0
        for area in ("desc", "avail", "used"):
            assert vhost[f"{area}-phys"] == queue[f"vring-{area}"] and vhost[area], (number, area)
        assert (vhost["desc-size"], vhost["avail-size"], vhost["used-size"]) == \
            sizes(vhost["num"], packed, has(status, "VIRTIO_RING_F_EVENT_IDX"))
        assert vhost["kick"] > 2 and vhost["call"] > 2
        element = _element(qmp, device, number, packed)
        if element:
            assert element["name"] == status["name"] and len(element["descs"]) <= vhost["num"]
        used[number] = queue["used-idx"]
    return used


class Onlooker:
    """Asks all five without a pause as long as the context lasts; then `rounds` says how often."""

    def __init__(self, qmp, device, queues):
        self.ask = lambda: all_five(qmp, device, queues)
        self.rounds, self.problem, self.enough = 0, None, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self.enough.is_set():
                self.ask()
                self.rounds += 1
        except Exception as problem:  # pylint: disable=broad-except
            self.problem = problem

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *exc):
        self.enough.set()
        self.thread.join(PATIENCE)
        if kind is None:
            assert not self.thread.is_alive(), "a query hangs"
            assert self.problem is None, repr(self.problem)
            assert self.rounds


def with_qemu(ours, theirs, device, queues, number=0):
    """Its own queue-status would stop the ring: that one is not asked.

    theirs: QEMU's monitor; number: which of its virtio devices, the newest first.
    """
    path = theirs.command("x-query-virtio")[number]["path"]
    status, shown = theirs.command("x-query-virtio-status", path=path), status_of(ours, device)
    assert status["vhost-started"] and shown["vhost-started"]
    for member in ("name", "device-id", "broken", "started", "device-endian"):
        assert shown[member] == status[member], member
    assert flag_names(shown) == flag_names(status)
    # What QEMU offers its guest is more than the back-end has, and less. What was agreed is one.
    for kind in ("dev-features", "transports"):
        assert identifiers(shown["guest-features"][kind]) - UNLABELLED == \
            identifiers(status["guest-features"][kind]), kind
    mine, its = shown["vhost-dev"], status["vhost-dev"]
    for member in ("nvqs", "vq-index", "n-mem-sections", "log-enabled", "log-size", "max-queues"):
        assert mine[member] == its[member], member
    assert identifiers(mine["protocol-features"]["protocols"]) - UNLABELLED == \
        identifiers(its["protocol-features"]["protocols"])
    for words in ("features", "acked-features"):
        for kind in ("dev-features", "transports"):
            # QEMU adds this bit to what it sends, and not to what it shows.
            extra = {"VHOST_USER_F_PROTOCOL_FEATURES"} & identifiers(mine[words][kind])
            assert identifiers(mine[words][kind]) - UNLABELLED == \
                extra | identifiers(its[words][kind]), words
    for queue in queues:
        one, other = vhost_queue(ours, device, queue), \
            theirs.command("x-query-virtio-vhost-queue-status", path=path, queue=queue)
        for member in ("name", "num", "desc-phys", "avail-phys", "used-phys", "desc-size",
                       "avail-size", "used-size"):
            assert one[member] == other[member], (queue, member)
