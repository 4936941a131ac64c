#!/bin/sh
# deps.sh: installs, with apt-get, what is missing on a Debian 12 for building
# and testing; as root or with sudo. Without anything missing it does nothing.
#
#     ./deps.sh [PACKAGE…]      those that are named as well
set -eu

# The compiler: gcc, make and libyaml. Its LLVM module and the kernels that it
# embeds: LLVM 19 with clang and lld. The tests: python3 reads the JSON Schema.
packages='gcc libc6-dev make libyaml-dev llvm-19-dev clang-19 lld-19 python3'

missing=
for package in $packages "$@"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || true
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    sudo=
elif command -v sudo >/dev/null; then
    sudo=sudo
else
    echo "deps.sh: these packages are missing, and there is no sudo:$missing" >&2
    exit 3
fi
echo "installing:$missing"
$sudo apt-get update -q
$sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends $missing
