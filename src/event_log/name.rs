//! File names → parts, as Spark's `EventLogFileWriters.scala` makes them. Only text: no file is looked at.
//!
//! The application and attempt ids in a name are not taken apart (`application_1_2_3` may be either): the log itself says
//! them. Spark never compares the ids in a rolling directory's file names with the directory's, and neither do we.

use super::Codec;

/// Behind the name of what an application still writes.
const IN_PROGRESS: &str = ".inprogress";
/// Behind the name of what a history server's compaction wrote.
const COMPACTED: &str = ".compact";
/// What the name of a rolling log's directory begins with.
pub(super) const ROLLING_DIRECTORY: &str = "eventlog_v2_";
const EVENTS: &str = "events_";
const APP_STATUS: &str = "appstatus_";

/// What the name of an event log file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileName<'a> {
    /// The name without `.compact` and `.inprogress`: what stays the same when the application ends.
    pub base: &'a str,
    /// The codec, or the suffix that names none.
    pub codec: Result<Codec, &'a str>,
    /// The application still runs, or was killed.
    pub in_progress: bool,
    /// A history server's compaction made this file.
    pub compacted: bool,
}

impl<'a> FileName<'a> {
    /// Takes a file name apart. Everything has some meaning: a name without a dot is an uncompressed log.
    pub fn parse(name: &'a str) -> Self {
        // The order is Spark's (`EventLogFileWriter.codecName`): `x.compact.inprogress` has the codec `compact`, so none.
        let without_compact = name.strip_suffix(COMPACTED);
        let rest = without_compact.unwrap_or(name);
        let without_in_progress = rest.strip_suffix(IN_PROGRESS);
        let base = without_in_progress.unwrap_or(rest);
        FileName {
            base,
            codec: codec(base),
            in_progress: without_in_progress.is_some(),
            compacted: without_compact.is_some(),
        }
    }
}

/// The text after the last dot, dots at the end not counted (Java's `split`); no dot, no compression.
fn codec(base: &str) -> Result<Codec, &str> {
    match base.trim_end_matches('.').rsplit_once('.') {
        None => Ok(Codec::None),
        Some((_, suffix)) => Codec::from_suffix(suffix).ok_or(suffix),
    }
}

/// A file or directory with a leading dot is none of ours.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// Whether a directory of this name is a rolling event log.
pub fn is_rolling_directory(name: &str) -> bool {
    name.starts_with(ROLLING_DIRECTORY)
}

/// What a file in a rolling directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollingFile<'a> {
    /// `events_<n>_<app>…`; `index` is `None` if `<n>` is no number.
    Events { index: Option<u64>, name: FileName<'a> },
    /// `appstatus_<app>…`: empty, its name says whether the application still runs.
    AppStatus { in_progress: bool },
    /// `events_….compact.inprogress`: a history server is writing a compacted file.
    UnfinishedCompaction,
    /// Anything else, which Spark passes over.
    Other,
}

impl<'a> RollingFile<'a> {
    /// Takes the name of a file in a rolling directory apart.
    pub fn parse(name: &'a str) -> Self {
        if name.starts_with(APP_STATUS) {
            return RollingFile::AppStatus {
                in_progress: name.ends_with(IN_PROGRESS),
            };
        }
        let Some(rest) = name.strip_prefix(EVENTS) else {
            return RollingFile::Other;
        };
        if name
            .strip_suffix(IN_PROGRESS)
            .is_some_and(|name| name.ends_with(COMPACTED))
        {
            return RollingFile::UnfinishedCompaction;
        }
        let number = rest.split_once('_').map_or(rest, |(number, _)| number);
        // Spark's index is a Long.
        let index = number.parse::<u64>().ok().filter(|index| i64::try_from(*index).is_ok());
        RollingFile::Events {
            index,
            name: FileName::parse(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codec_is_the_text_after_the_last_dot() {
        for (name, codec) in [
            ("local-123", Ok(Codec::None)),
            ("local-123.inprogress", Ok(Codec::None)),
            ("local-123.zstd", Ok(Codec::Zstd)),
            ("local-123.zstd.inprogress", Ok(Codec::Zstd)),
            ("local-123.lz4.compact", Ok(Codec::Lz4)),
            ("local-123.LZF", Ok(Codec::Lzf)),
            ("a.b.snappy", Ok(Codec::Snappy)),
            ("application_1_2_3", Ok(Codec::None)),
            ("a b%20c+d-dev", Ok(Codec::None)),
            ("ends-with-dot.", Ok(Codec::None)),
            ("x.zstd.", Ok(Codec::Zstd)),
            ("unknown.codec-dev", Err("codec-dev")),
            ("README.md", Err("md")),
            ("x.compact.inprogress", Err("compact")),
            ("x.zstd.tmp", Err("tmp")),
            ("", Ok(Codec::None)),
            ("名前.zstd", Ok(Codec::Zstd)),
        ] {
            assert_eq!(FileName::parse(name).codec, codec, "{name}");
        }
    }

    #[test]
    fn suffixes_say_the_state_and_leave_the_base() {
        let name = FileName::parse("app_1.zstd.inprogress");
        assert_eq!(
            (name.base, name.in_progress, name.compacted),
            ("app_1.zstd", true, false)
        );
        let name = FileName::parse("app_1.zstd.compact");
        assert_eq!(
            (name.base, name.in_progress, name.compacted),
            ("app_1.zstd", false, true)
        );
        let name = FileName::parse("app_1.inprogress.compact");
        assert_eq!((name.base, name.in_progress, name.compacted), ("app_1", true, true));
    }

    #[test]
    fn files_of_a_rolling_directory_are_told_apart() {
        let index = |name| match RollingFile::parse(name) {
            RollingFile::Events { index, .. } => index,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(index("events_1_app"), Some(1));
        assert_eq!(index("events_12_application_1_2_3.zstd"), Some(12));
        assert_eq!(index("events_3_app.zstd.compact"), Some(3));
        assert_eq!(index("events_7"), Some(7));
        assert_eq!(index("events_x_app"), None);
        assert_eq!(index("events_"), None);
        assert_eq!(index("events_-1_app"), None);
        assert_eq!(index("events_99999999999999999999_app"), None);
        assert_eq!(
            RollingFile::parse("appstatus_app"),
            RollingFile::AppStatus { in_progress: false }
        );
        assert_eq!(
            RollingFile::parse("appstatus_app.inprogress"),
            RollingFile::AppStatus { in_progress: true }
        );
        assert_eq!(
            RollingFile::parse("events_3_app.compact.inprogress"),
            RollingFile::UnfinishedCompaction
        );
        assert_eq!(RollingFile::parse(".events_1_app.crc"), RollingFile::Other);
        assert!(is_rolling_directory("eventlog_v2_app") && !is_rolling_directory("eventlog_app"));
        assert!(is_hidden(".x") && !is_hidden("x."));
    }
}
