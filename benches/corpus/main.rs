//! Command line of the corpus generator; `benches/README.md` shows its use.

mod generator;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use generator::{Codec, Kind, Options, Spark};

const USAGE: &str = "\
usage: gen_corpus --out DIR [--preset many|medium|big|mix|scan] [--apps N] [--jobs N] [--stages N] [--tasks N] [--executors N] [--cores N]
                  [--codec none|zstd] [--seed N] [--spark 4.1|3.5] [--fail-rate F] [--env-kb N] [--rolling-mb N]
                  [--inprogress N] [--extra-events] [--mix] [--list] [--threads N]

--jobs, --stages and --tasks are per application; --tasks after --preset scan is of all. --mix draws them, and users, names, days,
versions and ends, per application. A later option overrides an earlier one, so put --preset first.
Writes the logs into DIR, which must be empty or absent, and what is in them to DIR.manifest.json: totals, and each application
where they are at most 5,000 or --list is given.";

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    match generator::generate(&options) {
        Ok(total) => {
            println!(
                "{}: {} applications, {} events, {} tasks, {:.2} GB of lines, {:.2} GB stored, in {:.1} s",
                options.out.display(),
                options.apps,
                total.events,
                total.tasks,
                total.bytes as f64 / 1e9,
                total.stored_bytes as f64 / 1e9,
                start.elapsed().as_secs_f64()
            );
            println!("manifest: {}", generator::manifest_path(&options.out).display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", options.out.display());
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::new(PathBuf::new());
    while let Some(name) = args.next() {
        match name.as_str() {
            "--mix" => {
                options.kind = Kind::Mix;
                continue;
            }
            "--list" => {
                options.list = true;
                continue;
            }
            "--extra-events" => {
                options.extra_events = true;
                continue;
            }
            "--help" | "-h" => return Err("gen_corpus: makes event logs".to_owned()),
            _ => {}
        }
        let value = args
            .next()
            .ok_or_else(|| format!("{name} needs a value, or is not known"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{name}: {value:?} is not a number"))
        };
        match name.as_str() {
            "--out" => options.out = PathBuf::from(value.trim_end_matches('/')),
            "--preset" => {
                options = options
                    .preset(&value)
                    .ok_or_else(|| format!("--preset: {value:?} is not known"))?
            }
            "--apps" => options.apps = number()?,
            "--jobs" => options.jobs = number()?,
            "--stages" => options.stages = number()?,
            "--tasks" => options.tasks = number()?,
            "--executors" => options.executors = number()?,
            "--cores" => options.cores = number()?,
            "--seed" => options.seed = number()?,
            "--env-kb" => options.env_kb = number()? as usize,
            "--rolling-mb" => options.rolling_mb = number()?,
            "--inprogress" => options.in_progress = number()?,
            "--threads" => options.threads = number()?,
            "--fail-rate" => {
                options.fail_rate = value
                    .parse()
                    .map_err(|_| format!("{name}: {value:?} is not a number"))?
            }
            "--codec" => {
                options.codec = match value.as_str() {
                    "none" => Codec::None,
                    "zstd" => Codec::Zstd,
                    _ => return Err(format!("--codec: {value:?} is neither none nor zstd")),
                }
            }
            "--spark" => {
                options.spark = match value.as_str() {
                    "4.1" => Spark::V4_1,
                    "3.5" => Spark::V3_5,
                    _ => return Err(format!("--spark: {value:?} is neither 4.1 nor 3.5")),
                }
            }
            _ => return Err(format!("{name} is not known")),
        }
    }
    if options.out.as_os_str().is_empty() {
        return Err("--out is missing".to_owned());
    }
    Ok(options)
}
