#!/usr/bin/env bash
# Builds what is not built and starts a session; runs the tests and the benchmarks; makes one file to copy. `./run.sh --help` says more.
set -euo pipefail
cd_back=$PWD
# Through a symlink, as in ~/bin, Cargo.toml stands where the link leads. Not every readlink can tell that.
self=$(readlink -f -- "${BASH_SOURCE[0]}" 2>/dev/null) || self=${BASH_SOURCE[0]}
root=$(cd -- "$(dirname -- "$self")" && pwd)

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 1
}

usage() {
    cat <<'END'
Builds what is not built, and starts a chat: a server in this terminal, and a window for each client.

Usage: ./run.sh [OPTIONS OF chat-run]    start a session, as ./run.sh -c 3 -p 8080
       ./run.sh test [OPTIONS OF cargo test]
                                         install what the tests need, and run them all
       ./run.sh soak MINUTES             let members come and go for so long, and tell what was lost
       ./run.sh fuzz MINUTES             feed the protocol, the client and the history with bytes that nobody thought of
       ./run.sh bench [OPTIONS OF cargo bench]
                                         run the benchmarks
       ./run.sh dist [FOLDER]            make one file of programs, completions and man pages that runs on any
                                         Linux of this processor, in FOLDER or here
       ./run.sh --help                   this, and the options of chat-run

END
}

# Whether version $1 is at least version $2: 1.89 or 1.95.0-nightly, and so on.
is_at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# How to install packages, by the package manager that is found: $1 for apt-get, $2 for dnf and zypper, $3 for pacman, $4 for apk.
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

# What is needed to build: cargo, a Rust that is new enough, and a linker.
check_tools() {
    # rustup puts it there, but a shell that was open before does not know.
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    fi
    local rustup="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    local wanted found
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml")
    command -v cargo >/dev/null || fail "there is no cargo; install Rust $wanted or newer, which needs no root:
  $rustup"
    command -v rustc >/dev/null || fail "there is a cargo, but no rustc; install Rust $wanted or newer, which needs no root:
  $rustup"
    found=$(rustc --version | cut -d ' ' -f 2)
    is_at_least "$found" "$wanted" || fail "Rust is $found here, and has to be $wanted or newer; get it without root by
  $(if command -v rustup >/dev/null; then echo 'rustup update stable'; else echo "$rustup"; fi)"
    command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null ||
        fail "there is no C linker (cc), which Rust needs to link programs; install it with
  $(install_hint 'gcc libc6-dev' gcc 'gcc' 'gcc musl-dev')
or, without root, one that comes in a folder, such as conda's: conda install -c conda-forge gcc"
}

# Everything that the window tests, and the README's examples, call: command, package.
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

# Whether a Debian package is installed.
is_there() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'
}

