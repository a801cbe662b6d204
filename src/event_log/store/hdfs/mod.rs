//! HDFS, through hdfs-native's own client; what it cannot read, the last block of a file that is being written, through WebHDFS.
//!
//! Paths are `hdfs://authority/path` with the path as HDFS has it: nothing is decoded or encoded, as Hadoop's own `Path` does. The
//! client runs on threads of its own, so that its connections live as long as the process and a defect of it ends here. Every wait
//! has an end (`[hdfs] timeout`): a NameNode that does not answer costs one call, not a worker.
//!
//! Invariant: of a file that is being written, [`LogStore::read`] gives no byte beyond what [`LogStore::open_file`] has told, and none twice
//! over the network but for the last piece of a line.

mod failure;
mod hadoop;
mod negotiate;
mod open_files;
mod webhdfs;

use std::future::Future;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use hdfs_native::client::FileStatus;
use hdfs_native::{Client, ClientBuilder, HdfsError};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Entry, LogStore, OpenFile, RequestCounter, Requests, StoreError};
use crate::config::{HdfsConfig, WebHdfsConfig};
use failure::Stage;
use hadoop::HadoopConf;
use open_files::{OpenFiles, Tail};
use webhdfs::{WebError, WebHdfs};

/// Results that wait for their taker: a listing of a batch, some packets of a block.
const WAITING_RESULTS: usize = 256;
/// How often all NameNodes of a service are tried before a call fails, half a second and then twice as long between the rounds. A fail-over
/// takes some seconds; what lasts longer is left to the next scan.
const FAILOVER_ROUNDS: usize = 4;

/// `[hdfs]`, with `None` for what is not set.
#[derive(Debug, Clone)]
struct Settings {
    conf_dir: Option<PathBuf>,
    user: Option<String>,
    principal: Option<String>,
    keytab: Option<String>,
    cache: Option<String>,
    webhdfs: WebHdfsConfig,
    timeout: Duration,
    properties: Vec<(String, String)>,
}

impl Settings {
    fn new(config: &HdfsConfig) -> Self {
        let set = |text: &String| (!text.is_empty()).then(|| text.clone());
        let pair = |property: &String| {
            let (name, value) = property.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        Settings {
            conf_dir: set(&config.hadoop_conf_dir).map(PathBuf::from),
            user: set(&config.user),
            principal: set(&config.kerberos_principal),
            keytab: set(&config.kerberos_keytab),
            cache: set(&config.kerberos_cache),
            webhdfs: config.webhdfs.clone(),
            timeout: config.timeout.0,
            properties: config.properties.iter().filter_map(pair).collect(),
        }
    }
}

/// Why a source on HDFS cannot be used. All of these are for the operator to put right.
#[derive(Debug, thiserror::Error)]
pub enum HdfsSetupError {
    #[error("the Hadoop configuration directory {} does not exist: look at HADOOP_CONF_DIR and [hdfs] hadoop_conf_dir", dir.display())]
    NoConfDir { dir: PathBuf },
    #[error("{} cannot be read: {message}", path.display())]
    BadConfFile { path: PathBuf, message: String },
    #[error(
        "{uri} names no cluster, and fs.defaultFS of {place} is no {scheme}:// URI; write {scheme}://namenode:8020/path"
    )]
    NoDefault { uri: String, scheme: String, place: String },
    #[error("[hdfs] {given} needs kerberos_principal: who is to be logged in?")]
    NoPrincipal { given: &'static str },
    #[error("the name service {service} has no addresses (dfs.namenode.rpc-address.{service}.…) in {place}")]
    NoAddresses { service: String, place: String },
    #[error("the client of HDFS cannot be made: {message}")]
    Client { message: String },
}

/// What errors name.
#[derive(Debug, Clone)]
struct Target {
    authority: String,
    namenodes: Vec<String>,
    conf_place: String,
    secure: bool,
    principal: Option<String>,
    keytab: Option<String>,
    cache: Option<String>,
}

/// One HDFS.
#[derive(Debug)]
pub struct HdfsStore {
    /// What all its paths begin with: `hdfs://authority`.
    base: String,
    /// As the client wants it: one NameNode, a name service, or a mount table.
    url: String,
    target: Target,
    settings: Settings,
    conf: HadoopConf,
    user: String,
    client: Mutex<Slot>,
    web: Option<WebHdfs>,
    open_files: OpenFiles,
    requests: RequestCounter,
}

/// The client, once it was needed.
#[derive(Debug, Default)]
struct Slot {
    client: Option<Client>,
    /// How often it was made anew; also the NameNode that is tried first.
    generation: usize,
}

