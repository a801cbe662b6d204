//! What a statement is to the door: a query for the engine, or one of the words about the session that the door answers itself.
//!
//! Read from tokens, so that the queries inside (`COPY (…) TO STDOUT`) stay the client's own text.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::error::{PgError, Place};
use crate::server::sql_text::{Lexeme, lexemes};

/// What a transaction is said to be; all are alike, as nothing changes what a statement reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Modes {
    pub(super) isolation: Option<&'static str>,
    /// `on` or `off`.
    pub(super) deferrable: Option<&'static str>,
}

impl Modes {
    /// Settings that show them, and what they are set to.
    pub(super) fn settings(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let settings = [
            ("transaction_isolation", self.isolation),
            ("transaction_deferrable", self.deferrable),
        ];
        settings.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Query(String),
    /// `value` `None` is `DEFAULT`.
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    Show(String),
    ShowAll,
    Reset(String),
    ResetAll,
    Begin {
        tag: &'static str,
        modes: Modes,
    },
    SetTransaction(Modes),
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION`.
    SetCharacteristics(Modes),
    /// `chain` begins the next one at once.
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    /// Known words without effect here, answered with this tag: `LISTEN`, `DISCARD PLANS`, …
    Accept {
        tag: &'static str,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    DiscardAll,
    Declare {
        name: String,
        options: CursorOptions,
        sql: String,
    },
    Fetch {
        name: String,
        direction: Direction,
        moves: bool,
    },
    CloseCursor(Option<String>),
    CopyOut {
        sql: String,
        format: CopyFormat,
    },
    Prepare {
        name: String,
        types: Vec<String>,
        sql: String,
    },
    Execute {
        name: String,
        arguments: Option<String>,
    },
    Deallocate(Option<String>),
}

/// What `DECLARE` says of a cursor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CursorOptions {
    /// It outlives its transaction.
    pub(super) hold: bool,
    /// Rows go out in the binary format.
    pub(super) binary: bool,
    /// `Some(true)` keeps rows to come back to, `Some(false)` forbids to ask for that.
    pub(super) scroll: Option<bool>,
}

/// Rows a `FETCH` asks for, from where the cursor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward(Count),
    Backward(Count),
    /// The row with this number, from the end if it is negative; 0 is before the first.
    Absolute(i64),
    Relative(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    Rows(usize),
    All,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum CopyFormat {
    Text {
        delimiter: u8,
        null: String,
        header: bool,
    },
    Csv {
        delimiter: u8,
        quote: u8,
        escape: u8,
        null: String,
        header: bool,
        force_quote: ForceQuote,
    },
    Binary,
}

/// Columns whose values are quoted even where nothing in them asks for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum ForceQuote {
    #[default]
    None,
    All,
    Columns(Vec<String>),
}

impl ForceQuote {
    pub(super) fn covers(&self, column: &str) -> bool {
        match self {
            ForceQuote::None => false,
            ForceQuote::All => true,
            ForceQuote::Columns(names) => names.iter().any(|name| name == column),
        }
    }
}

impl Command {
    pub(super) fn parse(sql: &str) -> Result<Command, PgError> {
        let mut words = Words {
            sql,
            tokens: lexemes(sql)?,
            at: 0,
        };
        words.command()
    }

    /// What may still be said in a failed transaction.
    pub(super) fn ends_failure(&self) -> bool {
        matches!(
            self,
            Command::Commit { .. } | Command::Rollback { .. } | Command::RollbackTo(_)
        )
    }
}

struct Words<'a> {
    sql: &'a str,
    tokens: Vec<Lexeme>,
    at: usize,
}

type Parsed<T> = Result<T, PgError>;

impl Words<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|lexeme| &lexeme.token)
    }

    /// The next token as an upper-case keyword.
    fn word(&self) -> String {
        match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_uppercase(),
            _ => String::new(),
        }
    }

    fn eat(&mut self, keyword: &str) -> bool {
        let found = self.word() == keyword;
        self.at += usize::from(found);
        found
    }

    fn eat_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.eat(keyword))
    }

    fn eat_token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    fn unexpected<T>(&self) -> Parsed<T> {
        Err(match self.tokens.get(self.at) {
            Some(lexeme) => PgError {
                place: Some(Place::Byte(lexeme.start)),
                ..PgError::new(
                    "42601",
                    format!("syntax error at or near \"{}\"", &self.sql[lexeme.start..lexeme.end]),
                )
            },
            None => PgError::new("42601", "syntax error at end of input"),
        })
    }

    fn end<T>(&self, command: T) -> Parsed<T> {
        if self.done() { Ok(command) } else { self.unexpected() }
    }

    fn name(&mut self) -> Parsed<String> {
        let name = match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_some() => word.value.clone(),
            Some(Token::Word(word)) => word.value.to_lowercase(),
            _ => return self.unexpected(),
        };
        self.at += 1;
        Ok(name)
    }

    fn rest(&mut self) -> Parsed<String> {
        let (Some(first), Some(last)) = (self.tokens.get(self.at), self.tokens.last()) else {
            return self.unexpected();
        };
        let text = self.sql[first.start..last.end].to_string();
        self.at = self.tokens.len();
        Ok(text)
    }

    fn string(&mut self) -> Parsed<String> {
        let text = match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text.clone(),
            _ => return self.unexpected(),
        };
        self.at += 1;
        Ok(text)
    }

    /// The text between a parenthesis that is open at this token and its end.
    fn parenthesised(&mut self) -> Parsed<String> {
        let open = self.at;
        let mut depth = 0;
        while let Some(token) = self.peek() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(self.sql[self.tokens[open].end..self.tokens[self.at - 1].start].to_string());
            }
        }
        self.unexpected()
    }

    fn command(&mut self) -> Parsed<Command> {
        let first = self.word();
        self.at += 1;
        match first.as_str() {
            "SET" => self.set(),
            "SHOW" => self.show(),
            "RESET" if self.eat("ALL") => self.end(Command::ResetAll),
            "RESET" => {
                let name = self.setting_name()?;
                self.end(Command::Reset(name))
            }
            "BEGIN" => self.begin("BEGIN"),
            "START" if self.eat("TRANSACTION") => self.begin("START TRANSACTION"),
            "COMMIT" | "END" => {
                let chain = self.transaction_end()?;
                self.end(Command::Commit { chain })
            }
            "ABORT" => {
                let chain = self.transaction_end()?;
                self.end(Command::Rollback { chain })
            }
            "ROLLBACK" => {
                self.eat_any(&["WORK", "TRANSACTION"]);
                if self.eat("TO") {
                    self.eat("SAVEPOINT");
                    let name = self.name()?;
                    return self.end(Command::RollbackTo(name));
                }
                let chain = self.transaction_end()?;
                self.end(Command::Rollback { chain })
            }
            "SAVEPOINT" => {
                let name = self.name()?;
                self.end(Command::Savepoint(name))
            }
            "RELEASE" => {
                self.eat("SAVEPOINT");
                let name = self.name()?;
                self.end(Command::Release(name))
            }
            "DISCARD" if self.eat("ALL") => self.end(Command::DiscardAll),
            "DISCARD" if self.eat("PLANS") => self.end(Command::Accept { tag: "DISCARD PLANS" }),
            "DISCARD" if self.eat_any(&["SEQUENCES", "TEMP", "TEMPORARY"]) => {
                self.end(Command::Accept { tag: "DISCARD" })
            }
            "LISTEN" => Ok(Command::Accept { tag: "LISTEN" }),
            "UNLISTEN" => Ok(Command::Accept { tag: "UNLISTEN" }),
            "DECLARE" => self.declare(),
            "FETCH" => self.fetch(false),
            "MOVE" => self.fetch(true),
            "CLOSE" => {
                let cursor = if self.eat("ALL") { None } else { Some(self.name()?) };
                self.end(Command::CloseCursor(cursor))
            }
            "COPY" => self.copy(),
            "PREPARE" => self.prepare(),
            "EXECUTE" => {
                let name = self.name()?;
                let arguments = if self.done() { None } else { Some(self.parenthesised()?) };
                self.end(Command::Execute { name, arguments })
            }
            "DEALLOCATE" => {
                self.eat("PREPARE");
                let name = if self.eat("ALL") { None } else { Some(self.name()?) };
                self.end(Command::Deallocate(name))
            }
            _ => Ok(Command::Query(self.sql.to_string())),
        }
    }

    fn begin(&mut self, tag: &'static str) -> Parsed<Command> {
        self.eat_any(&["WORK", "TRANSACTION"]);
        let modes = self.modes()?;
        self.end(Command::Begin { tag, modes })
    }

    fn modes(&mut self) -> Parsed<Modes> {
        let mut modes = Modes::default();
        while !self.done() {
            if self.eat("READ") {
                if self.eat("WRITE") {
                    // Accepted: clients ask for it by habit, and what would write fails by itself.
                } else if !self.eat("ONLY") {
                    return self.unexpected();
                }
            } else if self.eat("ISOLATION") {
                if !self.eat("LEVEL") {
                    return self.unexpected();
                }
                modes.isolation = Some(if self.eat("SERIALIZABLE") {
                    "serializable"
                } else if self.eat("REPEATABLE") && self.eat("READ") {
                    "repeatable read"
                } else if self.eat("READ") && self.eat("COMMITTED") {
                    "read committed"
                } else if self.eat("UNCOMMITTED") {
                    "read uncommitted"
                } else {
                    return self.unexpected();
                });
            } else {
                let value = if self.eat("NOT") { "off" } else { "on" };
                if !self.eat("DEFERRABLE") {
                    return self.unexpected();
                }
                modes.deferrable = Some(value);
            }
            self.eat_token(&Token::Comma);
        }
        Ok(modes)
    }

    /// Whether the next transaction is to begin at once.
    fn transaction_end(&mut self) -> Parsed<bool> {
        self.eat_any(&["WORK", "TRANSACTION"]);
        if !self.eat("AND") {
            return Ok(false);
        }
        let chain = !self.eat("NO");
        if !self.eat("CHAIN") {
            return self.unexpected();
        }
        Ok(chain)
    }

    fn setting_name(&mut self) -> Parsed<String> {
        if self.eat("TIME") {
            return if self.eat("ZONE") {
                Ok("TimeZone".into())
            } else {
                self.unexpected()
            };
        }
        if self.eat("SESSION") {
            return if self.eat("AUTHORIZATION") {
                Ok("session_authorization".into())
            } else {
                self.unexpected()
            };
        }
        if self.word() == "TRANSACTION" {
            self.at += 1;
            return if self.eat("ISOLATION") && self.eat("LEVEL") {
                Ok("transaction_isolation".into())
            } else {
                self.unexpected()
            };
        }
        let mut name = self.name()?;
        while self.eat_token(&Token::Period) {
            name = format!("{name}.{}", self.name()?);
        }
        Ok(name)
    }

    fn show(&mut self) -> Parsed<Command> {
        if self.eat("ALL") {
            return self.end(Command::ShowAll);
        }
        let name = self.setting_name()?;
        self.end(Command::Show(name))
    }

    fn set(&mut self) -> Parsed<Command> {
        if self.word() == "SESSION" && self.tokens.len() > self.at + 1 {
            self.at += 1;
            if self.eat("CHARACTERISTICS") {
                if !(self.eat("AS") && self.eat("TRANSACTION")) {
                    return self.unexpected();
                }
                let modes = self.modes()?;
                return self.end(Command::SetCharacteristics(modes));
            }
            if self.eat("AUTHORIZATION") {
                return Err(PgError::new("0A000", "SET SESSION AUTHORIZATION is not supported"));
            }
        }
        if self.eat("TRANSACTION") {
            let modes = self.modes()?;
            return self.end(Command::SetTransaction(modes));
        }
        let local = self.eat("LOCAL");
        if self.eat("ROLE") {
            return if self.eat_any(&["NONE", "DEFAULT"]) {
                self.end(Command::Accept { tag: "SET" })
            } else {
                Err(PgError::new("0A000", "SET ROLE is not supported"))
            };
        }
        if self.eat("NAMES") {
            let value = if self.done() { None } else { Some(self.value()?) };
            return self.end(Command::Set {
                name: "client_encoding".into(),
                value,
                local,
            });
        }
        let zone = self.word() == "TIME";
        let name = self.setting_name()?;
        if !zone && !self.eat("TO") && !self.eat_token(&Token::Eq) {
            return self.unexpected();
        }
        if self.eat("DEFAULT") {
            return self.end(Command::Set {
                name,
                value: None,
                local,
            });
        }
        let mut value = self.value()?;
        while self.eat_token(&Token::Comma) {
            value = format!("{value}, {}", self.value()?);
        }
        self.end(Command::Set {
            name,
            value: Some(value),
            local,
        })
    }

    fn value(&mut self) -> Parsed<String> {
        self.eat("INTERVAL");
        let sign = if self.eat_token(&Token::Minus) {
            "-"
        } else {
            self.eat_token(&Token::Plus);
            ""
        };
        let value = match self.peek() {
            Some(Token::Number(number, _)) => format!("{sign}{number}"),
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text.clone(),
            Some(Token::Word(word)) => word.value.clone(),
            _ => return self.unexpected(),
        };
        self.at += 1;
        Ok(value)
    }

    fn declare(&mut self) -> Parsed<Command> {
        let name = self.name()?;
        let mut options = CursorOptions::default();
        loop {
            if self.eat("NO") {
                if !self.eat("SCROLL") {
                    return self.unexpected();
                }
                options.scroll = Some(false);
            } else if self.eat("SCROLL") {
                options.scroll = Some(true);
            } else if self.eat("BINARY") {
                options.binary = true;
            } else if !self.eat_any(&["INSENSITIVE", "ASENSITIVE"]) {
                break;
            }
        }
        if !self.eat("CURSOR") {
            return self.unexpected();
        }
        options.hold = self.eat("WITH");
        if (options.hold || self.eat("WITHOUT")) && !self.eat("HOLD") {
            return self.unexpected();
        }
        if !self.eat("FOR") {
            return self.unexpected();
        }
        Ok(Command::Declare {
            name,
            options,
            sql: self.rest()?,
        })
    }

    fn fetch(&mut self, moves: bool) -> Parsed<Command> {
        let direction = match self.word().as_str() {
            word @ ("NEXT" | "PRIOR" | "FIRST" | "LAST" | "ALL") => {
                self.at += 1;
                match word {
                    "NEXT" => Direction::Forward(Count::Rows(1)),
                    "PRIOR" => Direction::Backward(Count::Rows(1)),
                    "FIRST" => Direction::Absolute(1),
                    "LAST" => Direction::Absolute(-1),
                    _ => Direction::Forward(Count::All),
                }
            }
            "ABSOLUTE" => {
                self.at += 1;
                Direction::Absolute(self.required_number()?)
            }
            "RELATIVE" => {
                self.at += 1;
                Direction::Relative(self.required_number()?)
            }
            word @ ("FORWARD" | "BACKWARD") => {
                self.at += 1;
                let sign = if word == "FORWARD" { 1 } else { -1 };
                if self.eat("ALL") {
                    match sign {
                        1 => Direction::Forward(Count::All),
                        _ => Direction::Backward(Count::All),
                    }
                } else {
                    by(self.number()?.unwrap_or(1).saturating_mul(sign))
                }
            }
            _ => by(self.number()?.unwrap_or(1)),
        };
        self.eat_any(&["FROM", "IN"]);
        let name = self.name()?;
        self.end(Command::Fetch { name, direction, moves })
    }

    fn required_number(&mut self) -> Parsed<i64> {
        match self.number()? {
            Some(number) => Ok(number),
            None => self.unexpected(),
        }
    }

    fn number(&mut self) -> Parsed<Option<i64>> {
        let sign = match self.peek() {
            Some(Token::Minus) => -1,
            Some(Token::Plus) => 1,
            Some(Token::Number(..)) => 0,
            _ => return Ok(None),
        };
        self.at += usize::from(sign != 0);
        let Some(Token::Number(digits, _)) = self.peek() else {
            return self.unexpected();
        };
        let Ok(number) = digits.parse::<i64>() else {
            return self.unexpected();
        };
        self.at += 1;
        Ok(Some(if sign < 0 { -number } else { number }))
    }

    fn prepare(&mut self) -> Parsed<Command> {
        let name = self.name()?;
        let types = if self.peek() == Some(&Token::LParen) {
            self.parenthesised()?
                .split(',')
                .map(|name| name.trim().to_lowercase())
                .collect()
        } else {
            Vec::new()
        };
        if !self.eat("AS") {
            return self.unexpected();
        }
        Ok(Command::Prepare {
            name,
            types,
            sql: self.rest()?,
        })
    }

    fn copy(&mut self) -> Parsed<Command> {
        let sql = if self.peek() == Some(&Token::LParen) {
            self.parenthesised()?
        } else {
            let start = self.at;
            self.name()?;
            while self.eat_token(&Token::Period) {
                self.name()?;
            }
            let table = self.sql[self.tokens[start].start..self.tokens[self.at - 1].end].to_string();
            let columns = if self.peek() == Some(&Token::LParen) {
                self.parenthesised()?
            } else {
                "*".into()
            };
            format!("SELECT {columns} FROM {table}")
        };
        if self.eat("FROM") {
            return Err(PgError::new(
                "25006",
                "cannot execute COPY FROM in a read-only transaction",
            ));
        }
        if !self.eat("TO") {
            return self.unexpected();
        }
        if !self.eat("STDOUT") {
            return Err(PgError::new(
                "25006",
                "COPY to a file or program of the server is not allowed: everything here is read-only",
            ));
        }
        let format = self.copy_options()?;
        self.end(Command::CopyOut { sql, format })
    }

    fn copy_options(&mut self) -> Parsed<CopyFormat> {
        let mut options = CopyOptions::default();
        self.eat("WITH");
        let bracketed = self.eat_token(&Token::LParen);
        while !self.done() {
            if bracketed && self.eat_token(&Token::RParen) {
                break;
            }
            let option = self.word();
            self.at += 1;
            match option.as_str() {
                "FORMAT" => options.format = self.option_value()?.to_lowercase(),
                "CSV" | "BINARY" if !bracketed => options.format = option.to_lowercase(),
                "HEADER" => options.header = self.switch(bracketed)?,
                "FREEZE" | "OIDS" => {
                    // About COPY FROM, or of old; without a meaning here.
                    self.switch(bracketed)?;
                }
                "DELIMITER" => {
                    self.eat("AS");
                    options.delimiter = Some(self.one_byte("delimiter")?);
                }
                "NULL" => {
                    self.eat("AS");
                    options.null = Some(self.string()?);
                }
                "QUOTE" => {
                    self.eat("AS");
                    options.quote = Some(self.one_byte("quote")?);
                }
                "ESCAPE" => {
                    self.eat("AS");
                    options.escape = Some(self.one_byte("escape")?);
                }
                "FORCE_QUOTE" => options.force_quote = self.force_quote()?,
                "FORCE" if self.eat("QUOTE") => options.force_quote = self.force_quote()?,
                "ENCODING" => {
                    if !self.string()?.replace('-', "").eq_ignore_ascii_case("utf8") {
                        return Err(PgError::new("0A000", "COPY is in UTF8 only"));
                    }
                }
                _ => {
                    self.at -= 1;
                    return self.unexpected();
                }
            }
            self.eat_token(&Token::Comma);
        }
        options.finish()
    }

    /// A word or a text, as PostgreSQL lets both stand for an option's value.
    fn option_value(&mut self) -> Parsed<String> {
        match self.peek() {
            Some(Token::Number(number, _)) => {
                let number = number.clone();
                self.at += 1;
                Ok(number)
            }
            Some(Token::Word(_)) => self.name(),
            _ => self.string(),
        }
    }

    /// The value of a boolean option, which is on where none is given. The old syntax, without parentheses, has none.
    fn switch(&mut self, bracketed: bool) -> Parsed<bool> {
        if !bracketed || self.done() || matches!(self.peek(), Some(Token::Comma | Token::RParen)) {
            return Ok(true);
        }
        match self.option_value()?.to_lowercase().as_str() {
            "true" | "on" | "1" => Ok(true),
            "false" | "off" | "0" => Ok(false),
            _ => {
                self.at -= 1;
                self.unexpected()
            }
        }
    }

    fn force_quote(&mut self) -> Parsed<ForceQuote> {
        if self.eat_token(&Token::Mul) {
            return Ok(ForceQuote::All);
        }
        let bracketed = self.eat_token(&Token::LParen);
        let mut names = vec![self.name()?];
        while self.eat_token(&Token::Comma) {
            names.push(self.name()?);
        }
        if bracketed && !self.eat_token(&Token::RParen) {
            return self.unexpected();
        }
        Ok(ForceQuote::Columns(names))
    }

    fn one_byte(&mut self, what: &str) -> Parsed<u8> {
        match self.string()?.as_bytes() {
            [byte] => Ok(*byte),
            _ => Err(PgError::new(
                "0A000",
                format!("COPY {what} must be a single one-byte character"),
            )),
        }
    }
}

/// `FETCH n`: backward if it is negative.
fn by(rows: i64) -> Direction {
    let count = Count::Rows(usize::try_from(rows.unsigned_abs()).unwrap_or(usize::MAX));
    if rows < 0 {
        Direction::Backward(count)
    } else {
        Direction::Forward(count)
    }
}

#[derive(Debug, Default)]
struct CopyOptions {
    format: String,
    header: bool,
    delimiter: Option<u8>,
    null: Option<String>,
    quote: Option<u8>,
    escape: Option<u8>,
    force_quote: ForceQuote,
}

impl CopyOptions {
    fn finish(self) -> Parsed<CopyFormat> {
        let quote = self.quote.unwrap_or(b'"');
        match self.format.as_str() {
            "" | "text" => Ok(CopyFormat::Text {
                delimiter: self.delimiter.unwrap_or(b'\t'),
                null: self.null.unwrap_or_else(|| "\\N".into()),
                header: self.header,
            }),
            "csv" => Ok(CopyFormat::Csv {
                delimiter: self.delimiter.unwrap_or(b','),
                quote,
                escape: self.escape.unwrap_or(quote),
                null: self.null.unwrap_or_default(),
                header: self.header,
                force_quote: self.force_quote,
            }),
            "binary" => Ok(CopyFormat::Binary),
            other => Err(PgError::new("22023", format!("COPY format \"{other}\" not recognized"))),
        }
    }
}
