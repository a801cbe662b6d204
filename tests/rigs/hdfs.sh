#!/usr/bin/env bash
# run DIRECTORY [ha] [kerberos] [privacy|integrity] [dn=N] [KEY=VALUE]...: a real HDFS (Hadoop 3.4.1: NameNodes and DataNodes in one Java
# process) on free ports of 127.0.0.1, in the foreground until its standard input ends. Prints `ready PORT` when it can be used; a command goes
# to that port: `command PORT WORD...`, see MiniHdfs.java. DIRECTORY/conf is for HADOOP_CONF_DIR; with `kerberos`, DIRECTORY/krb/krb5.conf for
# KRB5_CONFIG, and keytabs gateway.keytab, brief.keytab (tickets of 8 seconds) and alice.keytab lie in DIRECTORY. KEY=VALUE are servers' settings.
# install: what it needs of Maven. Needs Java 17 (JDK) and Maven, which fetches 110 MB once; with `kerberos` also Debian's krb5-kdc, krb5-admin-server, krb5-user.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/once.sh"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# What is compiled belongs to what it was compiled from.
name=mini-hdfs-$(cat "$here/hdfs/pom.xml" "$here/hdfs/MiniHdfs.java" | cksum | cut -d ' ' -f 1)

libraries() {
  nice mvn -B -q -f "$here/hdfs/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$1"
}

program() {
  javac -cp "$cache/mini-hdfs-3.4.1/*" -d "$1" "$here/hdfs/MiniHdfs.java"
}

run() {
  # Not local: the trap runs when this function is over.
  directory=$(realpath -m "$1")
  shift
  local java=(java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "-Dlog4j.configuration=file:$here/hdfs/log4j.properties"
    --add-opens java.base/java.lang=ALL-UNNAMED --add-opens java.security.jgss/sun.security.krb5=ALL-UNNAMED)
  mkdir -p "$directory"
  if [[ " $* " == *" kerberos "* ]]; then
    "$here/kdc.sh" start "$directory"
    trap '"$here/kdc.sh" stop "$directory"' EXIT
    for principal in hdfs/localhost HTTP/localhost; do "$here/kdc.sh" add "$directory" service.keytab "$principal"; done
    for principal in gateway alice; do "$here/kdc.sh" add "$directory" "$principal.keytab" "$principal"; done
    "$here/kdc.sh" add "$directory" brief.keytab brief 8s
    java+=(-Djava.security.krb5.conf="$directory/krb/krb5.conf")
  fi
  cd "$directory"
  nice "${java[@]}" -cp "$cache/$name:$cache/mini-hdfs-3.4.1/*" MiniHdfs "$directory" "$@" 2>"$directory/log" || fail "it ended: $(grep -v '^\s*at ' "$directory/log" | tail -n 3)"
}

case $1 in
  install | run)
    need java default-jdk-headless
    need javac default-jdk-headless
    need mvn maven
    once mini-hdfs-3.4.1 libraries
    once "$name" program
    [ "$1" = install ] || run "${@:2}"
    ;;
  command)
    exec 3<>"/dev/tcp/127.0.0.1/$2"
    (IFS=$'\t' && echo "${*:3}") >&3
    head -n 1 <&3
    ;;
esac
