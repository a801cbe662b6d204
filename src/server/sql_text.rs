//! Where statements and words begin and end in a text: the tokenizer's view, with byte positions.
//!
//! Doors need pieces of the client's own text (the query inside `COPY (…) TO STDOUT`), and a piece of text survives where a syntax tree printed back
//! may not.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};

use super::error::{QueryError, syntax};

/// One token that is neither white space nor comment, and the bytes it covers.
#[derive(Debug, Clone)]
pub(crate) struct Lexeme {
    pub(crate) token: Token,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// All tokens that mean something.
pub(crate) fn lexemes(sql: &str) -> Result<Vec<Lexeme>, QueryError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| syntax(&error.to_string()))?;
    let mut positions = Positions::new(sql);
    Ok(tokens
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))
        .map(|token| {
            let start = positions.byte(token.span.start);
            let end = positions.byte(token.span.end);
            Lexeme {
                token: token.token,
                start,
                end,
            }
        })
        .collect())
}

/// The statements of a text, without separators; empty ones are left out.
pub(crate) fn split_statements(sql: &str) -> Result<Vec<&str>, QueryError> {
    let mut statements = Vec::new();
    let mut first: Option<usize> = None;
    let mut last = 0;
    for lexeme in lexemes(sql)? {
        if lexeme.token == Token::SemiColon {
            if let Some(start) = first.take() {
                statements.push(&sql[start..last]);
            }
        } else {
            first.get_or_insert(lexeme.start);
            last = lexeme.end;
        }
    }
    if let Some(start) = first {
        statements.push(&sql[start..last]);
    }
    Ok(statements)
}

/// Lines and columns (in characters) to bytes. Asked in ascending order only, so one pass over the text serves all.
struct Positions<'a> {
    rest: std::str::CharIndices<'a>,
    length: usize,
    line: u64,
    column: u64,
    byte: usize,
}

impl<'a> Positions<'a> {
    fn new(sql: &'a str) -> Self {
        Positions {
            rest: sql.char_indices(),
            length: sql.len(),
            line: 1,
            column: 1,
            byte: 0,
        }
    }

    fn byte(&mut self, location: Location) -> usize {
        while (self.line, self.column) < (location.line, location.column) {
            let Some((at, character)) = self.rest.next() else {
                self.byte = self.length;
                break;
            };
            self.byte = at + character.len_utf8();
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.byte
    }
}
