#!/bin/sh
# Extracts InspIRCd and ngircd from Debian packages into directory $1, with those of their libraries
# that this system lacks. Installs nothing, starts no service, and does not need root.
set -eu
mkdir -p "$1/archives/partial" "$1/lists/partial"
cd "$1"

apt() {
    apt-get -qq -y -o Debug::NoLocking=1 -o Dir::Cache::archives="$PWD/archives" "$@"
}

download() {
    # --reinstall also downloads packages that the system has already.
    apt --download-only --no-install-recommends --reinstall "$@" install inspircd ngircd
}

# If the system's package lists are missing or outdated, use fresh ones.
download 2>/dev/null || {
    apt -o Dir::State::lists="$PWD/lists" update
    download -o Dir::State::lists="$PWD/lists"
}
for package in archives/*.deb; do
    dpkg-deb --extract "$package" root
done
