# What .ci/run does
ci:
    .ci/run

# Lints without linking: the quickest answer
check:
    cargo clippy --all-targets -- -D warnings

# All tests, or those whose names hold NAME
test *NAME:
    cargo test {{NAME}}

# What a log costs from bytes to rows, beside the machine's limits (benches/README.md)
bench *NAME:
    cargo bench {{NAME}}

# Documentation of the code; warnings are errors
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