/// How a call ended that gave no result.
enum Ended {
    Failed(Stage, HdfsError),
    Late(Stage),
    Panicked,
}

type Outcome = Result<(), (Stage, HdfsError)>;

/// Threads of the client's connections. They never end: a runtime must not be dropped inside another.
fn threads() -> Result<&'static Runtime, StoreError> {
    static THREADS: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread()
            // The library of Kerberos blocks a thread while it waits for a KDC; others must go on.
            .worker_threads(std::thread::available_parallelism().map_or(4, |cores| cores.get().max(4)))
            .thread_name("hdfs")
            .enable_all()
            .build()
    });
    THREADS.as_ref().map_err(|error| StoreError::Unavailable {
        path: "HDFS".to_owned(),
        message: format!("there are no threads for its client: {error}"),
    })
}

impl HdfsStore {
    /// The HDFS that `scheme://rest` names, and the path in it. Nothing is connected to yet.
    ///
    /// `hdfs://host:port/path`, `hdfs://nameservice/path`, `hdfs:///path` (`fs.defaultFS`); `viewfs` alike.
    pub fn open(scheme: &str, rest: &str, config: &HdfsConfig) -> Result<(Self, String), HdfsSetupError> {
        let settings = Settings::new(config);
        for (given, is_set) in [
            ("kerberos_keytab", settings.keytab.is_some()),
            ("kerberos_cache", settings.cache.is_some()),
        ] {
            if is_set && settings.principal.is_none() {
                return Err(HdfsSetupError::NoPrincipal { given });
            }
        }
        let conf = HadoopConf::load(
            settings.conf_dir.as_deref(),
            |name| std::env::var(name).ok(),
            &settings.properties,
        )?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = if authority.is_empty() {
            match conf.default_fs() {
                Some((default_scheme, authority)) if default_scheme == scheme && !authority.is_empty() => authority,
                _ => {
                    return Err(HdfsSetupError::NoDefault {
                        uri: format!("{scheme}://{rest}"),
                        scheme: scheme.to_owned(),
                        place: conf.place(),
                    });
                }
            }
        } else {
            authority
        };
        let target = Target::new(authority, &conf, &settings);
        let is_ha = !conf.namenode_ids(authority).is_empty();
        if target.namenodes.is_empty() {
            return Err(HdfsSetupError::NoAddresses {
                service: authority.to_owned(),
                place: conf.place(),
            });
        }
        let url = match target.namenodes.first() {
            Some(address) if scheme == "hdfs" && !is_ha => format!("hdfs://{address}"),
            _ => format!("{scheme}://{authority}"),
        };
        let base = format!("{scheme}://{authority}");
        let user = settings
            .user
            .clone()
            .or_else(|| std::env::var("HADOOP_USER_NAME").ok().filter(|user| !user.is_empty()))
            .or_else(|| whoami::username().ok())
            .unwrap_or_else(|| "sparkgate".to_owned());
        let addresses = match &settings.webhdfs {
            WebHdfsConfig::Off => Vec::new(),
            WebHdfsConfig::At(addresses) => addresses.clone(),
            // A mount table has several clusters behind it.
            WebHdfsConfig::Auto if scheme == "viewfs" => Vec::new(),
            WebHdfsConfig::Auto => conf.web_addresses(authority),
        };
        let web = match addresses.is_empty() {
            true => None,
            false => {
                let web = WebHdfs::new(addresses, &user, &target, &settings);
                Some(web.map_err(|message| HdfsSetupError::Client { message })?)
            }
        };
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        let full = match parts.is_empty() {
            true => base.clone(),
            false => format!("{base}/{}", parts.join("/")),
        };
        let store = HdfsStore {
            base,
            url,
            target,
            settings,
            conf,
            user,
            client: Mutex::default(),
            web,
            open_files: OpenFiles::default(),
            requests: RequestCounter::default(),
        };
        // What the client itself finds wrong, such as a mount table without links, is to be known at the start.
        if !store.target.secure {
            store.client().map_err(|error| HdfsSetupError::Client {
                message: failure::first_line(&error.to_string()),
            })?;
        }
        Ok((store, full))
    }

