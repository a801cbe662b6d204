//! From the bytes of event logs to rows, beside what the machine can do at best: how fast, and with how much memory.
//!
//! Every block of lines goes through our code and through each limit in turn, all on one thread and timed by its CPU clock, so
//! that a busy machine slows all of them alike and the ratios hold. `benches/README.md` says what each figure means.

// The bench makes its own small corpus with the generator; not all of the generator's options are used here.
#[allow(dead_code, reason = "the command line of the generator uses the rest")]
#[path = "corpus/generator/mod.rs"]
mod generator;

use std::borrow::Cow;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::value::RawValue;
use sparkgate::event_log::{Codec, EventLog, LocalStore, LogFile, LogReader};
use sparkgate::replay::LiveApplication;

/// Bytes of lines that go through every contender in turn: beyond the caches, and small beside the rows in memory.
const BLOCK_BYTES: usize = 8 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut corpus = std::env::var_os("SPARKGATE_BENCH_CORPUS").map(PathBuf::from);
    let mut json_file = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // Cargo's own flag for benches.
            "--bench" => {}
            "--json" => json_file = Some(PathBuf::from(args.next().ok_or("--json needs a file")?)),
            flag if flag.starts_with('-') => {
                return Err(format!("usage: ingest [CORPUS] [--json FILE], not {flag}").into());
            }
            dir => corpus = Some(PathBuf::from(dir)),
        }
    }
    // Lives as long as the measurement.
    let own = tempfile::tempdir()?;
    let corpus = match corpus {
        Some(corpus) => corpus,
        None => tenth_of_big(own.path())?,
    };
    let logs = find_logs(&corpus)?;
    let report = Report {
        logs: logs.len(),
        one_core: one_core(&logs)?,
        reader: through_log_reader(&logs)?,
        all_cores: all_cores(&logs)?,
    };
    print!("{}", report.markdown());
    if let Some(file) = json_file {
        fs::write(&file, serde_json::to_vec_pretty(&report.json())?)?;
        println!("\nwritten to {}", file.display());
    }
    Ok(())
}

/// The `big` corpus with a tenth of its jobs, stages and tasks.
fn tenth_of_big(dir: &Path) -> io::Result<PathBuf> {
    let mut options = generator::Options::new(dir.join("big-tenth"))
        .preset("big")
        .expect("the preset exists");
    (options.jobs, options.stages, options.tasks) = (2, 6, 20_000);
    generator::generate(&options)?;
    Ok(options.out)
}

/// The files of each log, in order. A rolling directory is one log.
fn find_logs(corpus: &Path) -> io::Result<Vec<Vec<PathBuf>>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(corpus)? {
        let path = entry?.path();
        if path.is_dir() {
            let files: Result<Vec<_>, _> = fs::read_dir(&path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect();
            let mut files: Vec<(u64, PathBuf)> = files?
                .into_iter()
                .filter_map(|file| Some((event_file_index(&file)?, file)))
                .collect();
            files.sort();
            logs.push(files.into_iter().map(|(_, file)| file).collect());
        } else {
            logs.push(vec![path]);
        }
    }
    logs.sort();
    Ok(logs)
}

fn event_file_index(file: &Path) -> Option<u64> {
    file.file_name()?
        .to_str()?
        .strip_prefix("events_")?
        .split('_')
        .next()?
        .parse()
        .ok()
}

/// One contender's work: bytes of lines, and CPU time for them.
#[derive(Default)]
struct Work {
    bytes: u64,
    cpu: Duration,
}

impl Work {
    /// Runs `work` on `bytes` bytes and adds its CPU time on this thread.
    fn time<T>(&mut self, bytes: usize, work: impl FnOnce() -> T) -> T {
        let start = thread_cpu();
        let result = black_box(work());
        self.cpu += thread_cpu() - start;
        self.bytes += bytes as u64;
        result
    }

