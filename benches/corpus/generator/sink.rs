//! Where the lines of one event log go: one file or a rolling directory, plain or zstd, and the count of what was written.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use zstd::stream::raw::{self, Operation};
use zstd::stream::zio;

/// Spark's default level (`spark.io.compression.zstd.level`).
const ZSTD_LEVEL: i32 = 1;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Zstd,
}

impl Codec {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Zstd => "zstd",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Codec::None => "",
            Codec::Zstd => ".zstd",
        }
    }
}

enum Output {
    Plain(BufWriter<File>),
    Zstd(zio::Writer<File, raw::Encoder<'static>>),
}

/// What compresses one log after the other: making it anew costs more than a small log.
pub(crate) struct Compressor(Option<raw::Encoder<'static>>);

impl Compressor {
    pub(crate) fn new() -> Self {
        Compressor(None)
    }

    fn take(&mut self) -> io::Result<raw::Encoder<'static>> {
        match self.0.take() {
            Some(mut encoder) => encoder.reinit().map(|()| encoder),
            None => raw::Encoder::new(ZSTD_LEVEL),
        }
    }
}

impl Output {
    fn create(path: &Path, codec: Codec, compressor: &mut Compressor) -> io::Result<Self> {
        let file = File::create(path)?;
        Ok(match codec {
            Codec::None => Output::Plain(BufWriter::with_capacity(1 << 18, file)),
            Codec::Zstd => Output::Zstd(zio::Writer::new(file, compressor.take()?)),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Output::Plain(file) => file.write_all(bytes),
            Output::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn finish(self, compressor: &mut Compressor) -> io::Result<()> {
        match self {
            Output::Plain(mut file) => file.flush(),
            Output::Zstd(mut writer) => {
                writer.finish()?;
                compressor.0 = Some(writer.into_inner().1);
                Ok(())
            }
        }
    }
}

/// What is on disk for one log.
pub(crate) struct Stored {
    /// Name of the file or directory inside the corpus.
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

pub(crate) struct Sink<'a> {
    output: Output,
    codec: Codec,
    app_id: String,
    in_progress: bool,
    /// The file, or the directory of a rolling log.
    path: PathBuf,
    rolling: Option<Rolling>,
    compressor: &'a mut Compressor,
}

struct Rolling {
    limit: u64,
    index: u64,
    file_bytes: u64,
}

impl<'a> Sink<'a> {
    pub(crate) fn create(
        dir: &Path,
        app_id: &str,
        codec: Codec,
        rolling_mb: u64,
        in_progress: bool,
        compressor: &'a mut Compressor,
    ) -> io::Result<Self> {
        let suffix = if in_progress { ".inprogress" } else { "" };
        let (path, first, rolling) = if rolling_mb == 0 {
            let path = dir.join(format!("{app_id}{}{suffix}", codec.suffix()));
            (path.clone(), path, None)
        } else {
            let path = dir.join(format!("eventlog_v2_{app_id}"));
            fs::create_dir_all(&path)?;
            File::create(path.join(format!("appstatus_{app_id}{suffix}")))?;
            let first = path.join(format!("events_1_{app_id}{}", codec.suffix()));
            (
                path,
                first,
                Some(Rolling {
                    limit: rolling_mb << 20,
                    index: 1,
                    file_bytes: 0,
                }),
            )
        };
        Ok(Sink {
            output: Output::create(&first, codec, compressor)?,
            codec,
            app_id: app_id.to_owned(),
            in_progress,
            path,
            rolling,
            compressor,
        })
    }

    /// Writes one line with its newline; Spark rolls over between lines, by uncompressed size.
    pub(crate) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(rolling) = &mut self.rolling {
            if rolling.file_bytes > 0 && rolling.file_bytes + line.len() as u64 > rolling.limit {
                rolling.index += 1;
                rolling.file_bytes = 0;
                let name = format!("events_{}_{}{}", rolling.index, self.app_id, self.codec.suffix());
                let next = Output::create(&self.path.join(name), self.codec, self.compressor)?;
                std::mem::replace(&mut self.output, next).finish(self.compressor)?;
            }
            rolling.file_bytes += line.len() as u64;
        }
        self.output.write(line)
    }

    pub(crate) fn finish(self) -> io::Result<Stored> {
        self.output.finish(self.compressor)?;
        let mut bytes = 0;
        if self.rolling.is_some() {
            for entry in fs::read_dir(&self.path)? {
                bytes += entry?.metadata()?.len();
            }
        } else {
            bytes = fs::metadata(&self.path)?.len();
        }
        let name = self
            .path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        debug_assert_eq!(
            self.in_progress && self.rolling.is_none(),
            name.ends_with(".inprogress")
        );
        Ok(Stored { name, bytes })
    }
}
