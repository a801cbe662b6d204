//! Makes corpora of event logs: deterministic by seed, in the shapes of real Spark 4.1 and 3.5 logs, with a manifest of what is in
//! them. `benches/corpus/check.py` compares both: the shapes with real logs, the manifest with the lines.
//!
//! Invariant: the same options give the same bytes, whatever the number of threads.
//! Left out on purpose: damaged logs, speculation, streaming. Tests have real logs for those.

mod application;
mod environment;
mod plan;
mod random;
mod sink;
mod task;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use application::Application;
use environment::ClusterEnvironment;
use random::Random;
pub(crate) use sink::Codec;
use sink::{Compressor, Sink};
use task::{Slot, TaskNumbers};

/// Start of the first application, milliseconds since the epoch (9 October 2025); the next ones follow a minute apart.
const FIRST_START_MS: u64 = 1_760_000_000_000;
const BETWEEN_STARTS_MS: u64 = 61_000;

/// What `--mix` draws from.
const MIX_SPAN_MS: u64 = 90 * 24 * 3_600_000;
const MIX_NAMES: u64 = 3_000;
const MIX_USERS: u64 = 200;
/// Hosts that the executors of `--mix` and of the preset `scan` run on.
const FLEET: u64 = 200;
/// Tasks of the applications of the preset `scan` in thousandths of all, the largest first so that threads end together.
const SCAN_SIZES: [u64; 12] = [300, 200, 150, 100, 80, 60, 40, 30, 20, 10, 6, 4];
/// The one of them that has all its tasks in one stage: 200,000 of 10,000,000.
const SCAN_ONE_STAGE: u64 = 20;
const SCAN_TASKS_PER_STAGE: u64 = 4_000;
/// Up to so many applications are listed one by one in a manifest that is not told to.
const LISTED: u64 = 5_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spark {
    V3_5,
    V4_1,
}

impl Spark {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Spark::V3_5 => "3.5",
            Spark::V4_1 => "4.1",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Spark::V3_5 => "3.5.7",
            Spark::V4_1 => "4.1.0",
        }
    }

    /// What came with Spark 4: peak on- and off-heap memory, concurrent GC, exit code, job group of an SQL execution.
    fn has_new_fields(self) -> bool {
        self == Spark::V4_1
    }
}

/// What the applications of a corpus are like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All the same: `jobs`, `stages`, `tasks` and `executors` are of each.
    Same,
    /// Drawn one by one.
    Mix,
    /// A dozen of various sizes, `tasks` in all.
    Scan,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Same => "same",
            Kind::Mix => "mix",
            Kind::Scan => "scan",
        }
    }
}

/// What to make. `jobs`, `stages` and `tasks` are per application; the stages are spread over the jobs, the tasks over the stages.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) apps: u64,
    pub(crate) jobs: u64,
    pub(crate) stages: u64,
    pub(crate) tasks: u64,
    pub(crate) executors: u64,
    pub(crate) cores: u64,
    pub(crate) codec: Codec,
    pub(crate) seed: u64,
    pub(crate) spark: Spark,
    /// Share of the tasks that fail and are tried again.
    pub(crate) fail_rate: f64,
    pub(crate) env_kb: usize,
    /// Roll over after so many MB of lines; 0 for single files.
    pub(crate) rolling_mb: u64,
    /// So many of the last applications have not ended.
    pub(crate) in_progress: u64,
    /// Also what Spark logs only when told to: block updates, executor metrics; and an executor that goes.
    pub(crate) extra_events: bool,
    pub(crate) kind: Kind,
    /// Lists every application in the manifest, however many there are.
    pub(crate) list: bool,
    pub(crate) threads: u64,
    pub(crate) out: PathBuf,
}

