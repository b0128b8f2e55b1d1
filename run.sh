#!/usr/bin/env bash
# Builds chat-run and starts a session. Other commands run the tests, the fuzzer and the benchmarks,
# and make an archive of the programs: see `./run.sh --help`.
set -euo pipefail
cd_back=$PWD
# If started through a symlink, as in ~/bin, find Cargo.toml beside the link's target. Not every
# readlink has -f.
self=$(readlink -f -- "${BASH_SOURCE[0]}" 2>/dev/null) || self=${BASH_SOURCE[0]}
root=$(cd -- "$(dirname -- "$self")" && pwd)

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 1
}

usage() {
    cat <<'END'
Builds the programs if necessary and starts a chat: a server in this terminal and a window for each client.

Usage: ./run.sh [OPTIONS OF chat-run]    start a session, for example ./run.sh -c 3 -p 8080
       ./run.sh test [OPTIONS OF cargo test]
                                         install what the tests need and run them all
       ./run.sh soak MINUTES             let members join, talk and leave at random, and report what was lost
       ./run.sh fuzz MINUTES             feed generated input to the protocol, the client and the history
       ./run.sh bench [OPTIONS OF cargo bench]
                                         run the benchmarks
       ./run.sh dist [DIRECTORY]         make an archive of the programs, completions and man pages that runs on
                                         any Linux with this processor architecture, in DIRECTORY or here
       ./run.sh --help                   show this and the options of chat-run

END
}

# Succeeds if version $1, such as 1.89 or 1.95.0-nightly, is at least version $2.
is_at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# Prints how to install packages with the package manager of this system: $1 are their names for
# apt-get, $2 for dnf and zypper, $3 for pacman, $4 for apk.
install_hint() {
    if command -v apt-get >/dev/null; then
        echo "sudo apt-get install $1"
    elif command -v dnf >/dev/null; then
        echo "sudo dnf install $2"
    elif command -v zypper >/dev/null; then
        echo "sudo zypper install $2"
    elif command -v pacman >/dev/null; then
        echo "sudo pacman -S $3"
    elif command -v apk >/dev/null; then
        echo "sudo apk add $4"
    elif command -v xcode-select >/dev/null; then
        echo "xcode-select --install"
    else
        echo "the package manager of this system: $1"
    fi
}

# Exits with advice unless cargo, a recent enough rustc and a C linker are installed.
check_tools() {
    # rustup installs cargo in this directory, but shells that were already open have the old PATH.
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    fi
    local rustup="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    local wanted found
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml")
    command -v cargo >/dev/null || fail "cargo is not installed; install Rust $wanted or newer, which needs no root:
  $rustup"
    command -v rustc >/dev/null || fail "cargo is installed, but rustc is not; install Rust $wanted or newer, which needs no root:
  $rustup"
    found=$(rustc --version | cut -d ' ' -f 2)
    is_at_least "$found" "$wanted" || fail "Rust $found is too old; install $wanted or newer, which needs no root:
  $(if command -v rustup >/dev/null; then echo 'rustup update stable'; else echo "$rustup"; fi)"
    command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null ||
        fail "no C linker (cc) found, which Rust needs to link programs; install one with
  $(install_hint 'gcc libc6-dev' gcc 'gcc' 'gcc musl-dev')
or without root, for example from conda: conda install -c conda-forge gcc"
}

# Prints the commands that the window tests and the README's examples need, each with its Debian
# package.
test_needs() {
    cat <<'END'
Xvfb xvfb
c++ g++
dbus-daemon dbus
gdbus libglib2.0-bin
import imagemagick
ip iproute2
nc netcat-openbsd
openbox openbox
python3 python3
terminator terminator
gnome-terminal gnome-terminal
tmux tmux
wmctrl wmctrl
xclip xclip
xdotool xdotool
xwininfo x11-utils
xterm xterm
konsole konsole
xfce4-terminal xfce4-terminal
kitty kitty
alacritty alacritty
END
}

# Succeeds if the Debian package $1 is installed.
is_there() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'
}

