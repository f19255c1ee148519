#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Install what is missing from Debian's packages, group by group:
#
#   tools/deps.sh [--list] [build] [demo] [test] [bench] [ci] [ports]      (all without an argument)
#
# Looks first and touches nothing when all is there. Root installs by itself, anybody else through
# sudo. --list prints what is missing, and installs nothing.
set -eu

build='gcc libc6-dev meson ninja-build pkg-config python3 libjson-c-dev liburing-dev libcmocka-dev
	libslirp-dev libncurses-dev libssl-dev libevdev-dev'
demo='user-mode-linux busybox-static kmod'
test="python3-pytest python3-prometheus-client clang-format
	qemu-system-x86 qemu-utils valgrind tmux $demo"
dpdk='dpdk-dev librte-meta-net librte-meta-mempool librte-meta-bus'
bench="qemu-system-x86 qemu-utils valgrind $dpdk"
ci="clang libclang-rt-14-dev $dpdk"
ports='gcc-i686-linux-gnu gcc-s390x-linux-gnu qemu-user'

list=
groups=
for word; do
	case $word in
	--list) list=1 ;;
	build | demo | test | bench | ci | ports) groups="$groups $word" ;;
	*)
		echo "tools/deps.sh: '$word' is none of build, demo, test, bench, ci, ports," \
			"--list" >&2
		exit 2
		;;
	esac
done

installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for group in ${groups:-build demo test bench ci ports}; do
	eval "packages=\$$group"
	for package in $packages; do
		case " $missing " in *" $package "*) continue ;; esac
		installed "$package" || missing="$missing $package"
	done
done

if [ -n "$list" ]; then
	[ -z "$missing" ] || printf '%s\n' $missing
	exit 0
fi
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "missing:$missing" >&2
	echo "tools/deps.sh: no apt-get here; install the like of these by hand" >&2
	exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "missing:$missing" >&2
		echo "tools/deps.sh: not root and no sudo; as root run: apt-get install$missing" >&2
		exit 1
	fi
	as_root='sudo'
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly()
{
	echo "  $1"
	shift
	if ! $as_root env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1 </dev/null; then
		cat "$log" >&2
		echo "tools/deps.sh: '$*' failed" >&2
		exit 1
	fi
}

echo "Installing from Debian:$missing"
quietly 'reading the package lists' apt-get -q update
quietly 'downloading and installing' \
	apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
	install $missing
echo '  done'
