#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Turns schema files in QAPI's language into C: types, visitors, commands, events, introspection.

Anything in a schema that it does not know is refused with FILE:LINE and the name of the thing.
"""
import argparse
import pathlib
import sys

from qapigen import commands, events, introspect, types
from qapigen.errors import SchemaError
from qapigen.model import Schema
from qapigen.parser import parse_files


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument('--schema', action='append', required=True, metavar='FILE',
                    help='a schema file; given more than once they make one schema')
    ap.add_argument('--output-dir', metavar='DIR',
                    help='where the C files go; without it the schema is only checked')
    args = ap.parse_args()
    try:
        schema = Schema(parse_files(args.schema))
    except SchemaError as e:
        print(e, file=sys.stderr)
        return 1
    if args.output_dir is None:
        return 0
    out = pathlib.Path(args.output_dir)
    out.mkdir(parents=True, exist_ok=True)
    for module in (types, commands, events, introspect):
        for name, text in module.generate(schema):
            (out / name).write_text(text, encoding='ascii')
    return 0


if __name__ == '__main__':
    sys.exit(main())
