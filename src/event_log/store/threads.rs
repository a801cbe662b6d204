//! Threads for the networks of stores.
//!
//! A client of a store keeps connections, and each belongs to the runtime that it was opened on. Logs are read on threads that fold them as
//! well, and commands have runtimes that come and go: so the clients get threads that stay and do nothing else.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// They move bytes, and undo their encryption.
const THREADS: usize = 2;

/// Runs `work` on these threads. It ends when what this gives is dropped.
pub(crate) fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> io::Result<Running<T>> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let build = || {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("storage")
            .enable_all()
            .build()
    };
    match RUNTIME.get_or_init(build) {
        Ok(runtime) => Ok(Running(runtime.spawn(work))),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("cannot start threads for storage: {error}"),
        )),
    }
}

/// Work under way.
#[derive(Debug)]
pub(crate) struct Running<T>(JoinHandle<T>);

impl<T> Future for Running<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        Pin::new(&mut self.0).poll(context).map_err(io::Error::other)
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
