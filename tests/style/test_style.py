# SPDX-License-Identifier: BSD-3-Clause
def test_placeholder(source_root):
    assert (source_root / "LICENSE").exists()