    fn mb_per_cpu_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.cpu.as_secs_f64()
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Most memory this process has had so far (`ru_maxrss`; Linux: kB, read from `/proc` because rustix has no getrusage).
fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Everything measured on one core.
#[derive(Default)]
struct OneCore {
    events: u64,
    rows: u64,
    ours: Work,
    read: Work,
    split: Work,
    unzstd: Work,
    serde: Work,
    rss_before: Option<u64>,
    rss_after: Option<u64>,
}

fn one_core(logs: &[Vec<PathBuf>]) -> io::Result<OneCore> {
    let mut measured = OneCore {
        rss_before: peak_rss_bytes(),
        ..OneCore::default()
    };
    for files in logs {
        let mut live = LiveApplication::new();
        for file in files {
            let mut blocks = Blocks::open(file)?;
            while let Some(block) = blocks.next(Some(&mut measured.read))? {
                measured.ours.time(block.len(), || apply_lines(&mut live, block));
                measured.events += measured
                    .split
                    .time(block.len(), || memchr::memchr_iter(b'\n', block).count())
                    as u64;
                measured.serde.time(block.len(), || parse_lines(block))?;
                let packed = zstd::bulk::compress(block, 1)?;
                measured
                    .unzstd
                    .time(block.len(), || zstd::bulk::decompress(&packed, block.len()))?;
            }
        }
        let log = Arc::new(event_log(files)?);
        measured.rows += measured.ours.time(0, || rows_of(&mut live, &log));
    }
    measured.rss_after = peak_rss_bytes();
    Ok(measured)
}

/// Wall time with one thread a core, whole logs side by side.
struct AllCores {
    threads: usize,
    bytes: u64,
    wall: Duration,
}

fn all_cores(logs: &[Vec<PathBuf>]) -> io::Result<AllCores> {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(logs.len());
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<u64> {
        let mut bytes = 0;
        while let Some(files) = logs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut live = LiveApplication::new();
            for file in files {
                let mut blocks = Blocks::open(file)?;
                while let Some(block) = blocks.next(None)? {
                    apply_lines(&mut live, block);
                    bytes += block.len() as u64;
                }
            }
            black_box(rows_of(&mut live, &Arc::new(event_log(files)?)));
        }
        Ok(bytes)
    };
    let start = Instant::now();
    let bytes = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("no worker panics"))
            .sum::<io::Result<u64>>()
    })?;
    Ok(AllCores {
        threads,
        bytes,
        wall: start.elapsed(),
    })
}

/// The same as the gateway reads: through `LocalStore` and `LogReader`, files and codecs as discovery describes them. Reads run on
/// threads of the runtime, so this is CPU time of the whole process; bytes are those of the lines.
fn through_log_reader(logs: &[Vec<PathBuf>]) -> io::Result<Work> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut work = Work::default();
    for files in logs {
        let log = Arc::new(event_log(files)?);
        let start = clock_gettime(ClockId::ProcessCPUTime);
        let bytes = runtime.block_on(async {
            let mut live = LiveApplication::new();
            let mut reader = LogReader::new(Arc::new(LocalStore), Arc::clone(&log));
            let mut bytes = 0;
            while let Some(block) = reader.next_block().await.map_err(io::Error::other)? {
                bytes += block.bytes.len() as u64;
                apply_lines(&mut live, &block.bytes);
            }
            black_box(rows_of(&mut live, &log));
            Ok::<u64, io::Error>(bytes)
        })?;
        let end = clock_gettime(ClockId::ProcessCPUTime);
        let nanos = |time: rustix::time::Timespec| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
        work.cpu += Duration::from_nanos(nanos(end) - nanos(start));
        work.bytes += bytes;
    }
    Ok(work)
}

fn apply_lines(live: &mut LiveApplication, block: &[u8]) {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', block) {
        live.apply_line(&block[start..end]);
        start = end + 1;
    }
}

fn rows_of(live: &mut LiveApplication, log: &Arc<EventLog>) -> u64 {
    let Some(rows) = live.rows(log) else { return 0 };
    rows.tables
        .values()
        .flatten()
        .map(|batch| batch.num_rows() as u64)
        .sum()
}

