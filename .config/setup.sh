#!/usr/bin/env bash
# Installs what is missing: `setup.sh run` what building and running need, `setup.sh test` what the tests need as well.
# Debian and Ubuntu by apt; on other systems it says what to install. Repeating it does nothing.
set -eu -o pipefail

node_min=20.19.0
rust_min=1.95.0
python_min=3.11

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

toolchains() {
  command -v cargo >/dev/null || fail "cargo is missing. Install the Rust toolchain with rustup (https://rustup.rs), then run this again."
  command -v node >/dev/null || fail "node is missing. Install Node.js $node_min or newer (https://nodejs.org), then run this again."
  command -v npm >/dev/null || fail "npm is missing. It comes with Node.js (https://nodejs.org); some systems pack it apart."
  local have; have=$(node --version); have=${have#v}
  at_least "$node_min" "$have" || fail "Node.js $have is too old: $node_min or newer is needed (https://nodejs.org)."
  have=$(rustc --version | cut -d ' ' -f 2)
  at_least "$rust_min" "$have" || fail "Rust $have is too old: $rust_min or newer is needed; 'rustup update' brings it."
}

# What the tests need of the toolchains beyond building.
test_toolchains() {
  local tool
  for tool in clippy fmt; do
    cargo "$tool" --version >/dev/null 2>&1 || fail "cargo $tool is missing; 'rustup component add clippy rustfmt' brings it."
  done
  local have; have=$(python3 -c 'import platform; print(platform.python_version())')
  at_least "$python_min" "$have" || fail "Python $have is too old for the tests: $python_min or newer is needed."
}

at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

run_packages=(build-essential pkg-config curl libwebkit2gtk-4.1-dev)
test_packages=(xvfb webkit2gtk-driver dbus imagemagick fonts-noto-core python3 python3-venv python3-xlib)

# Chromium is a Debian package; on Ubuntu the package of that name is only a pointer to a snap, so there a browser must be
# brought by hand. The same places as in tests/e2e/playwright.config.ts.
browser_missing() { ! [ -x /usr/bin/chromium ] && ! [ -x /usr/bin/google-chrome ] && ! [ -x /snap/bin/chromium ]; }
on_ubuntu() { grep -qx 'ID=ubuntu' /etc/os-release 2>/dev/null; }

apt_missing() {
  local package
  for package in "$@"; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || printf '%s\n' "$package"
  done
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "root rights are needed for: $*"
  fi
}

system_packages() {
  local wanted=("${run_packages[@]}")
  if [ "$1" = test ]; then
    wanted+=("${test_packages[@]}")
    if browser_missing; then
      if on_ubuntu; then fail "the tests need a browser: install Chromium ('snap install chromium') or Google Chrome, then run this again."; fi
      wanted+=(chromium)
    fi
  fi
  if ! command -v apt-get >/dev/null; then
    printf 'setup: this is no Debian or Ubuntu. Make sure that the equivalents of these are installed:\n  %s\n' "${wanted[*]}" >&2
    return
  fi
  local missing; mapfile -t missing < <(apt_missing "${wanted[@]}")
  [ "${#missing[@]}" -gt 0 ] || return 0
  printf 'setup: installing %s\n' "${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

case "${1-}" in
  run) system_packages run; toolchains ;;
  test) system_packages test; toolchains; test_toolchains ;;
  *) fail "usage: setup.sh run|test" ;;
esac
