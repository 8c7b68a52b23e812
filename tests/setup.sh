# What test.sh, demo.sh and .ci/run share; sourced from the project's root.

packages=(build-essential clang meson ninja-build pkg-config
          protobuf-c-compiler protobuf-compiler libprotobuf-c-dev
          libonnx-dev libonnx-testdata libopenblas-dev liblapacke-dev
          libsuitesparse-dev libjansson-dev zlib1g-dev libcmocka-dev
          python3 python3-venv graphviz)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/gennape/venv

say() { printf '== %s\n' "$*"; }

missing_packages() {
    local p
    for p in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null |
            grep -q 'ok installed' || echo "$p"
    done
}

# Debian's packages; elsewhere, or without rights, their list.
install_packages() {
    local missing sudo=
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null
    then
        say "no apt-get here; what Debian calls these is needed:"
        echo "   ${packages[*]}"
        return
    fi
    missing=$(missing_packages)
    if [ -z "$missing" ]; then
        say "all packages are there"
        return
    fi
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            say "please install, as root: apt-get install" $missing
            return
        fi
        sudo=sudo
    fi
    say "apt-get install" $missing
    $sudo apt-get update -q || true
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends $missing ||
        say "apt-get failed; going on with what is there"
}

# Python packages for the tests that need some, outside of the tree. Tests
# skip themselves where this does not work.
install_python() { # full?
    local wanted=tests/requirements.txt stamp=$venv/installed
    local list; list=$(mktemp)
    if [ "$1" = true ]; then
        grep -v '^#' $wanted >"$list"
    else
        sed '/--full:/,$d' $wanted | grep -v '^#' >"$list"
    fi
    if [ -f "$stamp" ] && ! grep -qvxFf "$stamp" "$list"; then
        say "Python packages are there ($venv)"
    else
        say "pip install" $(cat "$list") "into $venv"
        if python3 -m venv "$venv" &&
            "$venv/bin/pip" install -q --disable-pip-version-check \
                -r "$list"; then
            cat "$list" >>"$stamp"
        else
            say "pip failed; tests that need these packages are skipped"
        fi
    fi
    rm -f "$list"
}

build() { # folder, options of meson setup...
    local dir=$1 werror=false
    shift
    [ "${CI:-false}" = true ] && werror=true
    if [ ! -f "$dir/build.ninja" ]; then
        say "meson setup $dir -Dwerror=$werror $*"
        meson setup "$dir" -Dwerror=$werror "$@"
    elif [ $werror = true ]; then
        meson configure "$dir" -Dwerror=true
    fi
    say "ninja -C $dir"
    ninja -C "$dir"
}
