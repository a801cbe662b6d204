//! The program; everything is in the library.

use std::process::ExitCode;

/// Folding a log makes and drops many small values on all cores, where the system's allocator is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sparkgate::app::main_with(std::env::args_os())
}
