#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Unpack another QGIS than the system's into a folder, beside it and without touching it.
#
#     scripts/fetch_qgis.sh 3.40 build/qgis-3.40
#
# It comes from Debian's backports, with an apt state of its own, and uses the system's Python, Qt and
# GDAL; scripts/with_qgis.sh runs commands with it. The folder appears when it is whole, and not before.
set -eu

version=$1
folder=$2
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

. /etc/os-release
if [ "$version" != 3.40 ] || [ "${ID-} ${VERSION_ID-}" != "debian 12" ] || [ ! -f "$keyring" ]; then
    echo "QGIS $version cannot be fetched here: there is 3.40 for Debian 12, and no other." >&2
    exit 1
fi

unfinished=$folder.unfinished
rm -rf "$unfinished"
mkdir -p "$unfinished/apt/lists/partial" "$unfinished/apt/archives/partial"
apt=$(cd "$unfinished/apt" && pwd)
for suite in bookworm bookworm-backports; do
    echo "deb [signed-by=$keyring] http://deb.debian.org/debian $suite main"
done >"$apt/sources.list"
cat >"$apt/apt.conf" <<END
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$apt";
Dir::Cache::archives "$apt/archives";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "-";
# apt gives up root for downloads, and its user need not be able to write here.
APT::Sandbox::User "root";
Acquire::Retries "3";
END
export APT_CONFIG="$apt/apt.conf"
apt-get update -qq
# What the system has already is not fetched again.
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --download-only --no-install-recommends \
    --target-release bookworm-backports qgis python3-qgis qgis-providers >"$apt/log" || {
    cat "$apt/log" >&2
    exit 1
}
for package in "$apt"/archives/*.deb; do
    dpkg -x "$package" "$unfinished"
done
ls "$apt/archives" | grep "^qgis_$version\." >/dev/null || {
    echo "Debian's backports do not have QGIS $version any more." >&2
    exit 1
}
rm -rf "$apt" "$folder"
mv "$unfinished" "$folder"
# It has the age of the packages otherwise, and make would fetch it again.
touch "$folder"