/// The log as discovery would describe it; the rows carry it along.
fn event_log(files: &[PathBuf]) -> io::Result<EventLog> {
    let mut log_files = Vec::new();
    for file in files {
        let codec = if is_zstd(file) { Codec::Zstd } else { Codec::None };
        let path = file.display().to_string();
        let size_bytes = fs::metadata(file)?.len();
        log_files.push(LogFile {
            path: path.as_str().into(),
            size_bytes,
            modified_ms: 0,
            codec,
            index: event_file_index(file),
            compacted: false,
        });
    }
    let path = log_files.first().map(|file| file.path.clone()).unwrap_or_default();
    Ok(EventLog {
        identity: path.trim_end_matches(".inprogress").into(),
        in_progress: path.ends_with(".inprogress"),
        open: None,
        path,
        rolling: log_files.first().is_some_and(|file| file.index.is_some()),
        size_bytes: log_files.iter().map(|file| file.size_bytes).sum(),
        files: log_files,
        modified_ms: 0,
    })
}

fn is_zstd(file: &Path) -> bool {
    file.to_string_lossy()
        .trim_end_matches(".inprogress")
        .ends_with(".zstd")
}

/// Blocks of complete lines of one file, plain or zstd; the same buffer again and again.
struct Blocks {
    input: Box<dyn Read>,
    buffer: Vec<u8>,
    /// The part of the buffer that was handed out.
    used: usize,
    /// The part that is filled.
    filled: usize,
}

impl Blocks {
    fn open(file: &Path) -> io::Result<Self> {
        let input = File::open(file)?;
        let input: Box<dyn Read> = if is_zstd(file) {
            Box::new(zstd::Decoder::new(input)?)
        } else {
            Box::new(input)
        };
        Ok(Blocks {
            input,
            buffer: vec![0; BLOCK_BYTES],
            used: 0,
            filled: 0,
        })
    }

    /// The next lines. A longer line than the buffer makes the buffer grow.
    fn next(&mut self, mut timed: Option<&mut Work>) -> io::Result<Option<&[u8]>> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        loop {
            if self.filled == self.buffer.len() {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            let free = &mut self.buffer[self.filled..];
            let length = free.len();
            let read = match &mut timed {
                Some(work) => {
                    let read = work.time(0, || self.input.read(free))?;
                    work.bytes += read as u64;
                    read
                }
                None => self.input.read(free)?,
            };
            self.filled += read;
            if read == 0 || read == length {
                match memchr::memrchr(b'\n', &self.buffer[..self.filled]) {
                    Some(end) => {
                        self.used = end + 1;
                        return Ok(Some(&self.buffer[..self.used]));
                    }
                    None if read == 0 => return Ok(None),
                    None => {}
                }
            }
        }
    }
}

