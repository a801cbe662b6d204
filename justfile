# What .ci/run does
ci:
    .ci/run

# Lints without linking: the quickest answer
check:
    cargo clippy --all-targets -- -D warnings

# All tests, or those whose names hold NAME
test *NAME:
    cargo test {{NAME}}

# SQL behaviour; no rebuild for a changed .slt file
slt *FILE:
    cargo test --test slt -- {{FILE}}

# Criterion benches
bench *NAME:
    cargo bench {{NAME}}

# Documentation of the code; warnings are errors
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
