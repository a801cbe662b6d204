//! What the process says about itself: log lines on standard error. Standard output belongs to results.

use std::error::Error;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. `SPARKGATE_LOG` says what (`info`, `sparkgate=debug,info`); `default` where it does not.
///
/// The first call of a process counts; later ones (tests) change nothing. A filter that cannot be read is an error.
pub fn init(default: &str) -> Result<(), String> {
    let written = std::env::var("SPARKGATE_LOG")
        .ok()
        .filter(|text| !text.trim().is_empty());
    let text = written.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(text).map_err(|error| {
        format!("SPARKGATE_LOG: {text:?} is no filter ({error}); write a level such as info, or sparkgate=debug,info")
    })?;
    let subscriber = tracing_subscriber::fmt()
        .compact()
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .with_env_filter(filter);
    // Only a second call can fail, and it is meant to change nothing.
    subscriber.try_init().ok();
    Ok(())
}

/// An error with its causes in one sentence.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // `#[error(transparent)]` and some libraries repeat their cause.
        if !text.ends_with(&next) {
            text += ": ";
            text += &next;
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the log cannot be read")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_what_they_caused() {
        let error = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(error_chain(&error), "the log cannot be read: disk on fire");
    }
}