impl Options {
    pub(crate) fn new(out: PathBuf) -> Self {
        Options {
            apps: 1,
            jobs: 1,
            stages: 2,
            tasks: 40,
            executors: 4,
            cores: 4,
            codec: Codec::None,
            seed: 1,
            spark: Spark::V4_1,
            fail_rate: 0.002,
            env_kb: 100,
            rolling_mb: 0,
            in_progress: 0,
            extra_events: false,
            kind: Kind::Same,
            list: false,
            threads: std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64),
            out,
        }
    }

    /// `many`, `medium` and `big` are the corpora of `FINDINGS.md`, by which Spark's own history server was measured; `mix` and `scan`
    /// are those of `benches/scale`.
    pub(crate) fn preset(mut self, name: &str) -> Option<Self> {
        (self.apps, self.jobs, self.stages, self.tasks, self.executors) = match name {
            "many" => (2000, 1, 2, 40, 4),
            "medium" => (50, 5, 15, 5000, 8),
            "big" => (1, 20, 60, 200_000, 40),
            "mix" => {
                (self.apps, self.kind, self.codec) = (100_000, Kind::Mix, Codec::Zstd);
                return Some(self);
            }
            "scan" => {
                (self.kind, self.codec) = (Kind::Scan, Codec::Zstd);
                (SCAN_SIZES.len() as u64, 1, 1, 10_000_000, 64)
            }
            _ => return None,
        };
        Some(self)
    }

    /// What one application looks like.
    fn shape(&self, application: u64) -> Shape {
        let mut shape = Shape {
            application,
            jobs: self.jobs,
            stages: self.stages,
            tasks: self.tasks,
            executors: self.executors,
            cores: self.cores,
            seed: self.seed,
            spark: self.spark,
            fail_rate: self.fail_rate,
            rolling_mb: self.rolling_mb,
            in_progress: application >= self.apps.saturating_sub(self.in_progress),
            extra_events: self.extra_events,
            start_ms: FIRST_START_MS + application * BETWEEN_STARTS_MS,
            name: application::app_name(application),
            user: format!("user{}", application % 23),
            fails: false,
            first_host: None,
        };
        match self.kind {
            Kind::Same => {}
            Kind::Mix => shape.draw(self),
            Kind::Scan => shape.share(self),
        }
        shape
    }
}

/// One application to be made.
struct Shape {
    application: u64,
    jobs: u64,
    stages: u64,
    tasks: u64,
    executors: u64,
    cores: u64,
    seed: u64,
    spark: Spark,
    fail_rate: f64,
    rolling_mb: u64,
    in_progress: bool,
    extra_events: bool,
    start_ms: u64,
    name: String,
    user: String,
    /// The last job fails, and with it the application.
    fails: bool,
    /// Where in the fleet its executors begin; `None` if it has hosts of its own.
    first_host: Option<u64>,
}

impl Shape {
    /// Three months of a cluster. Seven of eight applications have 5 to 50 tasks, one of eight some hundreds, one of a hundred some
    /// thousands and three of ten thousand tens of thousands; within each tenfold small ones are as frequent as large ones are rare.
    fn draw(&mut self, options: &Options) {
        let mut random = Random::for_application(options.seed ^ 0x006d_6978, self.application);
        let (low, jobs, stages_per_job, executors) = match random.below(10_000) {
            0..8_600 => (5, (1, 2), (1, 3), (1, 4)),
            8_600..9_900 => (50, (1, 6), (2, 4), (2, 10)),
            9_900..9_997 => (500, (5, 30), (2, 4), (8, 40)),
            _ => (5_000, (20, 60), (2, 4), (30, 100)),
        };
        self.jobs = random.between(jobs.0, jobs.1);
        self.stages = self.jobs * random.between(stages_per_job.0, stages_per_job.1);
        self.tasks = tenfold(&mut random, low).max(self.stages);
        self.executors = random.between(executors.0, executors.1);
        self.cores = 1 << random.below(4);
        self.spark = if random.below(10) < 3 { Spark::V3_5 } else { Spark::V4_1 };
        self.extra_events = random.below(10) == 0;
        self.in_progress |= random.below(200) == 0;
        self.fails = !self.in_progress && random.below(100) < 3;
        // A tenth of the logs roll over, at `--rolling-mb` or 10 MB.
        let rolling = random.below(10) == 0;
        self.rolling_mb = match options.rolling_mb {
            _ if !rolling => 0,
            0 => 10,
            megabytes => megabytes,
        };
        // Some jobs run again and again, most now and then; a job is always the same user's.
        let job = random.below(MIX_NAMES).min(random.below(MIX_NAMES));
        self.name = format!(
            "{}-{job:04}",
            application::KINDS[job as usize % application::KINDS.len()]
        );
        self.user = format!("user{:03}", job * 7_919 % MIX_USERS);
        let between = MIX_SPAN_MS / options.apps;
        self.start_ms = FIRST_START_MS + self.application * between + random.below(between);
        self.first_host = Some(random.below(FLEET));
    }

    /// Its share of the tasks of the preset `scan`.
    fn share(&mut self, options: &Options) {
        let share = SCAN_SIZES[self.application as usize % SCAN_SIZES.len()];
        self.tasks = (options.tasks * share / SCAN_SIZES.iter().sum::<u64>()).max(1);
        if share != SCAN_ONE_STAGE {
            self.stages = self.tasks.div_ceil(SCAN_TASKS_PER_STAGE);
            self.jobs = self.stages.div_ceil(3);
        }
        self.first_host = Some(self.application * 17);
    }

