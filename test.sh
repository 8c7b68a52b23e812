#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test.
#
#   ./test.sh [--full] [--no-install]
#
# --full        also the large Python packages (torch...), to make exports
# --no-install  build and test with what is there
# CI=true       warnings are errors
#
# Safe to run twice. The last line counts: "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "$0")"
. tests/setup.sh

full=false
install=true
for arg in "$@"; do
    case $arg in
        --full) full=true ;;
        --no-install) install=false ;;
        *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
done

if $install; then
    install_packages
    install_python "$full"
fi
build build

say "meson test -C build"
log=build/meson-logs/testlog.json
rm -f "$log"
status=0
meson test -C build --print-errorlogs || status=$?
if [ ! -f "$log" ]; then
    echo "no test ran"
    exit 1
fi
count() { grep -cE "\"result\": \"($1)\"" "$log" || true; }
echo "skipped tests and why:"
python3 tests/skips.py "$log"
echo "$(count 'OK|EXPECTEDFAIL') passed," \
     "$(count 'FAIL|ERROR|TIMEOUT|INTERRUPT|UNEXPECTEDPASS') failed," \
     "$(count 'SKIP|IGNORED') skipped"
exit "$status"
