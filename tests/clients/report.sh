# How the checks of a shell script are told: sourced by them, one line a check, and the counts of the last line.
passed=0
failed=0

report() { # NAME PASSED OUTPUT
  if [ "$2" = 0 ]; then
    passed=$((passed + 1))
    echo "ok   $1"
  else
    failed=$((failed + 1))
    echo "FAIL $1: $(tr '\n' ' ' <<<"$3" | cut -c 1-1500)"
  fi
}
