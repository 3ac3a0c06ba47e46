"""See :mod:`docs.generator`."""

import argparse
import sys

from .pages import FOLDER, generate, stale, write

parser = argparse.ArgumentParser(prog="python -m docs.generator", description="write docs/catalogue/")
parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if something would be written")
options = parser.parse_args()
files = generate()
changed = stale(files)
if not options.check:
    write(files, changed)
for name in changed:
    print(f"{'would write' if options.check else 'wrote'} {name if name in files else name + ' (removed)'}")
print(f"{len(files)} files in {FOLDER}, {len(changed)} of them {'stale' if options.check else 'written'}")
sys.exit(bool(options.check and changed))