# Installs what the tests need. Returns at once if nothing is missing.
prepare_tests() {
    local command package missing=() commands=()
    while read -r command package; do
        if ! command -v "$command" >/dev/null; then
            missing+=("$package")
            commands+=("$command")
        fi
    done < <(test_needs)
    if command -v dpkg-query >/dev/null; then
        # Packages without a command: a font with the letters of European languages, and the
        # software renderer for machines without a graphics card.
        for package in fonts-dejavu-core libgl1-mesa-dri; do
            is_there "$package" || missing+=("$package")
        done
    fi
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "the tests need commands that are not installed: ${commands[*]}; install the packages that provide them"

    local root_by=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "the tests need packages, and sudo is not installed; as root, run:
  apt-get install --no-install-recommends ${missing[*]}"
        root_by=(sudo)
    fi
    say "installing what the tests need: ${missing[*]}"
    local apt=("${root_by[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 -qq)
    # The package lists may be outdated, or missing, as in a fresh container.
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null 2>&1 || {
        "${apt[@]}" update </dev/null >&2
        "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >&2
    } || fail "could not install ${missing[*]}; try: apt-get install --no-install-recommends ${missing[*]}"
}

run_session() {
    check_tools
    local target quiet=--quiet
    target=$(target_dir)
    # Announce the first build: it is slow, and `--help` triggers it too.
    if ! [ -x "$target/release/chat-run" ]; then
        say "building first, which takes a minute or two"
        quiet=
    fi
    (cd "$root" && cargo build --release --locked ${quiet:+"$quiet"}) || fail "the build failed; see the errors above"
    cd "$cd_back"
    exec "$target/release/chat-run" "$@"
}

# Makes the archive in directory $1. It is reproducible: the order, owner and time of its files are
# fixed.
make_dist() {
    [ "$(uname -s)" = Linux ] || fail "self-contained programs can only be built for Linux; here, install with \`cargo install --path .\`"
    tar --version 2>/dev/null | grep -q GNU || fail "GNU tar is not installed; install it with
  $(install_hint tar tar tar tar)"
    local arch version target name programs stage time
    arch=$(uname -m)
    target=$arch-unknown-linux-musl
    version=$(sed -n 's/^version *= *"\(.*\)"/\1/p' "$root/Cargo.toml")
    name=chat-run-$version-$arch-linux
    cd "$root"
    if ! [ -d "$(rustc --print target-libdir --target "$target")" ]; then
        command -v rustup >/dev/null || fail "this Rust cannot build for $target, and rustup is not installed to add that; install rustup as
  https://rustup.rs describes"
        rustup target add "$target" >&2 || fail "could not install the target $target; see the errors above"
    fi
    say "building, which takes a minute or two"
    cargo build --release --locked --quiet --target "$target" --package chat-run --package pages ||
        fail "the build failed; see the errors above"
    programs=$(target_dir)/$target/release
    stage=$(mktemp -d)
    # shellcheck disable=SC2064 # Expand the local variable now: it is gone at exit.
    trap "rm -rf '$stage'" EXIT
    mkdir -p "$stage/$name/bin"
    cp "$programs"/chat-{run,server,client} "$stage/$name/bin/"
    cp README.md LICENSE-MIT LICENSE-APACHE "$stage/$name/"
    "$programs/pages" "$stage/$name/share" ||
        fail "could not make the man pages; see the errors above"
    time=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
    tar --create --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime="@$time" -C "$stage" "$name" |
        gzip -n9 >"$stage/tar.gz"
    mv "$stage/tar.gz" "$1/$name.tar.gz"
    echo "$1/$name.tar.gz"
}

# Runs each target in fuzz/ for $1 seconds, on its corpus and on inputs that libFuzzer derives from
# it. Saves new inputs that increase coverage in directory $2. Stops at the first failing input.
fuzz() {
    command -v c++ >/dev/null || fail "no C++ compiler (c++) found, which libFuzzer needs; install one with
  $(install_hint g++ gcc-c++ gcc g++)"
    cd "$root/fuzz"
    say "building the fuzz targets"
    cargo build --release --locked --quiet || fail "the build of fuzz/ failed; see the errors above (after a change
  of Cargo.toml, run \`cargo metadata\` in fuzz/ to update its lock file)"
    local file target
    for file in fuzz_targets/*.rs; do
        target=$(basename "$file" .rs)
        say "fuzzing $target for $1 s"
        mkdir -p "$2/$target" artifacts
        # An input that takes more than 10 s or 512 MB counts as a failure.
        cargo run --release --locked --quiet --bin "$target" -- -max_total_time="$1" -timeout=10 -rss_limit_mb=512 \
            -dict=words.dict -verbosity=0 -print_final_stats=1 -artifact_prefix="artifacts/$target-" \
            "$2/$target" "corpus/$target" || fail "$target failed; add the input named above to fuzz/corpus/$target"
    done
}

# Runs the tests in tests/model. They need their own build, because `--cfg shuttle` replaces the
# server's locks and threads.
model() {
    RUSTFLAGS="${RUSTFLAGS-} --cfg shuttle" \
        cargo test --locked --target-dir "$(target_dir)/model" --test model
}

# Prints cargo's target directory, which the environment or the user's configuration may change.
target_dir() {
    (cd "$root" && cargo metadata --format-version 1 --no-deps --locked) |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

case ${1-} in
-h | --help)
    usage
    # chat-run prints its own options, so it has to be built.
    run_session --help
    ;;
test)
    shift
    check_tools
    prepare_tests
    cd "$root"
    status=0
    # Run all test crates even if one fails.
    cargo test --locked --no-fail-fast "$@" || status=$?
    # The model and the fuzz targets run only if the command has no options.
    if [ $# -eq 0 ]; then
        model || status=1
        found=$(mktemp -d)
        (fuzz 3 "$found") || status=1
        rm -rf "$found"
    fi
    exit "$status"
    ;;
soak | fuzz)
    minutes=${2-}
    case $minutes in
    '' | *[!0-9.]*)
        say "error: give the number of minutes, as in \`./run.sh $1 10\`"
        exit 2
        ;;
    esac
    check_tools
    cd "$root"
    if [ "$1" = fuzz ]; then
        targets=$(find fuzz/fuzz_targets -name '*.rs' | wc -l)
        fuzz "$(awk "BEGIN { print int($minutes * 60 / $targets) + 1 }")" found
    else
        SOAK_MINUTES=$minutes exec cargo test --release --locked --test soak -- --nocapture churn:: ghosts:: latency::
    fi
    ;;
bench)
    shift
    check_tools
    cd "$root"
    exec cargo bench --locked "$@"
    ;;
dist)
    directory=$(cd -- "${2:-.}" && pwd) || fail "there is no directory $2; create it first"
    check_tools
    make_dist "$directory"
    ;;
-*)
    run_session "$@"
    ;;
*[!0-9]*)
    say "error: run.sh has no command \`$1\`; it has \`test\`, \`soak\`, \`fuzz\`, \`bench\`, \`dist\` and \`--help\`, and passes a port or options to chat-run, as in \`./run.sh -c 3\`"
    exit 2
    ;;
*)
    run_session "$@"
    ;;
esac
