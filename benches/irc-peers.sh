#!/bin/sh
# Puts InspIRCd and ngircd from Debian's packages into a folder, with the libraries that they need and this system lacks.
# Nothing is installed, no service is started, and root is not needed.
set -eu
mkdir -p "$1/archives/partial" "$1/lists/partial"
cd "$1"

apt() {
    apt-get -qq -y -o Debug::NoLocking=1 -o Dir::Cache::archives="$PWD/archives" "$@"
}

download() {
    # --reinstall: what the system has already is wanted here as well.
    apt --download-only --no-install-recommends --reinstall "$@" install inspircd ngircd
}

# Where the system's lists are missing or too old, its own.
download 2>/dev/null || {
    apt -o Dir::State::lists="$PWD/lists" update
    download -o Dir::State::lists="$PWD/lists"
}
for package in archives/*.deb; do
    dpkg-deb --extract "$package" root
done
