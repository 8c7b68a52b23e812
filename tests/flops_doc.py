#!/usr/bin/env python3
"""docs/cg.md names every operator and every FLOPs rule of ir/ops.def, each
operator in the row of its rule."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
rows = {}
for line in (root / "docs/cg.md").read_text().splitlines():
    cells = [c.strip() for c in line.strip("|").split("|")]
    if line.startswith("|") and len(cells) == 4:
        rows[cells[0]] = set(re.findall(r"`([^`]+)`", cells[1]))
bad = 0
rules = set()
pattern = re.compile(r'CG_OP\((\w+), "([^"]+)", (.*)\)$')
for line in (root / "ir/ops.def").read_text().splitlines():
    found = pattern.match(line)
    if not found:
        continue
    rule = found[3].split(",")[4].strip()
    rules.add(rule)
    if found[2] not in rows.get(rule, ()):
        print(f"docs/cg.md: {found[2]} is missing in the row of {rule}")
        bad += 1
for rule in sorted(set(rows) - rules - {"rule", "---"}):
    print(f"docs/cg.md: no operator has the rule {rule}")
    bad += 1
sys.exit(1 if bad else 0)