    /// Where an executor runs: two on a host.
    fn host(&self, executor: u64) -> String {
        match self.first_host {
            None => format!("worker-{:02}.example", executor % self.executors.div_ceil(2)),
            Some(first) => format!("worker-{:03}.example", (first + executor / 2) % FLEET),
        }
    }

    /// As YARN names them.
    fn app_id(&self) -> String {
        format!("application_{FIRST_START_MS}_{:04}", self.application + 1)
    }
}

/// Between `low` and ten times that, each of eight steps by the same factor as likely as any other.
fn tenfold(random: &mut Random, low: u64) -> u64 {
    // 10^(1/8) to 10^(8/8) in thousandths: integers only, see `random`.
    const STEPS: [u64; 9] = [1_000, 1_334, 1_778, 2_371, 3_162, 4_217, 5_623, 7_499, 10_000];
    let step = random.below(8) as usize;
    random.between(low * STEPS[step], low * STEPS[step + 1]) / 1_000
}

/// What is in a log, or in all of them: the numbers that a server must answer.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    /// Uncompressed, newlines included.
    pub(crate) bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) jobs: u64,
    pub(crate) failed_jobs: u64,
    pub(crate) stages: u64,
    pub(crate) failed_stages: u64,
    /// Task attempts, failed ones included.
    pub(crate) tasks: u64,
    pub(crate) failed_tasks: u64,
    pub(crate) sql: u64,
    /// Without the driver.
    pub(crate) executors: u64,
    pub(crate) run_ms: u64,
    pub(crate) gc_ms: u64,
    /// Cores x lifetime of executors, where the application has ended.
    pub(crate) core_ms: u64,
    pub(crate) shuffle_write: u64,
    pub(crate) shuffle_read: u64,
    pub(crate) input_bytes: u64,
    pub(crate) output_bytes: u64,
    start_ms: u64,
    end_ms: u64,
}

impl Counts {
    fn add_task(&mut self, numbers: &TaskNumbers) {
        self.tasks += 1;
        self.run_ms += numbers.get(Slot::RunTime);
        self.gc_ms += numbers.get(Slot::GcTime);
        self.shuffle_write += numbers.get(Slot::BytesWritten);
        self.shuffle_read += numbers.get(Slot::LocalBytes) + numbers.get(Slot::RemoteBytes);
        self.input_bytes += numbers.get(Slot::InputBytes);
        self.output_bytes += numbers.get(Slot::OutputBytes);
    }

    fn add(&mut self, other: &Counts) {
        self.events += other.events;
        self.bytes += other.bytes;
        self.stored_bytes += other.stored_bytes;
        self.jobs += other.jobs;
        self.failed_jobs += other.failed_jobs;
        self.stages += other.stages;
        self.failed_stages += other.failed_stages;
        self.tasks += other.tasks;
        self.failed_tasks += other.failed_tasks;
        self.sql += other.sql;
        self.executors += other.executors;
        self.run_ms += other.run_ms;
        self.gc_ms += other.gc_ms;
        self.core_ms += other.core_ms;
        self.shuffle_write += other.shuffle_write;
        self.shuffle_read += other.shuffle_read;
        self.input_bytes += other.input_bytes;
        self.output_bytes += other.output_bytes;
    }

    fn json(&self) -> Value {
        json!({
            "events": self.events,
            "bytes": self.bytes,
            "stored_bytes": self.stored_bytes,
            "jobs": self.jobs,
            "failed_jobs": self.failed_jobs,
            "stages": self.stages,
            "failed_stages": self.failed_stages,
            "tasks": self.tasks,
            "failed_tasks": self.failed_tasks,
            "sql": self.sql,
            "executors": self.executors,
            "run_ms": self.run_ms,
            "gc_ms": self.gc_ms,
            "core_ms": self.core_ms,
            "shuffle_write": self.shuffle_write,
            "shuffle_read": self.shuffle_read,
            "input_bytes": self.input_bytes,
            "output_bytes": self.output_bytes,
        })
    }
}

