# SPDX-License-Identifier: BSD-3-Clause
"""The tree's rules, each a function from a tree to sentences about what breaks it.

A tree is a checkout's folder; its files are what git would commit, or everything outside of build*/
where there is no git. Generated code is never among them.
"""
import fnmatch
import pathlib
import re
import shutil
import subprocess

FILE_LINES = 600
FUNCTION_LINES = 60
COLUMNS = 100
CLASS_CALLBACKS = 8

# (rule, file or file:function) -> why it may. A pattern of fnmatch; one that covers nothing fails.
EXCEPTIONS = {
    ("headers", "src/bin/main.c"): "the program's entry, which nobody calls",
    ("headers", "src/describe/*.c"): "a type's one const table, declared with its kin in types.h",
    ("headers", "src/virtio/packed.c"): "one of the ring formats behind vq.h, in vq_internal.h",
    ("headers", "src/virtio/split.c"): "one of the ring formats behind vq.h, in vq_internal.h",
    ("places", "tests/style/*.py"): "names what it forbids",
    ("marks", "tests/style/*.py"): "names what it forbids",
}

# Rooms above the table of src/meson.build, and where quoted includes may lead from outside of src/.
TOP_ROOM = "bin"


class Tree:
    """A checkout."""

    def __init__(self, root, exceptions=None):
        self.root = pathlib.Path(root)
        self.exceptions = EXCEPTIONS if exceptions is None else exceptions
        self.used = set()
        self._texts = {}
        run = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others",
                              "--exclude-standard"], capture_output=True)
        if run.returncode == 0 and (self.root / ".git").exists():
            names = [n for n in run.stdout.decode().split("\0") if n]
        else:
            names = [str(p.relative_to(root)) for p in self.root.rglob("*") if p.is_file()]
        ours = re.compile(r"(?!build[^/]*/|\.git/|.*__pycache__/)")
        self.files = sorted(n for n in names if ours.match(n) and (self.root / n).is_file())

    def text(self, name):
        """A file's text; None for what is not text."""
        if name not in self._texts:
            try:
                self._texts[name] = (self.root / name).read_text()
            except UnicodeDecodeError:
                self._texts[name] = None
        return self._texts[name]

    def lines(self, name):
        return (self.text(name) or "").splitlines()

    def match(self, *patterns):
        return [f for f in self.files if any(fnmatch.fnmatch(f, p) for p in patterns)]

    def c_files(self):
        return self.match("src/*.[ch]", "qapi/*.[ch]", "tests/*.[ch]")

    def sources(self):
        """Everything that somebody wrote as code, scripts without a suffix too."""
        named = self.match("*.[ch]", "*.py", "*.sh", "*meson.build", "meson_options.txt",
                           "Makefile", "qapi/*.json")
        scripts = [f for f in self.files if f not in named and "." not in pathlib.Path(f).name
                   and self.lines(f)[:1] and self.lines(f)[0].startswith("#!")]
        return named + scripts

    def excepted(self, rule, name):
        for key in self.exceptions:
            if key[0] == rule and fnmatch.fnmatch(name, key[1]):
                self.used.add(key)
                return True
        return False


def room_table(tree):
    """src/meson.build's table: a room and the set of those that it may use."""
    text = re.sub(r"#.*", "", tree.text("src/meson.build") or "")
    table = re.search(r"^rooms = \[(.*?)^\]", text, re.M | re.S)
    if not table:
        return {}
    rows = re.findall(r"\[\s*'(\w+)'\s*,\s*\[([^\]]*)\]", table[1])
    return {name: set(re.findall(r"'(\w+)'", allowed)) for name, allowed in rows}


def room_of(name):
    parts = name.split("/")
    return parts[1] if parts[0] == "src" else parts[0]


def includes(tree):
    """A quoted include names a room, and one that the includer's row has."""
    table = room_table(tree)
    if not table:
        yield "src/meson.build: no table of rooms found"
        return
    for name in tree.c_files():
        room = room_of(name)
        for number, line in enumerate(tree.lines(name), 1):
            match = re.match(r'\s*#\s*include\s*"([^"]*)"', line)
            if not match:
                continue
            target = match[1].split("/")[0]
            where = f"{name}:{number}"
            if room == "tests" and f"{name.rpartition('/')[0]}/{match[1]}" in tree.files:
                continue
            if "/" not in match[1] or target not in {*table, TOP_ROOM, "tests"}:
                yield f'{where}: include "{match[1]}" does not name a room'
            elif room in table and target != room and target not in table[room]:
                yield f"{where}: {room} may not include {target}, only {sorted(table[room])}"
            elif room != "tests" and target == "tests":
                yield f"{where}: the product includes a test"


def headers(tree):
    """src/ROOM/x.c has an x.h; a part x_y.c of a module x may have x.h or x_internal.h instead."""
    for name in tree.match("src/*/*.c"):
        stem = name[:-2]
        folder, _, base = stem.rpartition("/")
        words = base.split("_")
        own = [f"{folder}/{'_'.join(words[:n])}{suffix}.h" for n in range(len(words), 0, -1)
               for suffix in ("", "_internal", "_int")]
        if not any(h in tree.files for h in own) and not tree.excepted("headers", name):
            yield f"{name}: no header {stem}.h"


def file_lines(tree):
    """A file has a bound."""
    for name in tree.sources():
        count = len(tree.lines(name))
        if count > FILE_LINES and not tree.excepted("file_lines", name):
            yield f"{name}: {count} lines, {FILE_LINES} at most"


