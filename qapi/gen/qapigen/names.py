# SPDX-License-Identifier: BSD-3-Clause
"""Schema names to C names."""
import re

RESERVED = set('''
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while asm typeof bool true false linux unix errno
'''.split())


def c_name(name):
    name = re.sub(r'[^A-Za-z0-9_]', '_', name)
    return f'q_{name}' if name in RESERVED or name[0].isdigit() else name


def snake(name):
    """CamelCase to snake_case: JSONType is json_type."""
    name = re.sub(r'([A-Z]+)([A-Z][a-z])', r'\1_\2', name)
    return re.sub(r'([a-z0-9])([A-Z])', r'\1_\2', name).lower()


def constant(enum, value):
    prefix = enum.prefix or snake(enum.name).upper()
    return prefix + '_' + re.sub(r'[^A-Za-z0-9]', '_', value).upper()
