//! An error as the wire carries it.

use bytes::{BufMut, BytesMut};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::command::Command;
use super::wire::{WireError, message, put_text};
use crate::server::auth::Refusal;
use crate::server::error::END_OF_INPUT;
use crate::server::query::QueryError;
use crate::server::sql_text::{Lexeme, lexemes};

/// What goes into an `ErrorResponse`.
#[derive(Debug, Clone)]
pub(super) struct PgError {
    pub(super) code: &'static str,
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: Option<&'static str>,
    /// Where in the text it is.
    pub(super) place: Option<Place>,
    /// The connection ends with it.
    pub(super) fatal: bool,
}

/// A place in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Both from 1, columns in characters.
    Line(u64, u64),
    Byte(usize),
    /// Behind the last character.
    End,
    /// Where this name stands for the first time, `t.c` in parts.
    Name(String),
    /// Characters from 1, in all that the client sent: PostgreSQL's field `P`.
    Position(usize),
}

/// The byte where a name, in one or more parts, stands in a statement.
fn first_byte_of(name: &str, statement: &str) -> Option<usize> {
    // Functions are named with the types of their arguments.
    let name = name.split('(').next().unwrap_or(name);
    let parts: Vec<&str> = name.split('.').map(|part| part.trim_matches('"')).collect();
    let tokens = lexemes(statement).ok()?;
    let is_part = |lexeme: &Lexeme, part: &str| match &lexeme.token {
        Token::Word(word) if word.quote_style.is_some() => word.value == part,
        Token::Word(word) => word.value.eq_ignore_ascii_case(part),
        _ => false,
    };
    let stands_at = |at: usize, parts: &[&str]| {
        parts.iter().enumerate().all(|(index, part)| {
            let word = tokens.get(at + 2 * index).is_some_and(|lexeme| is_part(lexeme, part));
            word && (index == 0 || tokens[at + 2 * index - 1].token == Token::Period)
        })
    };
    // The planner may say more parts of a name than the statement does.
    (0..parts.len()).find_map(|left_out| {
        let parts = &parts[left_out..];
        let at = (0..tokens.len()).find(|at| stands_at(*at, parts))?;
        Some(tokens[at].start)
    })
}

/// A warning: the statement goes on.
pub(super) fn warning(out: &mut BytesMut, code: &str, text: &str) {
    report(out, b'N', "WARNING", [(b'C', code), (b'M', text)]);
}

fn report<'a>(out: &mut BytesMut, kind: u8, severity: &'a str, fields: impl IntoIterator<Item = (u8, &'a str)>) {
    message(out, kind, |out| {
        for (field, value) in [(b'S', severity), (b'V', severity)].into_iter().chain(fields) {
            out.put_u8(field);
            put_text(out, value);
        }
        out.put_u8(0);
    });
}

impl PgError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        PgError {
            code,
            message: message.into(),
            hint: None,
            place: None,
            fatal: false,
        }
    }

    pub(super) fn with_hint(self, hint: &'static str) -> Self {
        PgError {
            hint: Some(hint),
            ..self
        }
    }

    pub(super) fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        PgError {
            code,
            message: message.into(),
            hint: None,
            place: None,
            fatal: true,
        }
    }

    /// With its place as one in `whole`, of which `statement` is a part. What is wrong with a query inside of another statement, such as
    /// `COPY`, has a place in that query alone, which is not told.
    fn located(mut self, whole: &str, statement: &str) -> Self {
        let has_query_inside = Command::parse(statement).is_ok_and(|command| !matches!(command, Command::Query(_)));
        if has_query_inside {
            return self;
        }
        let start = (statement.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        let before = whole.get(..start).map_or(0, |text| text.chars().count());
        let within = match &self.place {
            Some(Place::Line(line, column)) => {
                let (line, column) = (*line, *column);
                let lines = statement.split_inclusive('\n');
                let above = lines.take(usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX));
                let above: usize = above.map(|line| line.chars().count()).sum();
                Some(above + usize::try_from(column).unwrap_or(0))
            }
            Some(Place::Byte(byte)) => statement.get(..*byte).map(|text| text.chars().count() + 1),
            Some(Place::End) => Some(statement.chars().count() + 1),
            Some(Place::Name(name)) => {
                first_byte_of(name, statement).and_then(|byte| Some(statement.get(..byte)?.chars().count() + 1))
            }
            Some(Place::Position(_)) | None => return self,
        };
        self.place = within.map(|within| Place::Position(before + within));
        self
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        let severity = if self.fatal { "FATAL" } else { "ERROR" };
        let position = match self.place {
            Some(Place::Position(position)) => Some(position.to_string()),
            _ => None,
        };
        let fields = [(b'C', self.code), (b'M', self.message.as_str())];
        let more = [(b'H', self.hint), (b'P', position.as_deref())];
        let more = more.into_iter().filter_map(|(field, value)| Some((field, value?)));
        report(out, b'E', severity, fields.into_iter().chain(more));
    }
}

impl From<QueryError> for PgError {
    fn from(error: QueryError) -> Self {
        let status = error.status();
        let place = match &error {
            QueryError::Syntax {
                at: Some((line, column)),
                ..
            } => Some(Place::Line(*line, *column)),
            QueryError::Syntax { message, at: None } if message.starts_with(END_OF_INPUT) => Some(Place::End),
            QueryError::UnknownTable { name }
            | QueryError::UnknownColumn { name }
            | QueryError::UnknownFunction { name }
            | QueryError::AmbiguousColumn { name } => Some(Place::Name(name.clone())),
            _ => None,
        };
        PgError {
            code: status.sqlstate,
            message: error.to_string(),
            hint: None,
            place,
            fatal: status.fatal,
        }
    }
}

impl From<Refusal> for PgError {
    fn from(refusal: Refusal) -> Self {
        PgError::fatal(refusal.status().sqlstate, refusal.to_string())
    }
}

/// Why work for a client stops: it made an error and hears of it, or it is gone.
#[derive(Debug)]
pub(super) enum Stop {
    Error(PgError),
    Gone(WireError),
}

impl Stop {
    /// With the place of an error as one in `whole`, of which `statement` is a part.
    pub(super) fn located(self, whole: &str, statement: &str) -> Self {
        match self {
            Stop::Error(error) => Stop::Error(error.located(whole, statement)),
            gone => gone,
        }
    }
}

impl From<PgError> for Stop {
    fn from(error: PgError) -> Self {
        Stop::Error(error)
    }
}

impl From<QueryError> for Stop {
    fn from(error: QueryError) -> Self {
        Stop::Error(error.into())
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Error(refusal.into())
    }
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Stop::Gone(error)
    }
}
