#!/bin/sh
# What compose.yaml runs: other containers reach the doors, so there has to be someone who may log in.
set -eu
users=$HOME/users
if [ ! -e "$users" ]; then
  printf '%s\n' "${DEMO_PASSWORD:?}" | sparkgate user add spark --users-file "$users"
fi
export SPARKGATE_AUTH__USERS_FILE="$users"
exec sparkgate serve "$@" --pg "${DEMO_ADDRESS:-0.0.0.0}:${DEMO_PG_PORT:-5433}" --flight off --http "${DEMO_ADDRESS:-0.0.0.0}:${DEMO_HTTP_PORT:-18080}"
