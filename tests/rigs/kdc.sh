#!/usr/bin/env bash
# start DIRECTORY: an MIT Kerberos KDC of realm RIG.TEST on a free port of 127.0.0.1; DIRECTORY/krb/krb5.conf names it.  stop DIRECTORY
# add DIRECTORY KEYTAB PRINCIPAL [LIFE]: a principal with a random key, which goes to DIRECTORY/KEYTAB; LIFE (as 10h, 8s) is that of its tickets.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/once.sh"

# Servers' programs are not in everybody's PATH.
PATH=$PATH:/usr/sbin:/usr/local/sbin
need krb5kdc krb5-kdc
need kadmin.local krb5-admin-server
need kinit krb5-user

directory=$2
files=$directory/krb
export KRB5_CONFIG=$files/krb5.conf KRB5_KDC_PROFILE=$files/kdc.conf

is_taken() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

start() {
  mkdir -p "$files"
  # Below the ports that outgoing connections get.
  local port=$((20000 + RANDOM % 12000))
  while is_taken "$port"; do port=$((20000 + RANDOM % 12000)); done
  # Java wants each brace at the end of a line or on one of its own.
  cat >"$files/krb5.conf" <<EOF
[libdefaults]
  default_realm = RIG.TEST
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
  ticket_lifetime = 10h
  renew_lifetime = 7d
  udp_preference_limit = 1
[realms]
  RIG.TEST = {
    kdc = 127.0.0.1:$port
  }
[domain_realm]
  localhost = RIG.TEST
EOF
  cat >"$files/kdc.conf" <<EOF
[kdcdefaults]
  kdc_listen = 127.0.0.1:$port
  kdc_tcp_listen = 127.0.0.1:$port
[realms]
  RIG.TEST = {
    database_name = $files/principal
    key_stash_file = $files/stash
    acl_file = $files/acl
    max_life = 10h
    max_renewable_life = 7d
    supported_enctypes = aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha1-96:normal
  }
EOF
  kdb5_util create -s -r RIG.TEST -P "$(head -c 12 /dev/urandom | base64)" >"$files/log" 2>&1 || fail "$(tail -n 1 "$files/log")"
  krb5kdc -r RIG.TEST -P "$files/pid" >>"$files/log" 2>&1 || fail "$(tail -n 1 "$files/log")"
}

add() {
  kadmin.local -r RIG.TEST -q "addprinc -randkey $2" >>"$files/log" 2>&1
  kadmin.local -r RIG.TEST -q "ktadd -k $directory/$1 $2" >>"$files/log" 2>&1
  [ $# -lt 3 ] || kadmin.local -r RIG.TEST -q "modprinc -maxlife $3 $2" >>"$files/log" 2>&1
  [ -s "$directory/$1" ] || fail "no key for $2: $(tail -n 1 "$files/log")"
}

case $1 in
  start) start ;;
  add) add "${@:3}" ;;
  stop) kill "$(cat "$files/pid")" ;;
esac