/// The limit of parsing: `serde_json` into borrowed structs of the fields that the tables need, nothing kept.
fn parse_lines(block: &[u8]) -> serde_json::Result<u64> {
    let mut tasks = 0;
    for line in block.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        if line.starts_with(br#"{"Event":"SparkListenerTaskEnd""#) {
            black_box(serde_json::from_slice::<TaskEnd<'_>>(line)?);
            tasks += 1;
        } else if line.starts_with(br#"{"Event":"SparkListenerTaskStart""#) {
            black_box(serde_json::from_slice::<TaskStart<'_>>(line)?);
        } else {
            black_box(serde_json::from_slice::<OtherEvent<'_>>(line)?);
        }
    }
    Ok(tasks)
}

#[allow(dead_code, reason = "parsing them is the work that is measured")]
mod borrowed {
    use super::{Cow, Deserialize, RawValue};

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct OtherEvent<'a> {
        #[serde(borrow)]
        event: Cow<'a, str>,
    }

    #[derive(Deserialize)]
    pub(super) struct TaskStart<'a> {
        #[serde(rename = "Stage ID")]
        stage_id: i32,
        #[serde(rename = "Stage Attempt ID")]
        stage_attempt_id: i32,
        #[serde(rename = "Task Info", borrow)]
        info: TaskInfo<'a>,
    }

    #[derive(Deserialize)]
    pub(super) struct TaskEnd<'a> {
        #[serde(rename = "Stage ID")]
        stage_id: i32,
        #[serde(rename = "Stage Attempt ID")]
        stage_attempt_id: i32,
        #[serde(rename = "Task Type", borrow)]
        task_type: Cow<'a, str>,
        #[serde(rename = "Task End Reason", borrow)]
        reason: EndReason<'a>,
        #[serde(rename = "Task Info", borrow)]
        info: TaskInfo<'a>,
        #[serde(rename = "Task Metrics")]
        metrics: Option<TaskMetrics>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct EndReason<'a> {
        #[serde(borrow)]
        reason: Cow<'a, str>,
        #[serde(rename = "Full Stack Trace", borrow)]
        trace: Option<Cow<'a, str>>,
    }

    #[derive(Deserialize)]
    struct TaskInfo<'a> {
        #[serde(rename = "Task ID")]
        task_id: i64,
        #[serde(rename = "Index")]
        index: i32,
        #[serde(rename = "Attempt")]
        attempt: i32,
        #[serde(rename = "Partition ID")]
        partition_id: Option<i32>,
        #[serde(rename = "Launch Time")]
        launch: i64,
        #[serde(rename = "Executor ID", borrow)]
        executor_id: Cow<'a, str>,
        #[serde(rename = "Host", borrow)]
        host: Cow<'a, str>,
        #[serde(rename = "Locality", borrow)]
        locality: Cow<'a, str>,
        #[serde(rename = "Speculative")]
        speculative: bool,
        #[serde(rename = "Getting Result Time")]
        getting_result: i64,
        #[serde(rename = "Finish Time")]
        finish: i64,
        #[serde(rename = "Failed")]
        failed: bool,
        #[serde(rename = "Killed")]
        killed: bool,
        #[serde(rename = "Accumulables", borrow)]
        accumulables: Vec<Accumulable<'a>>,
    }

    #[derive(Deserialize)]
    struct Accumulable<'a> {
        #[serde(rename = "ID")]
        id: i64,
        #[serde(rename = "Name", borrow)]
        name: Option<Cow<'a, str>>,
        #[serde(rename = "Update", borrow)]
        update: Option<&'a RawValue>,
        #[serde(rename = "Internal")]
        internal: bool,
        #[serde(rename = "Metadata", borrow)]
        metadata: Option<Cow<'a, str>>,
    }

    #[derive(Deserialize)]
    struct TaskMetrics {
        #[serde(rename = "Executor Deserialize Time")]
        deserialize: i64,
        #[serde(rename = "Executor Deserialize CPU Time")]
        deserialize_cpu: Option<i64>,
        #[serde(rename = "Executor Run Time")]
        run: i64,
        #[serde(rename = "Executor CPU Time")]
        cpu: Option<i64>,
        #[serde(rename = "Peak Execution Memory")]
        peak_memory: Option<i64>,
        #[serde(rename = "Result Size")]
        result_size: i64,
        #[serde(rename = "JVM GC Time")]
        gc: i64,
        #[serde(rename = "Result Serialization Time")]
        serialization: i64,
        #[serde(rename = "Memory Bytes Spilled")]
        memory_spilled: i64,
        #[serde(rename = "Disk Bytes Spilled")]
        disk_spilled: i64,
        #[serde(rename = "Shuffle Read Metrics")]
        shuffle_read: Option<ShuffleRead>,
        #[serde(rename = "Shuffle Write Metrics")]
        shuffle_write: Option<ShuffleWrite>,
        #[serde(rename = "Input Metrics")]
        input: Option<Input>,
        #[serde(rename = "Output Metrics")]
        output: Option<Output>,
    }

    #[derive(Deserialize)]
    struct ShuffleRead {
        #[serde(rename = "Remote Blocks Fetched")]
        remote_blocks: i64,
        #[serde(rename = "Local Blocks Fetched")]
        local_blocks: i64,
        #[serde(rename = "Fetch Wait Time")]
        fetch_wait: i64,
        #[serde(rename = "Remote Bytes Read")]
        remote_bytes: i64,
        #[serde(rename = "Remote Bytes Read To Disk")]
        remote_bytes_to_disk: Option<i64>,
        #[serde(rename = "Local Bytes Read")]
        local_bytes: i64,
        #[serde(rename = "Total Records Read")]
        records: i64,
    }

    #[derive(Deserialize)]
    struct ShuffleWrite {
        #[serde(rename = "Shuffle Bytes Written")]
        bytes: i64,
        #[serde(rename = "Shuffle Write Time")]
        time: i64,
        #[serde(rename = "Shuffle Records Written")]
        records: i64,
    }

    #[derive(Deserialize)]
    struct Input {
        #[serde(rename = "Bytes Read")]
        bytes: i64,
        #[serde(rename = "Records Read")]
        records: i64,
    }

    #[derive(Deserialize)]
    struct Output {
        #[serde(rename = "Bytes Written")]
        bytes: i64,
        #[serde(rename = "Records Written")]
        records: i64,
    }
}
use borrowed::{OtherEvent, TaskEnd, TaskStart};

