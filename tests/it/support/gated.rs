//! A server in this process whose storage waits where a test wants it to: what is true *while* something is read can be seen.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sparkgate::cache::{Cache, CacheOptions};
use sparkgate::catalog::Catalog;
use sparkgate::config::{AuthConfig, TlsConfig};
use sparkgate::event_log::LogStore;
use sparkgate::event_log::store::{Entry, LocalStore, StoreError};
use sparkgate::history::{CacheHandle, History, HistoryOptions, Source};
use sparkgate::server::http::{self, HttpOptions};
use sparkgate::server::pg::{self, PgOptions};
use sparkgate::server::query::{QueryEngine, QueryLimits};
use sparkgate::server::security::Security;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Reads of a file whose name holds `name` wait at the byte `from`, until the gate is opened.
#[derive(Debug)]
pub(crate) struct Gate {
    name: String,
    from: u64,
    open: watch::Sender<bool>,
}

impl Gate {
    /// A gate that is open.
    pub(crate) fn at(name: &str, from: u64) -> Arc<Gate> {
        Arc::new(Gate {
            name: name.to_owned(),
            from,
            open: watch::Sender::new(true),
        })
    }

    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    async fn pass(&self, path: &str, range: &Range<u64>) {
        if path.contains(&self.name) && range.end > self.from {
            let mut opened = self.open.subscribe();
            opened.wait_for(|open| *open).await.expect("the gate is still there");
        }
    }
}

/// Files as they lie, behind gates.
#[derive(Debug)]
struct GatedStore(Vec<Arc<Gate>>);

#[async_trait]
impl LogStore for GatedStore {
    async fn list(&self, dir: &str) -> Result<Vec<Entry>, StoreError> {
        LocalStore.list(dir).await
    }

    async fn head(&self, path: &str) -> Result<Entry, StoreError> {
        LocalStore.head(path).await
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        for gate in &self.0 {
            gate.pass(path, &range).await;
        }
        LocalStore.read(path, range).await
    }
}

/// How a server is made.
pub(crate) struct GatedOptions {
    /// Logs that are read side by side.
    pub(crate) threads: usize,
    pub(crate) wait_for_logs: Duration,
    /// Where its column cache lies, if it has one.
    pub(crate) cache: Option<PathBuf>,
}

/// Both doors over a directory; nothing is scanned but by the test.
pub(crate) struct GatedServer {
    pub(crate) history: Arc<History>,
    pub(crate) http: SocketAddr,
    pub(crate) pg: SocketAddr,
    stop: watch::Sender<bool>,
}

impl GatedServer {
    pub(crate) async fn start(logs: &Path, gates: &[&Arc<Gate>]) -> GatedServer {
        let options = GatedOptions {
            // One more than gates, so that what is held keeps nothing else from being read.
            threads: gates.len() + 1,
            wait_for_logs: Duration::from_secs(10),
            cache: None,
        };
        GatedServer::start_with(logs, gates, options).await
    }

    pub(crate) async fn start_with(logs: &Path, gates: &[&Arc<Gate>], given: GatedOptions) -> GatedServer {
        let path = logs.to_str().expect("UTF-8");
        let store = GatedStore(gates.iter().map(|gate| Arc::clone(gate)).collect());
        let source = Source::new(path, path, Arc::new(store));
        let options = HistoryOptions {
            threads: given.threads,
            ..HistoryOptions::default()
        };
        let cache = match given.cache {
            Some(path) => {
                let location = path.to_str().expect("UTF-8");
                let cache = Cache::open(location, CacheOptions::default()).await;
                Some(CacheHandle::Writer(Arc::new(cache.expect("a new directory"))))
            }
            None => None,
        };
        let history = Arc::new(History::with_cache(vec![source], options, cache).expect("threads"));
        let catalog = Catalog::new(Arc::<History>::clone(&history), Vec::new());
        let limits = QueryLimits {
            wait_for_logs: given.wait_for_logs,
            timeout: None,
            memory_bytes: Some(256 << 20),
            ..QueryLimits::default()
        };
        let engine = QueryEngine::start(Arc::new(catalog), limits, &std::env::temp_dir()).expect("threads");
        let (stop, stopped) = watch::channel(false);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let pg_address = listener.local_addr().expect("an address");
        let options = PgOptions {
            max_connections: 10,
            ..PgOptions::default()
        };
        let security = Security::open(&AuthConfig::default(), &TlsConfig::default());
        let security = Arc::new(security.expect("the defaults are right"));
        let (engine_of_pg, security_of_pg) = (Arc::clone(&engine), Arc::clone(&security));
        tokio::spawn(pg::serve(
            listener,
            engine_of_pg,
            security_of_pg,
            options,
            stopped.clone(),
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let options = HttpOptions::default();
        tokio::spawn(http::serve(
            listener,
            engine,
            Arc::clone(&history),
            security,
            options,
            stopped,
        ));
        GatedServer {
            history,
            http: address,
            pg: pg_address,
            stop,
        }
    }
}

impl Drop for GatedServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
