"""The skipped tests of a meson testlog.json, with the reason each printed."""
import json
import sys

for line in open(sys.argv[1], encoding='utf-8'):
    test = json.loads(line)
    if test['result'] == 'SKIP':
        said = (test.get('stdout') or test.get('stderr') or '').strip()
        reason = said.splitlines()[-1] if said else 'no reason printed'
        print(f'  {test["name"]}: {reason.removeprefix("skipped: ")}')
