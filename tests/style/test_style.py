# SPDX-License-Identifier: BSD-3-Clause
"""The tree keeps its rules, and each rule catches what it is for."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import rules  # noqa: E402

SPDX_C = "/* SPDX-License-Identifier: BSD-3-Clause */\n"
SPDX_SH = "# SPDX-License-Identifier: BSD-3-Clause\n"
ROOMS = SPDX_SH + """rooms = [
  # lowest first
  ['base', [], [threads]],
  ['mem', ['base'], []],
  ['virtio', ['base', 'mem'],
   []],
]
"""
GOOD = {
    "src/meson.build": ROOMS,
    "src/base/meson.build": SPDX_SH + "room_sources += {'base': files('a.c')}\n",
    "src/base/a.c": SPDX_C + '#include "base/a.h"\n#include <stdio.h>\n\nint a(void)\n{\n'
                             "\treturn 1;\n}\n",
    "src/base/a.h": SPDX_C + "int a(void);\n",
    "src/virtio/vdev.h": SPDX_C + '#include "mem/m.h"\n\nstruct vdev_class {\n\tconst char *name;\n'
                                  "\tint (*start)(void);\n};\n",
    "tests/unit/meson.build": SPDX_SH + "unit_tests = [['a', ['base']]]\n",
    "tests/unit/test_a.c": SPDX_C + '#include "base/a.h"\n#include "fixture.h"\n',
    "tests/unit/fixture.h": SPDX_C + "int fixture(void);\n",
    "tests/meson.build": SPDX_SH + "pytest_files = [['p', 'proto/test_p.py', 'proto', 9]]\n",
    "tests/proto/test_p.py": SPDX_SH,
    "tools/thing": "#!/bin/sh\n" + SPDX_SH,
    "README.md": "build/ringside, ./root/x and /usr/bin are fine\n",
}


def long_function(lines):
    return SPDX_C + "static int f(int x,\n\tint y)\n{\n" + "\tx++;\n" * lines + "}\n"


# rule, files that replace or join GOOD's, what the complaint says
BAD = [
    ("includes", {"src/mem/m.c": SPDX_C + '#include "virtio/vdev.h"\n'},
     "mem may not include virtio"),
    ("includes", {"src/mem/m.c": SPDX_C + '#include "m.h"\n'}, "does not name a room"),
    ("includes", {"src/mem/m.c": SPDX_C + '#  include "../base/a.h"\n'}, "does not name a room"),
    ("includes", {"src/base/a.h": SPDX_C + '#include "mem/m.h"\n'}, "base may not include mem"),
    ("includes", {"src/mem/m.c": SPDX_C + '#include "tests/x.h"\n'}, "may not include tests"),
    ("includes", {"src/bin/main.c": SPDX_C + '#include "tests/x.h"\n'}, "includes a test"),
    ("includes", {"src/meson.build": SPDX_SH}, "no table of rooms"),
    ("includes", {"tests/unit/test_a.c": SPDX_C + '#include "gone.h"\n'}, "does not name a room"),
    ("headers", {"src/mem/lonely.c": SPDX_C}, "no header"),
    ("file_lines", {"src/base/a.h": SPDX_C + "\n" * 600}, "601 lines"),
    ("file_lines", {"tools/thing": "#!/bin/sh\n" + SPDX_SH + "\n" * 600}, "602 lines"),
    ("function_lines", {"src/base/a.c": long_function(61)}, "f has 61 lines"),
    ("columns", {"src/base/a.h": SPDX_C + "\t\t/* " + "x" * 81 + "*/\n"}, "102 columns"),
    ("marks", {"src/base/a.h": SPDX_C + "/* FIXME: later */\n"}, "FIXME"),
    ("marks", {"tools/thing": "#!/bin/sh\n" + SPDX_SH + "# TODO later\n"}, "TODO"),
    ("licences", {"src/base/a.h": "int a(void);\n"}, "no SPDX"),
    ("licences", {"tools/thing": "#!/bin/sh\necho\n"}, "no SPDX"),
    ("callbacks", {"src/virtio/vdev.h": SPDX_C + "struct vdev_class {\n"
                   + "".join(f"\tint (*f{n})(int x);\n" for n in range(9)) + "};\n"},
     "9 callbacks"),
    ("callbacks", {"src/virtio/vdev.h": SPDX_C}, "not found"),
    ("places", {"README.md": f"see {pathlib.Path(__file__).resolve().parents[2]} for more\n"},
     "README.md:1: names"),
    ("places", {"tools/thing": "#!/bin/sh\n" + SPDX_SH + "cd /root/x\n"}, "/root"),
    ("places", {"Makefile": "curl https://registry.example/x\n"}, "https://"),
    ("registered", {"tests/unit/test_b.c": SPDX_C}, "no row 'b'"),
    ("registered", {"tests/proto/test_q.py": SPDX_SH}, "no row"),
    ("registered", {"src/base/b.c": SPDX_C}, "does not list it"),
    ("named", {"docs/hazards.md": "test_a, test_p and test_gone\n"}, "there is no test_gone"),
    ("formatted", {"src/base/a.c": SPDX_C + "int a( void ) {\n  return 1; }\n"}, "clang-format"),
]


def tree_of(path, changes):
    files = {**GOOD, ".clang-format": (pathlib.Path(__file__).parents[2] / ".clang-format")
             .read_text(), **changes}
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return rules.Tree(path, exceptions={})


def need_formatter(name):
    if name == "formatted" and not rules.clang_format():
        pytest.skip("clang-format 14 is not installed")


@pytest.fixture(scope="module")
def real_tree(source_root):
    return rules.Tree(source_root)


@pytest.mark.parametrize("rule", [r.__name__ for r in rules.RULES])
def test_tree(real_tree, rule):
    need_formatter(rule)
    problems = list(getattr(rules, rule)(real_tree))
    assert not problems, "\n".join(problems)


def test_exceptions_are_needed(real_tree):
    for rule in rules.RULES:
        if rule.__name__ != "formatted":
            list(rule(real_tree))
    stale = set(real_tree.exceptions) - real_tree.used
    assert not stale, f"these exceptions cover nothing: {sorted(stale)}"


@pytest.mark.parametrize("rule", [r.__name__ for r in rules.RULES])
def test_rule_accepts(tmp_path, rule):
    need_formatter(rule)
    assert not list(getattr(rules, rule)(tree_of(tmp_path, {})))


@pytest.mark.parametrize("rule,changes,complaint", BAD,
                         ids=[f"{r}-{c}" for r, _, c in BAD])
def test_rule_refuses(tmp_path, rule, changes, complaint):
    need_formatter(rule)
    problems = list(getattr(rules, rule)(tree_of(tmp_path, changes)))
    assert len(problems) == 1 and complaint in problems[0], problems


def test_bounds_are_inclusive(tmp_path):
    tree = tree_of(tmp_path, {"src/base/a.c": long_function(60),
                              "src/base/a.h": SPDX_C + "\n" * 599})
    assert not list(rules.function_lines(tree))
    assert not list(rules.file_lines(tree))