    /// A path as the cluster has it.
    fn inside<'p>(&self, path: &'p str) -> &'p str {
        match path.strip_prefix(self.base.as_str()).unwrap_or(path) {
            "" => "/",
            inside => inside,
        }
    }

    fn client(&self) -> Result<(Client, usize), HdfsError> {
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = slot.generation;
        let client = match &slot.client {
            Some(client) => client.clone(),
            None => slot.client.insert(self.build(generation)?).clone(),
        };
        Ok((client, generation))
    }

    fn build(&self, generation: usize) -> Result<Client, HdfsError> {
        let mut properties: Vec<(String, String)> = self
            .conf
            .properties()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut unless_set = |name: &str, value: String| {
            if self.conf.get(name).is_none() {
                properties.push((name.to_owned(), value));
            }
        };
        let namenodes = self.target.namenodes.len();
        let attempts = if namenodes > 1 { FAILOVER_ROUNDS * namenodes } else { 1 };
        unless_set("dfs.client.failover.max.attempts", attempts.to_string());
        unless_set(
            "dfs.client.socket-timeout",
            self.settings.timeout.as_millis().to_string(),
        );
        let authority = &self.target.authority;
        if self.url.starts_with("viewfs:") {
            // The client wants one, and most mount tables have none: whatever lies outside of the mounts does not exist.
            let link = format!("fs.viewfs.mounttable.{authority}.link");
            let fallback = format!("{link}Fallback");
            let mounted = self.conf.properties().find(|(name, _)| name.starts_with(&link));
            if let Some((_, somewhere)) = mounted {
                unless_set(&fallback, format!("{}/.no-such-mount", somewhere.trim_end_matches('/')));
            }
        }
        // One that takes connections and does not answer would be the first to be asked again.
        let mut ids = self.conf.namenode_ids(authority);
        if !ids.is_empty() {
            let first = generation % ids.len();
            ids.rotate_left(first);
            properties.push((format!("dfs.ha.namenodes.{authority}"), ids.join(",")));
        }
        let mut builder = ClientBuilder::new().with_url(self.url.as_str()).with_config(properties);
        if let Ok(threads) = threads() {
            builder = builder.with_io_runtime(threads.handle().clone());
        }
        if self.target.secure {
            if let Some(principal) = &self.settings.principal {
                builder = builder.with_kerberos_principal(principal.as_str());
            }
            if let Some(keytab) = &self.settings.keytab {
                builder = builder.with_kerberos_keytab(keytab.as_str());
            }
            if let Some(cache) = &self.settings.cache {
                builder = builder.with_kerberos_cache(cache.as_str());
            }
            // Another user than the one who is logged in: that one has to be allowed to act for others.
            if let Some(user) = &self.settings.user {
                builder = builder.with_user(user.as_str());
            }
        } else {
            builder = builder.with_user(self.user.as_str());
        }
        builder.build()
    }

    /// A connection that does not answer stays as it is until the kernel gives it up: the next call makes another one.
    fn renew(&self, generation: usize) {
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.generation == generation {
            slot.client = None;
            slot.generation += 1;
        }
    }

    /// Runs `work` on the client's threads and collects what it gives. Each piece has the whole time-out.
    async fn collect<T, F>(
        &self,
        path: &str,
        after_first: Stage,
        work: impl Fn(Client, mpsc::Sender<T>) -> F,
    ) -> Result<Vec<T>, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut tries = self.target.namenodes.len();
        loop {
            tries -= 1;
            let client = self.client();
            let (client, generation) =
                client.map_err(|error| failure::store_error(&self.target, path, Stage::NameNode, &error))?;
            let (send, receive) = mpsc::channel(WAITING_RESULTS);
            match self.attempt(receive, after_first, work(client, send)).await? {
                Ok(items) => return Ok(items),
                Err(Ended::Late(stage)) => {
                    self.renew(generation);
                    if tries == 0 || stage == Stage::DataNode {
                        return Err(failure::late(&self.target, path, stage, self.settings.timeout));
                    }
                }
                Err(Ended::Panicked) => return Err(failure::panicked(path)),
                Err(Ended::Failed(stage, error)) => {
                    return Err(failure::store_error(&self.target, path, stage, &error));
                }
            }
        }
    }

    async fn attempt<T>(
        &self,
        mut receive: mpsc::Receiver<T>,
        after_first: Stage,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) -> Result<Result<Vec<T>, Ended>, StoreError> {
        let mut task = JoinSet::new();
        task.spawn_on(work, threads()?.handle());
        let mut items = Vec::new();
        loop {
            match timeout(self.settings.timeout, receive.recv()).await {
                Ok(Some(item)) => items.push(item),
                // The sender went with the end of the work.
                Ok(None) => break,
                Err(_) => {
                    let stage = if items.is_empty() { Stage::NameNode } else { after_first };
                    return Ok(Err(Ended::Late(stage)));
                }
            }
        }
        Ok(match task.join_next().await {
            Some(Ok(Ok(()))) => Ok(items),
            Some(Ok(Err((stage, error)))) => Err(Ended::Failed(stage, error)),
            _ => Err(Ended::Panicked),
        })
    }

    fn entry(&self, path: &str, status: &FileStatus) -> Entry {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        Entry {
            path: path.to_owned(),
            name,
            is_dir: status.isdir,
            is_special: false,
            size_bytes: if status.isdir { 0 } else { status.length as u64 },
            modified_ms: i64::try_from(status.modification_time).unwrap_or(i64::MAX),
        }
    }

    /// Bytes of finished blocks, and how many bytes those have together.
    async fn read_finished(&self, path: &str, range: Range<u64>) -> Result<(Bytes, u64), StoreError> {
        let inside = self.inside(path).to_owned();
        match range.is_empty() {
            true => self.requests.head(),
            false => self.requests.get(),
        }
        let pieces = self
            .collect(path, Stage::DataNode, |client, send| {
                let (inside, range) = (inside.clone(), range.clone());
                async move {
                    let reader = client.read(&inside).await.map_err(|error| (Stage::NameNode, error))?;
                    let length = reader.file_length();
                    // Whoever waits may have gone.
                    let _ = send.send(Piece::Length(length as u64)).await;
                    // Beyond its length the client panics.
                    let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(length);
                    let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(length);
                    let mut bytes = Box::pin(reader.read_range_stream(start, end.saturating_sub(start)));
                    while let Some(some) = futures::StreamExt::next(&mut bytes).await {
                        let some = some.map_err(|error| (Stage::DataNode, error))?;
                        if send.send(Piece::Bytes(some)).await.is_err() {
                            break;
                        }
                    }
                    Ok(())
                }
            })
            .await?;
        let (mut length, mut bytes) = (0, Vec::with_capacity(pieces.len()));
        for piece in pieces {
            match piece {
                Piece::Length(all) => length = all,
                Piece::Bytes(some) => bytes.push(some),
            }
        }
        let bytes = joined(bytes);
        self.requests.read(bytes.len() as u64);
        Ok((bytes, length))
    }

    /// The bytes from `from` on of a file that is being written, as many as are kept, and where it ends now.
    async fn tail(&self, web: &WebHdfs, entry: &Entry, from: u64) -> Result<Tail, WebError> {
        let inside = self.inside(&entry.path).to_owned();
        let redirect = self.open_files.redirect(&entry.path);
        self.requests.get();
        let answer = web.read(&inside, from, None, redirect).await?;
        self.requests.read(answer.bytes.len() as u64);
        self.open_files.set_redirect(&entry.path, answer.redirect);
        Ok(Tail {
            start: from,
            end: answer.end,
            bytes: answer.bytes,
        })
    }

    /// What can be read of a file without WebHDFS, or while that does not answer.
    async fn finished_only(&self, entry: &Entry, why: &str) -> Result<Option<OpenFile>, StoreError> {
        if self.open_files.is_whole(entry) {
            return Ok(None);
        }
        let known = self.open_files.end(&entry.path).unwrap_or_default();
        let finished = match self.read_finished(&entry.path, 0..0).await {
            Ok((_, finished)) => finished,
            Err(error) if known == 0 => return Err(error),
            Err(_) => 0,
        };
        if finished >= entry.size_bytes.max(known) {
            self.open_files.set_whole(entry);
            return Ok(None);
        }
        Ok(Some(OpenFile {
            size_bytes: finished.max(known),
            behind: Some(format!("the block that is being written cannot be read yet, because {why}").into()),
        }))
    }

    /// A file that nothing was added to: is anybody still writing it?
    async fn is_open(&self, web: &WebHdfs, entry: &Entry) -> bool {
        if !self.open_files.is_time_to_ask(&entry.path) {
            return true;
        }
        self.requests.head();
        // Who cannot tell is asked again.
        web.is_open(self.inside(&entry.path)).await.unwrap_or(true)
    }
}