# Puts in place what the tests need. Quick when it is all there.
prepare_tests() {
    local command package missing=() commands=()
    while read -r command package; do
        if ! command -v "$command" >/dev/null; then
            missing+=("$package")
            commands+=("$command")
        fi
    done < <(test_needs)
    if command -v dpkg-query >/dev/null; then
        # They have no command: the font in which windows show letters of all Europe, and what draws without a graphics card.
        for package in fonts-dejavu-core libgl1-mesa-dri; do
            is_there "$package" || missing+=("$package")
        done
    fi
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "the tests need what is not here: ${commands[*]}; install the packages that have them"

    local root_by=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "the tests need packages, and there is no sudo to install them; as root:
  apt-get install --no-install-recommends ${missing[*]}"
        root_by=(sudo)
    fi
    say "installing what the tests need: ${missing[*]}"
    local apt=("${root_by[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 -qq)
    # Lists may be old, or not there at all, as in a container.
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null 2>&1 || {
        "${apt[@]}" update </dev/null >&2
        "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >&2
    } || fail "could not install ${missing[*]}; try: apt-get install --no-install-recommends ${missing[*]}"
}

run_session() {
    check_tools
    local target quiet=--quiet
    target=$(target_folder)
    # Nobody should spend the first build before an empty screen, nor wonder what it has to do with `--help`.
    if ! [ -x "$target/release/chat-run" ]; then
        say "building first, which takes a minute or two"
        quiet=
    fi
    (cd "$root" && cargo build --release --locked ${quiet:+"$quiet"}) || fail "the build failed; what is above says why"
    cd "$cd_back"
    exec "$target/release/chat-run" "$@"
}

# Makes a tar of all that is to be installed, in folder $1. The same files give the same tar: their order, owner and time are set.
make_dist() {
    [ "$(uname -s)" = Linux ] || fail "only for Linux programs can be made that need nothing else; here, install them by \`cargo install --path .\`"
    tar --version 2>/dev/null | grep -q GNU || fail "this takes GNU tar; install it with
  $(install_hint tar tar tar tar)"
    local arch version target name programs stage time
    arch=$(uname -m)
    target=$arch-unknown-linux-musl
    version=$(sed -n 's/^version *= *"\(.*\)"/\1/p' "$root/Cargo.toml")
    name=chat-run-$version-$arch-linux
    cd "$root"
    if ! [ -d "$(rustc --print target-libdir --target "$target")" ]; then
        command -v rustup >/dev/null || fail "this Rust cannot build for $target, and there is no rustup to get what it lacks; install that as
  https://rustup.rs says"
        rustup target add "$target" >&2 || fail "could not get what builds for $target"
    fi
    say "building, which takes a minute or two"
    cargo build --release --locked --quiet --target "$target" --package chat-run --package pages ||
        fail "the build failed; what is above says why"
    programs=$(target_folder)/$target/release
    stage=$(mktemp -d)
    # shellcheck disable=SC2064 # The folder is known now, and not when the shell ends.
    trap "rm -rf '$stage'" EXIT
    mkdir -p "$stage/$name/bin"
    cp "$programs"/chat-{run,server,client} "$stage/$name/bin/"
    cp README.md LICENSE-MIT LICENSE-APACHE "$stage/$name/"
    "$programs/pages" "$stage/$name/share" ||
        fail "could not make the man pages; what is above says why"
    time=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
    tar --create --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime="@$time" -C "$stage" "$name" |
        gzip -n9 >"$stage/tar.gz"
    mv "$stage/tar.gz" "$1/$name.tar.gz"
    echo "$1/$name.tar.gz"
}

# Feeds each target of fuzz/ with what is kept there, and then, for $1 seconds, with what libFuzzer makes of that; what that finds
# goes to folder $2. Stops at the first input that a target fails with.
fuzz() {
    command -v c++ >/dev/null || fail "there is no C++ compiler (c++), which libFuzzer needs; install it with
  $(install_hint g++ gcc-c++ gcc g++)"
    cd "$root/fuzz"
    say "building what is fuzzed"
    cargo build --release --locked --quiet || fail "the build of fuzz/ failed; what is above says why (after a change of
  Cargo.toml, \`cargo metadata\` in fuzz/ brings its lock file up to date)"
    local file target
    for file in fuzz_targets/*.rs; do
        target=$(basename "$file" .rs)
        say "fuzzing: $target, for $1 s"
        mkdir -p "$2/$target" artifacts
        # An input that takes over 10 s, or 512 MB, is one that a target fails with.
        cargo run --release --locked --quiet --bin "$target" -- -max_total_time="$1" -timeout=10 -rss_limit_mb=512 \
            -dict=words.dict -verbosity=0 -print_final_stats=1 -artifact_prefix="artifacts/$target-" \
            "$2/$target" "corpus/$target" || fail "$target fails; keep the input that is named above in fuzz/corpus/$target"
    done
}

# Where cargo builds, which an environment or a user's configuration may change.
target_folder() {
    (cd "$root" && cargo metadata --format-version 1 --no-deps --locked) |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

case ${1-} in
-h | --help)
    usage
    # The options are asked from the program itself where that can be built.
    run_session --help
    ;;
test)
    shift
    check_tools
    prepare_tests
    cd "$root"
    status=0
    # All of them, also after a file with a test that fails.
    cargo test --locked --no-fail-fast "$@" || status=$?
    # Who names tests wants those.
    if [ $# -eq 0 ]; then
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
        say "error: for how many minutes? as in \`./run.sh $1 10\`"
        exit 2
        ;;
    esac
    check_tools
    cd "$root"
    if [ "$1" = fuzz ]; then
        targets=$(find fuzz/fuzz_targets -name '*.rs' | wc -l)
        fuzz "$(awk "BEGIN { print int($minutes * 60 / $targets) + 1 }")" found
    else
        SOAK_MINUTES=$minutes exec cargo test --release --locked --test soak --test ghosts -- --nocapture
    fi
    ;;
bench)
    shift
    check_tools
    cd "$root"
    exec cargo bench --locked "$@"
    ;;
dist)
    folder=$(cd -- "${2:-.}" && pwd) || fail "there is no folder $2"
    check_tools
    make_dist "$folder"
    ;;
-*)
    run_session "$@"
    ;;
*[!0-9]*)
    say "error: run.sh has no command \`$1\`: there are \`test\`, \`soak\`, \`fuzz\`, \`bench\`, \`dist\` and \`--help\`, and chat-run takes a port or options, as in \`./run.sh -c 3\`"
    exit 2
    ;;
*)
    run_session "$@"
    ;;
esac
