#!/usr/bin/env bash
# Asks a PostgreSQL 15 for the answers that tests/slt expects, and writes them into the files. Run it after adding a statement:
#   tests/slt/record.sh "host=127.0.0.1 port=5432 user=rig password=rig dbname=rig"
# Where we differ on purpose, a record has `-- differs: why` above `query`, and keeps both answers; what PostgreSQL has not at all,
# `-- only here: why`.
set -euo pipefail
cd "$(dirname "$0")/../.."
SPARKGATE_SLT_RECORD="${1:?a connection string of a PostgreSQL 15}" cargo test --test it slt::statements_answer_as
git diff --stat tests/slt
