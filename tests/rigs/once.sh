# Sourced by scripts that install something once on a machine, outside the checkout; `cache` is where.
cache=${SPARKGATE_CACHE:-$HOME/.cache/sparkgate}
mkdir -p "$cache"

# Ends the script: what could not be installed, and why.
fail() {
  echo "$(basename "$0" .sh): $*" >&2
  exit 1
}

# need COMMAND PACKAGE
need() {
  command -v "$1" >/dev/null || fail "$1 is missing (Debian's package $2)"
}

# once DIRECTORY FUNCTION: runs FUNCTION, which fills $cache/DIRECTORY, unless that was done before. What it says goes to DIRECTORY.log.
# Two test runs at one time do not install into one directory. The function is run with `set -e`.
once() {
  local directory=$cache/$1 complete=$cache/$1/.complete
  [ ! -e "$complete" ] || return 0
  exec 9>"$directory.lock"
  flock 9
  if [ ! -e "$complete" ]; then
    # Without the mark an installation was interrupted.
    rm -rf "$directory"
    mkdir -p "$directory"
    (set -e; "$2" "$directory") >"$directory.log" 2>&1 9>&- &
    wait $! || fail "could not be installed: $(tail -n 1 "$directory.log") (all of it in $directory.log)"
    touch "$complete"
  fi
  exec 9>&-
}
