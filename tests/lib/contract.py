# SPDX-License-Identifier: BSD-3-Clause
"""The five commands' interface, a row a type, and what checks a reply against it, member for
member and in order. A star marks an optional member.
"""

FEATURES = "VirtioDeviceFeatures"
TYPES = {
    "VirtioInfo": "path:str name:str",
    "VirtioStatus": f"name:str device-id:u16 vhost-started:bool device-endian:str "
                    f"guest-features:{FEATURES} host-features:{FEATURES} "
                    f"backend-features:{FEATURES} num-vqs:int status:VirtioDeviceStatus isr:u8 "
                    f"queue-sel:u16 vm-running:bool broken:bool disabled:bool use-started:bool "
                    f"started:bool start-on-kick:bool disable-legacy-check:bool bus-name:str "
                    f"use-guest-notifier-mask:bool *vhost-dev:VhostStatus",
    "VhostStatus": f"n-mem-sections:int n-tmp-sections:int nvqs:u32 vq-index:int "
                   f"features:{FEATURES} acked-features:{FEATURES} backend-features:{FEATURES} "
                   f"protocol-features:VhostDeviceProtocols max-queues:u64 backend-cap:u64 "
                   f"log-enabled:bool log-size:u64",
    "VirtioDeviceStatus": "statuses:[str] *unknown-statuses:u8",
    "VhostDeviceProtocols": "protocols:[str] *unknown-protocols:u64",
    FEATURES: "transports:[str] *dev-features:[str] *unknown-dev-features:u64",
    "VirtQueueStatus": "name:str queue-index:u16 inuse:u32 vring-num:u32 vring-num-default:u32 "
                       "vring-align:u32 vring-desc:u64 vring-avail:u64 vring-used:u64 "
                       "*last-avail-idx:u16 *shadow-avail-idx:u16 used-idx:u16 "
                       "signalled-used:u16 signalled-used-valid:bool",
    "VirtVhostQueueStatus": "name:str kick:int call:int desc:u64 avail:u64 used:u64 num:int "
                            "desc-phys:u64 desc-size:u32 avail-phys:u64 avail-size:u32 "
                            "used-phys:u64 used-size:u32",
    "VirtioRingDesc": "addr:u64 len:u32 flags:[str]",
    "VirtioRingAvail": "flags:u16 idx:u16 ring:u16",
    "VirtioRingUsed": "flags:u16 idx:u16",
    "VirtioQueueElement": "name:str index:u32 descs:[VirtioRingDesc] avail:VirtioRingAvail "
                          "used:VirtioRingUsed",
}
# Command: arguments, result.
COMMANDS = {
    "x-query-virtio": ("", "[VirtioInfo]"),
    "x-query-virtio-status": ("path:str", "VirtioStatus"),
    "x-query-virtio-queue-status": ("path:str queue:u16", "VirtQueueStatus"),
    "x-query-virtio-vhost-queue-status": ("path:str queue:u16", "VirtVhostQueueStatus"),
    "x-query-virtio-queue-element": ("path:str queue:u16 *index:u16", "VirtioQueueElement"),
}
BITS = {"u8": 8, "u16": 16, "u32": 32, "u64": 64}
JSON = {"str": "string", "bool": "boolean", "int": "int", **{name: "int" for name in BITS}}


def members(text):
    """(name, type, optional?) of a row."""
    for word in text.split():
        name, _, kind = word.partition(":")
        yield name.lstrip("*"), kind, name.startswith("*")


def check(value, kind, where=""):
    """Assert that a value is of a type of the table."""
    if kind.startswith("["):
        assert isinstance(value, list), f"{where}: {value!r}"
        for number, item in enumerate(value):
            check(item, kind[1:-1], f"{where}[{number}]")
    elif kind in BITS:
        assert type(value) is int and 0 <= value < 1 << BITS[kind], f"{where}: {value!r}"
    elif kind == "int":
        assert type(value) is int and -1 << 63 <= value < 1 << 63, f"{where}: {value!r}"
    elif kind in ("str", "bool"):
        assert type(value) is {"str": str, "bool": bool}[kind], f"{where}: {value!r}"
    else:
        assert isinstance(value, dict), f"{where}: {value!r}"
        rows = list(members(TYPES[kind]))
        expected = [name for name, _, optional in rows if not optional or name in value]
        assert list(value) == expected, f"{where}: {list(value)} instead of {expected}"
        for name, inner, _ in rows:
            if name in value:
                check(value[name], inner, f"{where}.{name}")


def structure(kind):
    """A type as lib.shape.command_structure() shows it."""
    if kind.startswith("["):
        return [structure(kind[1:-1])]
    if kind in JSON:
        return JSON[kind]
    return _object(TYPES[kind])


def _object(text):
    return {"members": {name: {"type": structure(inner), "optional": optional, "features": []}
                        for name, inner, optional in members(text)}, "features": []}


def command_structure(command):
    """A command as lib.shape.command_structure() shows it."""
    arguments, result = COMMANDS[command]
    return {"arguments": _object(arguments), "returns": structure(result), "allow-oob": False,
            "features": ["unstable"]}
