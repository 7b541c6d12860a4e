# Sourced by the other scripts: which of Debian's packages are missing, and how they are installed.

# Programs for servers: Kafka runs on Java and comes by Maven, PostgreSQL is Debian's.
missing_for_servers() {
  [[ $(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p') -ge 17 ]] || java_package
  command -v mvn >/dev/null || echo maven
  command -v curl >/dev/null || echo curl # asks whether the registry serves
  command -v openssl >/dev/null || echo openssl # certificates of a day
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql
  command -v pgbouncer >/dev/null || [[ -x /usr/sbin/pgbouncer ]] || echo pgbouncer
}

# A mail server with TLS and a login, for scripts/postfix-local.
missing_for_mail() {
  [[ -x /usr/sbin/postfix ]] || echo postfix
  [[ -x /usr/sbin/saslpasswd2 ]] || echo sasl2-bin
  compgen -G '/usr/lib/*/sasl2/libplain.so*' >/dev/null || echo libsasl2-modules
}

# SQLite and librdkafka are built from source.
missing_for_builds() {
  command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null || echo build-essential
}

# OpenSSL too, for TLS to Kafka, and that wants more of Perl than every system has.
missing_for_tls() {
  perl -MFindBin -MIPC::Cmd -MTime::Piece -e 1 2>/dev/null || echo perl
}

# The pages are tried in a real browser; scripts/screenshots says what its letters want besides.
missing_for_browser() {
  [[ -x /usr/bin/chromium ]] || echo chromium
  command -v node >/dev/null || echo nodejs
  command -v npm >/dev/null || echo npm
}

# A scraper for the metrics, and what tries the alerts.
missing_for_metrics() {
  command -v prometheus >/dev/null && command -v promtool >/dev/null || echo prometheus
}

# What judges the unit; it need not be what runs the machine.
missing_for_service() {
  command -v systemd-analyze >/dev/null || echo systemd
}

# Containers, and what a base image is made with.
missing_for_containers() {
  local program
  for program in podman buildah crun mmdebstrap; do
    command -v "$program" >/dev/null || echo "$program"
  done
}

missing_for_python() {
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

java_package() {
  local wanted=openjdk-17-jre-headless
  apt-cache show "$wanted" >/dev/null 2>&1 && echo "$wanted" || echo default-jre-headless
}

# Installs packages as root; otherwise says which ones are missing. Nothing to do without any.
install_packages() {
  (($#)) || return 0
  command -v apt-get >/dev/null || { echo "missing: $*, and there is no apt-get to install them" >&2; return 1; }
  ((EUID == 0)) || { echo "missing Debian packages: apt-get install $*" >&2; return 1; }
  echo "installing $*"
  apt-get update -qq || { echo "apt-get update failed, and $* must be installed" >&2; return 1; }
  local no_server=/etc/postgresql-common/createcluster.d/encargo.conf status=0
  if [[ " $* " == *" postgresql "* ]]; then # the package would start a server of its own
    mkdir -p "${no_server%/*}"
    echo 'create_main_cluster = false' >"$no_server"
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null || status=1
  rm -f "$no_server"
  ((status == 0)) || echo "cannot install $*" >&2
  return "$status"
}