/// Writes the corpus into `options.out` (which must be empty or absent) and `<out>.manifest.json` beside it; the totals.
pub(crate) fn generate(options: &Options) -> io::Result<Counts> {
    let same = options.kind == Kind::Same;
    if same && (options.stages < options.jobs || options.tasks < options.stages)
        || options.executors == 0
        || options.cores == 0
    {
        let message = "every job needs a stage, every stage a task, and tasks need an executor with a core";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    fs::create_dir_all(&options.out)?;
    if fs::read_dir(&options.out)?.next().is_some() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} is not empty", options.out.display()),
        ));
    }
    let clusters = [Spark::V3_5, Spark::V4_1].map(|spark| ClusterEnvironment::new(spark, options.env_kb));
    let next = AtomicU64::new(0);
    let manifest = Mutex::new(Manifest::default());
    let work = || -> io::Result<()> {
        let mut compressor = Compressor::new();
        loop {
            let application = next.fetch_add(1, Ordering::Relaxed);
            if application >= options.apps {
                return Ok(());
            }
            let shape = options.shape(application);
            let cluster = &clusters[usize::from(shape.spark == Spark::V4_1)];
            let (counts, file) = write_application(options, &shape, cluster, &mut compressor)?;
            manifest
                .lock()
                .expect("no thread panics while it holds the manifest")
                .add(options, &shape, &counts, &file);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads.clamp(1, options.apps.max(1)))
            .map(|_| scope.spawn(work))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a generator thread does not panic"))
    })?;
    let manifest = manifest.into_inner().expect("all threads have ended");
    manifest.write(options)?;
    Ok(manifest.total)
}

/// What is in the log, and the name of its file or directory.
fn write_application(
    options: &Options,
    shape: &Shape,
    cluster: &ClusterEnvironment,
    compressor: &mut Compressor,
) -> io::Result<(Counts, String)> {
    let app_id = shape.app_id();
    let sink = Sink::create(
        &options.out,
        &app_id,
        options.codec,
        shape.rolling_mb,
        shape.in_progress,
        compressor,
    )?;
    Application::new(shape, &app_id, sink).write(cluster)
}

/// The manifest while it grows.
#[derive(Default)]
struct Manifest {
    total: Counts,
    failed: u64,
    running: u64,
    running_stored_bytes: u64,
    users: HashSet<String>,
    names: HashSet<String>,
    most_tasks: u64,
    /// By number of the application; empty if they are too many and nobody asked.
    entries: Vec<(u64, Value)>,
}

impl Manifest {
    fn add(&mut self, options: &Options, shape: &Shape, counts: &Counts, file: &str) {
        self.total.add(counts);
        self.failed += u64::from(shape.fails);
        if shape.in_progress {
            self.running += 1;
            self.running_stored_bytes += counts.stored_bytes;
        }
        self.most_tasks = self.most_tasks.max(counts.tasks);
        if !self.users.contains(&shape.user) {
            self.users.insert(shape.user.clone());
        }
        if !self.names.contains(&shape.name) {
            self.names.insert(shape.name.clone());
        }
        if !options.list && options.apps > LISTED {
            return;
        }
        let mut entry = json!({
            "id": shape.app_id(),
            "name": shape.name,
            "user": shape.user,
            "spark": shape.spark.version(),
            "file": file,
            "complete": !shape.in_progress,
            "status": if shape.in_progress { "RUNNING" } else if shape.fails { "FAILED" } else { "SUCCEEDED" },
            "start": counts.start_ms,
            "end": counts.end_ms,
        });
        if let (Value::Object(entry), Value::Object(numbers)) = (&mut entry, counts.json()) {
            entry.extend(numbers);
        }
        self.entries.push((shape.application, entry));
    }

    fn write(&self, options: &Options) -> io::Result<()> {
        let mut manifest = json!({
            "args": {
                "kind": options.kind.name(),
                "apps": options.apps, "jobs": options.jobs, "stages": options.stages, "tasks": options.tasks,
                "executors": options.executors, "cores": options.cores, "codec": options.codec.name(), "seed": options.seed,
                "spark": options.spark.name(), "fail_rate": options.fail_rate, "env_kb": options.env_kb,
                "rolling_mb": options.rolling_mb, "inprogress": options.in_progress, "extra_events": options.extra_events,
            },
            "apps": options.apps,
            "succeeded": options.apps - self.failed - self.running,
            "failed": self.failed,
            "running": self.running,
            "running_stored_bytes": self.running_stored_bytes,
            "users": self.users.len(),
            "names": self.names.len(),
            "most_tasks": self.most_tasks,
            "total": self.total.json(),
        });
        if !self.entries.is_empty() {
            let mut entries: Vec<_> = self.entries.iter().collect();
            entries.sort_by_key(|(application, _)| *application);
            manifest["app"] = entries.into_iter().map(|(_, entry)| entry.clone()).collect();
        }
        fs::write(manifest_path(&options.out), serde_json::to_vec(&manifest)?)
    }
}

/// `<corpus>.manifest.json`
pub(crate) fn manifest_path(corpus: &Path) -> PathBuf {
    let mut name = corpus.as_os_str().to_owned();
    name.push(".manifest.json");
    PathBuf::from(name)
}