struct Report {
    logs: usize,
    one_core: OneCore,
    reader: Work,
    all_cores: AllCores,
}

impl Report {
    /// (what, its work), ours first.
    fn contenders(&self) -> Vec<(&'static str, &Work)> {
        let measured = &self.one_core;
        let mut contenders = vec![
            ("**bytes to rows (sparkgate)**", &measured.ours),
            (
                "limit: read into a buffer (of a `.zstd` file: and decompress)",
                &measured.read,
            ),
            ("limit: split into lines (memchr)", &measured.split),
            ("limit: decompress (zstd level 1, a block at a time)", &measured.unzstd),
            ("limit: parse (serde_json, borrowed structs)", &measured.serde),
        ];
        contenders.push(("reading through LogReader and replay", &self.reader));
        contenders
    }

    /// Memory on top of what the process had before, while the rows of one log at a time are kept.
    fn rss_growth(&self) -> Option<u64> {
        Some(self.one_core.rss_after? - self.one_core.rss_before?)
    }

    fn markdown(&self) -> String {
        let measured = &self.one_core;
        let build = if cfg!(debug_assertions) {
            "dev profile: **not a result**"
        } else {
            "optimised build"
        };
        let ours = measured.ours.mb_per_cpu_second();
        let per_event = measured.ours.bytes as f64 / 1e6 / measured.events as f64;
        let mut text = format!(
            "{} logs, {} events, {:.1} MB of lines, {} rows; {build}\n\n| one core | MB per CPU s | events per CPU s | ours / this |\n| --- | ---: | ---: | ---: |\n",
            self.logs,
            measured.events,
            measured.ours.bytes as f64 / 1e6,
            measured.rows
        );
        for (what, work) in self.contenders() {
            let speed = work.mb_per_cpu_second();
            text.push_str(&format!(
                "| {what} | {speed:.0} | {:.0} | {:.3} |\n",
                speed / per_event,
                ours / speed
            ));
        }
        let wall = self.all_cores.wall.as_secs_f64();
        text.push_str(&format!(
            "\n{} threads, whole logs side by side: {:.0} MB per second of wall time ({wall:.2} s)\n",
            self.all_cores.threads,
            self.all_cores.bytes as f64 / 1e6 / wall
        ));
        if let Some(growth) = self.rss_growth() {
            let rows = measured.rows.max(1);
            text.push_str(&format!(
                "peak memory while replaying: {:.1} MB, {} B a row\n",
                growth as f64 / 1e6,
                growth / rows
            ));
        }
        if measured.rows == 0 {
            text.push_str("\n**No rows came back: the replay is a skeleton, and the first line of the table says nothing yet.**\n");
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let speeds: serde_json::Map<_, _> = self
            .contenders()
            .into_iter()
            .map(|(what, work)| (what.replace('*', ""), work.mb_per_cpu_second().into()))
            .collect();
        serde_json::json!({
            "optimised": !cfg!(debug_assertions),
            "logs": self.logs,
            "events": self.one_core.events,
            "bytes": self.one_core.ours.bytes,
            "rows": self.one_core.rows,
            "mb_per_cpu_second": speeds,
            "all_cores": {
                "threads": self.all_cores.threads,
                "wall_seconds": self.all_cores.wall.as_secs_f64(),
                "mb_per_second": self.all_cores.bytes as f64 / 1e6 / self.all_cores.wall.as_secs_f64(),
            },
            "peak_rss_growth_bytes": self.rss_growth(),
        })
    }
}