def functions(tree, name):
    """(name, first line, lines between the braces) of each function of a kernel-style C file."""
    start = None
    head = []
    for number, line in enumerate(tree.lines(name), 1):
        if start is not None:
            if line.startswith("}"):
                yield title, start, number - start - 1
                start, head = None, []
        elif line == "{":
            names = re.findall(r"(\w+)\s*\(", " ".join(head))
            names = [n for n in names if not n.startswith("__attribute")]
            start, title = number, names[0] if names else "?"
        elif re.match(r"\S", line) and not line.startswith(("#", "/*", " *", "}")):
            head = [line] if re.match(r"[\w*]", line) and not head[-1:] else [*head, line]
            if line.rstrip().endswith((";", "}", "*/")):
                head = []
        elif line.strip() == "":
            head = []
        else:
            head.append(line)


def function_lines(tree):
    """A function has a bound."""
    for name in tree.c_files():
        for title, start, count in functions(tree, name):
            if count > FUNCTION_LINES and not tree.excepted("function_lines", f"{name}:{title}"):
                yield f"{name}:{start}: {title} has {count} lines, {FUNCTION_LINES} at most"


def columns(tree):
    """Lines have a bound; a tab goes to the next multiple of eight."""
    for name in tree.sources():
        for number, line in enumerate(tree.lines(name), 1):
            width = len(line.expandtabs(8))
            if width > COLUMNS and not tree.excepted("columns", name):
                yield f"{name}:{number}: {width} columns, {COLUMNS} at most"


def marks(tree):
    """Nothing is left for later in the code."""
    for name in tree.sources():
        for number, line in enumerate(tree.lines(name), 1):
            if re.search(r"\b(FIXME|TODO|XXX)\b", line) and not tree.excepted("marks", name):
                yield f"{name}:{number}: {line.strip()[:60]}"


def licences(tree):
    """Every source says its licence in its first three lines."""
    for name in tree.sources():
        head = "\n".join(tree.lines(name)[:3])
        if tree.text(name) and "SPDX-License-Identifier: BSD-3-Clause" not in head:
            yield f"{name}: no SPDX line on top"


def callbacks(tree):
    """A device class stays small."""
    name = "src/virtio/vdev.h"
    text = re.sub(r"/\*.*?\*/", "", tree.text(name) or "", flags=re.S) if name in tree.files else ""
    body = re.search(r"^struct vdev_class \{(.*?)^\};", text, re.M | re.S)
    if not body:
        yield f"{name}: struct vdev_class not found"
        return
    found = re.findall(r"\(\s*\*\s*(?:const\s+)?(\w+)\s*\)\s*\(", body[1])
    if len(found) > CLASS_CALLBACKS:
        yield f"{name}: {len(found)} callbacks, {CLASS_CALLBACKS} at most: {', '.join(found)}"


# Somebody's home, and any address on the net: what is downloaded comes by a package's name.
FORBIDDEN_PLACES = re.compile(r"(?<![\w.$})])/(?:root|home/\w+)(?:/|\b(?!-))|\b(?:https?|ftp)://")


def places(tree):
    """Nothing names a folder of one machine, the checkout's own among them, or an address."""
    own = str(pathlib.Path(__file__).resolve().parents[2])
    for name in tree.files:
        for number, line in enumerate(tree.lines(name), 1):
            match = FORBIDDEN_PLACES.search(line)
            found = match[0] if match else own if own in line else None
            if found and not tree.excepted("places", name):
                yield f"{name}:{number}: names {found!r}"


def registered(tree):
    """Every test is in its meson.build and every source file in its room's."""
    def listed(build):
        return re.sub(r"#.*", "", tree.text(build) or "") if build in tree.files else ""

    unit = listed("tests/unit/meson.build")
    for name in tree.match("tests/unit/test_*.c"):
        stem = pathlib.Path(name).stem.removeprefix("test_")
        if not re.search(rf"\[\s*'{stem}'", unit):
            yield f"{name}: tests/unit/meson.build has no row '{stem}'"
    table = listed("tests/meson.build")
    for name in tree.match("tests/*/test_*.py"):
        if f"'{name.removeprefix('tests/')}'" not in table:
            yield f"{name}: tests/meson.build has no row for it"
    for name in tree.match("src/*/*.c"):
        folder, base = name.rsplit("/", 1)
        if f"'{base}'" not in listed(f"{folder}/meson.build"):
            yield f"{name}: {folder}/meson.build does not list it"


def named(tree):
    """Each test that the page of hazards names is there."""
    page = "docs/hazards.md"
    there = {pathlib.Path(name).stem for name in tree.match("tests/*")}
    for name in tree.match("tests/*"):
        there.update(re.findall(r"^(?:static void| *def) (test_\w+)", tree.text(name) or "", re.M))
    for name in sorted(set(re.findall(r"\b(?:test|fuzz)_\w+", tree.text(page) or ""))) \
            if page in tree.files else ():
        if name not in there:
            yield f"{page}: there is no {name}"


def clang_format():
    """The formatter whose version the tree is formatted with, or None."""
    for program in ("clang-format-14", "clang-format"):
        path = shutil.which(program)
        if path:
            version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            if re.search(r"version 14\.", version):
                return path
    return None


def formatted(tree):
    """clang-format has nothing to change."""
    names = tree.c_files()
    program = clang_format()
    if not names or not program:
        return
    run = subprocess.run([program, "--dry-run", "-Werror", "--style=file", *names], cwd=tree.root,
                         capture_output=True, text=True)
    seen = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", run.stderr, re.M)))
    if run.returncode and not seen:
        yield f"clang-format failed: {run.stderr.strip()[:300]}"
    for name in seen:
        yield f"{name}: run clang-format -i on it"


RULES = [includes, headers, file_lines, function_lines, columns, marks, licences, callbacks, places,
         registered, named, formatted]
