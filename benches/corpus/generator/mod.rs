//! Makes corpora of event logs: deterministic by seed, in the shapes of real Spark 4.1 and 3.5 logs, with a manifest of what is in
//! them. `benches/corpus/check.py` compares both: the shapes with real logs, the manifest with the lines.
//!
//! Invariant: the same options give the same bytes, whatever the number of threads.
//! Left out on purpose: damaged logs, failed jobs, speculation, streaming. Tests have real logs for those.

mod application;
mod environment;
mod plan;
mod random;
mod sink;
mod task;

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
use sink::{Sink, Stored};
use task::{Slot, TaskNumbers};

/// Start of the first application, milliseconds since the epoch (9 October 2025); the next ones follow a minute apart.
const FIRST_START_MS: u64 = 1_760_000_000_000;
const BETWEEN_STARTS_MS: u64 = 61_000;

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
    /// Sizes, versions and kinds of log drawn per application; the five numbers above then do not count.
    pub(crate) mix: bool,
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
            mix: false,
            threads: std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64),
            out,
        }
    }

    /// The corpora of `FINDINGS.md`, by which Spark's own history server was measured.
    pub(crate) fn preset(mut self, name: &str) -> Option<Self> {
        (self.apps, self.jobs, self.stages, self.tasks, self.executors) = match name {
            "many" => (2000, 1, 2, 40, 4),
            "medium" => (50, 5, 15, 5000, 8),
            "big" => (1, 20, 60, 200_000, 40),
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
        };
        if self.mix {
            shape.draw(self);
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
}

impl Shape {
    /// A cluster's ordinary day: four of five applications are tiny, one of ten thousand is huge and has as many tasks as all those.
    fn draw(&mut self, options: &Options) {
        let mut random = Random::for_application(options.seed ^ 0x006d_6978, self.application);
        let (jobs, stages_per_job, tasks, executors) = match random.below(10_000) {
            0..8_000 => (1, 2, (2, 12), 2),
            8_000..9_700 => (2, 2, (10, 60), 4),
            9_700..9_990 => (5, 3, (100, 500), 8),
            9_990..9_999 => (20, 3, (2_000, 8_000), 20),
            _ => (40, 3, (50_000, 200_000), 40),
        };
        self.jobs = jobs;
        self.stages = jobs * stages_per_job;
        self.tasks = random.between(tasks.0, tasks.1).max(self.stages);
        self.executors = executors;
        self.spark = if random.below(10) < 3 { Spark::V3_5 } else { Spark::V4_1 };
        self.extra_events = random.below(10) == 0;
        self.in_progress |= random.below(200) == 0;
        // A tenth of the logs roll over, at `--rolling-mb` or 10 MB.
        let rolling = random.below(10) == 0;
        self.rolling_mb = match options.rolling_mb {
            _ if !rolling => 0,
            0 => 10,
            megabytes => megabytes,
        };
    }

    /// As YARN names them.
    fn app_id(&self) -> String {
        format!("application_{FIRST_START_MS}_{:04}", self.application + 1)
    }

    fn user(&self) -> String {
        format!("user{}", self.application % 23)
    }
}

/// What is in a log, or in all of them: the numbers that a server must answer.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    /// Uncompressed, newlines included.
    pub(crate) bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) jobs: u64,
    pub(crate) stages: u64,
    /// Task attempts, failed ones included.
    pub(crate) tasks: u64,
    pub(crate) failed_tasks: u64,
    pub(crate) sql: u64,
    /// Without the driver.
    pub(crate) executors: u64,
    pub(crate) run_ms: u64,
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
        self.stages += other.stages;
        self.tasks += other.tasks;
        self.failed_tasks += other.failed_tasks;
        self.sql += other.sql;
        self.executors += other.executors;
        self.run_ms += other.run_ms;
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
            "stages": self.stages,
            "tasks": self.tasks,
            "failed_tasks": self.failed_tasks,
            "sql": self.sql,
            "executors": self.executors,
            "run_ms": self.run_ms,
            "shuffle_write": self.shuffle_write,
            "shuffle_read": self.shuffle_read,
            "input_bytes": self.input_bytes,
            "output_bytes": self.output_bytes,
        })
    }
}

/// Writes the corpus into `options.out` (which must be empty or absent) and `<out>.manifest.json` beside it; the totals.
pub(crate) fn generate(options: &Options) -> io::Result<Counts> {
    if options.stages < options.jobs || options.tasks < options.stages || options.executors == 0 || options.cores == 0 {
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
    let entries: Mutex<Vec<Option<(Counts, Value)>>> = Mutex::new((0..options.apps).map(|_| None).collect());
    let work = || -> io::Result<()> {
        loop {
            let application = next.fetch_add(1, Ordering::Relaxed);
            if application >= options.apps {
                return Ok(());
            }
            let shape = options.shape(application);
            let cluster = &clusters[usize::from(shape.spark == Spark::V4_1)];
            let entry = write_application(options, &shape, cluster)?;
            entries.lock().expect("no thread panics while it holds the entries")[application as usize] = Some(entry);
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
    let entries = entries.into_inner().expect("all threads have ended");
    write_manifest(options, &entries.into_iter().flatten().collect::<Vec<_>>())
}

fn write_application(options: &Options, shape: &Shape, cluster: &ClusterEnvironment) -> io::Result<(Counts, Value)> {
    let app_id = shape.app_id();
    let mut sink = Sink::create(
        &options.out,
        &app_id,
        options.codec,
        shape.rolling_mb,
        shape.in_progress,
    )?;
    let mut counts = Application::new(shape, &app_id, &mut sink).write(cluster)?;
    let Stored { name, bytes } = sink.finish()?;
    counts.stored_bytes = bytes;

    let mut entry = json!({
        "id": app_id,
        "name": application::app_name(shape.application),
        "user": shape.user(),
        "spark": shape.spark.version(),
        "file": name,
        "complete": !shape.in_progress,
        "start": counts.start_ms,
        "end": counts.end_ms,
    });
    if let (Value::Object(entry), Value::Object(numbers)) = (&mut entry, counts.json()) {
        entry.extend(numbers);
    }
    Ok((counts, entry))
}

fn write_manifest(options: &Options, applications: &[(Counts, Value)]) -> io::Result<Counts> {
    let mut total = Counts::default();
    for (counts, _) in applications {
        total.add(counts);
    }
    let manifest = json!({
        "args": {
            "apps": options.apps, "jobs": options.jobs, "stages": options.stages, "tasks": options.tasks,
            "executors": options.executors, "cores": options.cores, "codec": options.codec.name(), "seed": options.seed,
            "spark": options.spark.name(), "fail_rate": options.fail_rate, "env_kb": options.env_kb,
            "rolling_mb": options.rolling_mb, "inprogress": options.in_progress, "extra_events": options.extra_events,
            "mix": options.mix,
        },
        "apps": applications.len(),
        "total": total.json(),
        "app": applications.iter().map(|(_, entry)| entry).collect::<Vec<_>>(),
    });
    fs::write(manifest_path(&options.out), serde_json::to_vec(&manifest)?)?;
    Ok(total)
}

/// `<corpus>.manifest.json`
pub(crate) fn manifest_path(corpus: &Path) -> PathBuf {
    let mut name = corpus.as_os_str().to_owned();
    name.push(".manifest.json");
    PathBuf::from(name)
}