/// What reading gives, in this order.
enum Piece {
    Length(u64),
    Bytes(Bytes),
}

fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() < 2 {
        return pieces.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}

#[async_trait]
impl LogStore for HdfsStore {
    async fn list(&self, dir: &str) -> Result<Vec<Entry>, StoreError> {
        let prefix = dir.trim_end_matches('/');
        let inside = self.inside(prefix).to_owned();
        self.requests.list();
        let statuses = self
            .collect(dir, Stage::NameNode, |client, send| {
                let inside = inside.clone();
                async move {
                    let listing = client.list_status_iter(&inside, false);
                    while let Some(status) = listing.next().await {
                        let status = status.map_err(|error| (Stage::NameNode, error))?;
                        if send.send(status).await.is_err() {
                            break;
                        }
                    }
                    Ok(())
                }
            })
            .await?;
        let mut entries = Vec::with_capacity(statuses.len());
        for status in &statuses {
            // The listing of a file is that file.
            if status.path == inside && !status.isdir {
                return Err(StoreError::NotADirectory { path: dir.to_owned() });
            }
            let name = status.path.rsplit('/').next().unwrap_or_default();
            entries.push(self.entry(&format!("{prefix}/{name}"), status));
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn head(&self, path: &str) -> Result<Entry, StoreError> {
        let inside = self.inside(path).to_owned();
        self.requests.head();
        let found = self
            .collect(path, Stage::NameNode, |client, send| {
                let inside = inside.clone();
                async move {
                    let status = client.get_file_info(&inside).await;
                    let _ = send.send(status.map_err(|error| (Stage::NameNode, error))?).await;
                    Ok(())
                }
            })
            .await?;
        match found.first() {
            Some(status) => Ok(self.entry(path, status)),
            None => Err(StoreError::NotFound { path: path.to_owned() }),
        }
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if let Some(bytes) = self.open_files.bytes(path, &range) {
            return Ok(bytes);
        }
        let read = self.read_finished(path, range.clone()).await;
        let (bytes, finished) = match read {
            // Blocks of a file that was deleted meanwhile go away under its reader.
            Err(error @ StoreError::Unavailable { .. }) => {
                let head = self.head(path).await;
                return Err(match head {
                    Err(gone @ StoreError::NotFound { .. }) => gone,
                    _ => error,
                });
            }
            read => read?,
        };
        let end = range.end.min(self.open_files.end(path).unwrap_or_default());
        let start = range.start.max(finished);
        let (Some(web), true) = (&self.web, start < end) else {
            return Ok(bytes);
        };
        if let Some(rest) = self.open_files.bytes(path, &(start..end)) {
            return Ok(joined(vec![bytes, rest]));
        }
        let redirect = self.open_files.redirect(path);
        self.requests.get();
        let rest = web.read(self.inside(path), start, Some(end - start), redirect).await;
        match rest {
            Ok(answer) => {
                self.requests.read(answer.bytes.len() as u64);
                self.open_files.set_redirect(path, answer.redirect);
                Ok(joined(vec![bytes, answer.bytes]))
            }
            Err(WebError::NotFound) => Err(StoreError::NotFound { path: path.to_owned() }),
            // These bytes were there: less of them would be taken for the end of the file.
            Err(error) => Err(StoreError::Unavailable {
                path: path.to_owned(),
                message: error.to_string(),
            }),
        }
    }

    /// A directory's time changes when something in it comes, goes or gets another name.
    fn has_directory_times(&self) -> bool {
        true
    }

    fn requests(&self) -> Requests {
        self.requests.so_far()
    }

    async fn open_file(&self, entry: &Entry) -> Result<Option<OpenFile>, StoreError> {
        if self.open_files.is_closed(entry) {
            return Ok(None);
        }
        let Some(web) = &self.web else {
            return self.finished_only(entry, "WebHDFS is not used ([hdfs] webhdfs)").await;
        };
        if let Some(why) = web.is_resting() {
            return self.finished_only(entry, &why).await;
        }
        let mut known = self.open_files.end(&entry.path);
        let mut tries = 0;
        let tail = loop {
            tries += 1;
            let from = match known {
                Some(end) => end,
                None => self.read_finished(&entry.path, 0..0).await?.1,
            };
            match self.tail(web, entry, from).await {
                // It was replaced by a shorter one.
                Err(WebError::BeyondEnd) if tries == 1 => {
                    self.open_files.forget(&entry.path);
                    known = None;
                }
                tail => break tail,
            }
        };
        match tail {
            Ok(tail) => {
                let (end, is_more) = (
                    tail.end,
                    !tail.bytes.is_empty() || known.is_none_or(|known| tail.end > known),
                );
                self.open_files.add(&entry.path, tail);
                if !is_more && !self.is_open(web, entry).await && entry.size_bytes >= end {
                    self.open_files.set_closed(entry);
                    return Ok(None);
                }
                Ok(Some(OpenFile {
                    size_bytes: end,
                    behind: None,
                }))
            }
            Err(WebError::NotFound) => Err(StoreError::NotFound {
                path: entry.path.clone(),
            }),
            Err(error) => self.finished_only(entry, &error.to_string()).await,
        }
    }
}
