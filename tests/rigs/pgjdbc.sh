#!/usr/bin/env bash
# Fetches pgjdbc, and Gson for reading the rows that it must see; prints a class path.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/once.sh"

driver=42.7.13
gson=2.13.2

install() {
  for artifact in "org.postgresql:postgresql:$driver" "com.google.code.gson:gson:$gson"; do
    mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -Dartifact="$artifact" -DoutputDirectory="$1"
  done
}

need java default-jdk-headless
need mvn maven
once "pgjdbc-$driver" install
echo "$cache/pgjdbc-$driver/postgresql-$driver.jar:$cache/pgjdbc-$driver/gson-$gson.jar"
