# SPDX-License-Identifier: BSD-3-Clause
"""Compares two replies by structure: members, JSON types, identifiers and their texts, order.

    differences(theirs, ours, "x-query-virtio-status", exact={"isr"}) -> [(where, what)]

A number's value counts only where its member is in `exact`; strings and booleans always count.
"""

KINDS = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number",
         float: "fraction", type(None): "null"}


def kind(value):
    """The JSON type of a value."""
    return KINDS[type(value)]


def _labels(values):
    """Whether a list holds `IDENTIFIER: text` strings, or nothing."""
    return all(isinstance(v, str) and ": " in v for v in values)


def _compare_labels(theirs, ours, where):
    texts = [dict(v.split(": ", 1) for v in values) for values in (theirs, ours)]
    for name in texts[0]:
        if name not in texts[1]:
            yield where, f"only QEMU has {name}"
        elif texts[0][name] != texts[1][name]:
            yield where, f"the text of {name}"
    for name in texts[1]:
        if name not in texts[0]:
            yield where, f"only ours has {name}"
    shared = [[name for name in t if name in texts[0] and name in texts[1]] for t in texts]
    if shared[0] != shared[1]:
        yield where, "the order"


def differences(theirs, ours, where, exact=()):
    """(where, what) of everything that differs."""
    if kind(theirs) != kind(ours):
        yield where, f"{kind(theirs)} in QEMU, {kind(ours)} in ours"
    elif isinstance(theirs, dict):
        for name in theirs.keys() | ours.keys():
            if name not in ours:
                yield f"{where} {name}", "only QEMU has it"
            elif name not in theirs:
                yield f"{where} {name}", "only ours has it"
            else:
                yield from differences(theirs[name], ours[name], f"{where} {name}", exact)
    elif isinstance(theirs, list):
        if _labels(theirs) and _labels(ours):
            yield from _compare_labels(theirs, ours, where)
        elif len(theirs) != len(ours):
            yield where, f"{len(theirs)} entries in QEMU, {len(ours)} in ours"
        else:
            plain = [list(differences(t, o, where, exact)) for t, o in zip(theirs, ours)]
            turned = [list(differences(t, o, where, exact)) for t, o in zip(theirs[::-1], ours)]
            if any(plain) and not any(turned):
                yield where, "in reverse order in QEMU"
            else:
                for found in plain:
                    yield from found
    elif theirs != ours and (not isinstance(theirs, int) or isinstance(theirs, bool)
                             or where.rpartition(" ")[2] in exact):
        yield where, f"{theirs!r} in QEMU, {ours!r} in ours"


# The reply of query-qmp-schema
def _structure(entries, name, inside):
    """A type without its masked name."""
    if name in inside:
        return "recursive"
    entry = entries[name]
    if entry["meta-type"] == "builtin":
        return entry["json-type"]
    if entry["meta-type"] == "array":
        return [_structure(entries, entry["element-type"], inside)]
    if entry["meta-type"] == "object":
        assert "variants" not in entry, f"{entry}: no union is expected here"
        return {"members": {m["name"]: {"type": _structure(entries, m["type"], {*inside, name}),
                                        "optional": "default" in m,
                                        "features": m.get("features", [])}
                            for m in entry["members"]},
                "features": entry.get("features", [])}
    assert entry["meta-type"] == "enum", entry
    return {"enum": sorted(m["name"] for m in entry["members"])}


def command_structure(schema, command):
    """A command of query-qmp-schema's reply with all types in their places."""
    entries = {e["name"]: e for e in schema}
    entry = entries[command]
    assert entry["meta-type"] == "command", entry
    return {"arguments": _structure(entries, entry["arg-type"], set()),
            "returns": _structure(entries, entry["ret-type"], set()),
            "allow-oob": entry.get("allow-oob", False), "features": entry.get("features", [])}
