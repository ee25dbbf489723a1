#!/bin/sh
# Installs the Debian packages that building (`build`) or also testing (`test`) Chancery needs, or
# those of other servers to measure it beside (`peers`).
# Only what is missing is installed; when nothing is, nothing happens and no network is used.
set -eu

purpose=${1:?usage: setup.sh build|test|peers}

has() { command -v "$1" >/dev/null 2>&1; }

if ! has cargo; then
    echo "setup: Rust 1.95 or newer is needed and no package has it: see https://rustup.rs" >&2
    exit 1
fi

missing=
# The cryptography (aws-lc) and SQLite are C.
has cc || missing="$missing gcc libc6-dev"

if [ "$purpose" = test ]; then
    has openssl || missing="$missing openssl"
    has curl || missing="$missing curl"
    has sqlite3 || missing="$missing sqlite3"
    # What GnuTLS thinks of OCSP answers.
    has ocsptool || missing="$missing gnutls-bin"
    # libFuzzer is C++.
    has c++ || missing="$missing g++"
    # The TLS edge is looked at by testssl and by a browser, which trusts what certutil tells it to.
    has chromium || missing="$missing chromium"
    has certutil || missing="$missing libnss3-tools"
    has testssl || missing="$missing testssl.sh"
    # The linter pkilint and some clients are Python.
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
    # An ACME directory, and a DNS server with its clients. Servers are where only root looks.
    has pebble || missing="$missing pebble"
    has knotd || [ -x /usr/sbin/knotd ] || missing="$missing knot"
    has kdig || missing="$missing knot-dnsutils"
    # Programs go by clocks of the tests.
    ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$missing libfaketime"
    # TLS servers that certificates are delivered to, or that ask for them.
    has caddy || missing="$missing caddy"
    has nginx || [ -x /usr/sbin/nginx ] || missing="$missing nginx"
    has haproxy || [ -x /usr/sbin/haproxy ] || missing="$missing haproxy"
    # Keys in a PKCS#11 token.
    has softhsm2-util || missing="$missing softhsm2"
    if ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then
        missing="$missing postgresql"
    fi
fi

if [ "$purpose" = peers ]; then
    PATH=$PATH:/usr/sbin
    has nginx || missing="$missing nginx"
    has haproxy || missing="$missing haproxy"
    has taskset || missing="$missing util-linux"
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
fi

[ -n "$missing" ] || exit 0

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        echo "setup: run this as root, then again: apt-get install$missing" >&2
        exit 1
    fi
}

if ! has apt-get; then
    echo "setup: no apt-get here; install what these Debian packages hold:$missing" >&2
    exit 1
fi

echo "setup: installing$missing" >&2
case $missing in
*postgresql*)
    # The tests make their own cluster. Keep Debian from making and starting one for the system.
    as_root mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' |
        as_root tee /etc/postgresql-common/createcluster.d/chancery.conf >/dev/null
    ;;
esac
if [ "$purpose" != build ] && [ ! -e /usr/sbin/policy-rc.d ]; then
    # Keep Debian from starting what tests start themselves, or what is only to be measured.
    printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
    as_root chmod 755 /usr/sbin/policy-rc.d
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
fi
# A mirror that drops a connection is asked again.
as_root apt-get -o Acquire::Retries=3 update -q
# shellcheck disable=SC2086 # the words are package names
as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 install -q -y --no-install-recommends $missing
if [ "$purpose" != build ] && has systemctl; then
    # Nor at the next start of the machine.
    for server in knot nginx haproxy; do
        case "$missing " in
        *" $server "*) as_root systemctl disable --quiet "$server" || true ;;
        esac
    done
fi
