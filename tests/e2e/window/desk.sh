#!/usr/bin/env bash
# A desk of its own for one window test: an X server, a session bus, and the driver that opens the program.
# usage: desk.sh PORT SIZE; prints `display :N`, then runs until it is killed.
set -eu
port=$1 size=$2
mkdir -p -m 700 "$XDG_RUNTIME_DIR"
exec 3>"$XDG_RUNTIME_DIR/display"
Xvfb -displayfd 3 -screen 0 "${size}x24" -nolisten tcp -noreset >/dev/null 2>&1 &
x=$!
trap 'kill $x 2>/dev/null || true' EXIT
until [ -s "$XDG_RUNTIME_DIR/display" ]; do kill -0 $x; sleep .02; done
DISPLAY=:$(cat "$XDG_RUNTIME_DIR/display")
export DISPLAY
echo "display $DISPLAY"
dbus-run-session -- WebKitWebDriver --port="$port"
