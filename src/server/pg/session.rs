//! One connection after its handshake: what it remembers, and what each command does to it.
//!
//! The two protocols ([`super::simple`], [`super::extended`]) only differ in how they ask; both end in [`Session::begin`] and
//! [`Session::finish`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::command::{Command, CopyFormat, Count};
use super::encode::{Column, columns};
use super::error::{PgError, Stop};
use super::rows::{Cursor, Deadline, Form, Interrupts, copy_begin, copy_end, missing, text_schema};
use super::settings::Settings;
use super::wire::{Wire, command_complete, message, parameter_status};
use crate::catalog::SessionVars;
use crate::catalog::pg_types::{parameter_type, pg_type_by_name, pg_type_oid};
use crate::server::auth::Identity;
use crate::server::query::{Prepared, QueryEngine, QueryError};

/// Prepared statements and portals a connection may hold; each is a few kilobytes.
const MAX_NAMED: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transaction {
    Idle,
    Open,
    Failed,
}

/// A parsed statement of the extended protocol, or of SQL's `PREPARE`.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// `None` is the empty statement.
    pub(super) command: Option<Command>,
    pub(super) prepared: Option<Arc<Prepared>>,
    pub(super) parameter_oids: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Portal {
    pub(super) statement: Statement,
    pub(super) params: Vec<ScalarValue>,
    pub(super) formats: Vec<i16>,
    pub(super) state: PortalState,
    /// Survives its transaction.
    pub(super) hold: bool,
}

#[derive(Debug)]
pub(super) enum PortalState {
    New,
    Open(Box<Cursor>),
    Done,
}

/// What a command turned out to be.
#[derive(Debug)]
pub(super) enum Outcome {
    Rows(Box<Cursor>),
    Copy(Box<Cursor>, CopyFormat),
    Fetch { name: String, count: Count, moves: bool },
    Tag(String),
}

#[derive(Debug)]
pub(super) struct Session<S> {
    pub(super) wire: Wire<S>,
    pub(super) interrupts: Interrupts,
    pub(super) engine: Arc<QueryEngine>,
    pub(super) settings: Settings,
    pub(super) transaction: Transaction,
    pub(super) statements: HashMap<String, Statement>,
    pub(super) portals: HashMap<String, Portal>,
    pub(super) identity: Identity,
    /// The door's own limit.
    pub(super) idle_timeout: Option<Duration>,
    pub(super) pid: i32,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    fn vars(&self) -> SessionVars {
        SessionVars {
            user: self.identity.user.clone(),
            is_admin: self.identity.role.is_admin(),
            database: super::DATABASE.into(),
            application_name: self.settings.get("application_name").unwrap_or_default().to_string(),
            time_zone: self.settings.get("TimeZone").unwrap_or("UTC").to_string(),
            search_path: self.settings.search_path(&self.identity.user),
            backend_pid: self.pid,
            settings: self.settings.changed(),
        }
    }

    fn timeout(&self) -> Option<Duration> {
        self.settings
            .timeout("statement_timeout")
            .unwrap_or(self.engine.limits().timeout)
    }

    /// The deadline of a command that begins now.
    pub(super) fn deadline(&self) -> Deadline {
        self.timeout().map(|limit| (Instant::now() + limit, limit))
    }

    /// Ends when the session has asked nothing for too long. What the client set itself is for transactions or for the time between them; the
    /// door's limit is for both.
    pub(super) fn idle(&self) -> impl Future<Output = PgError> + Send + 'static {
        const IDLE: (&str, &str) = ("57P05", "terminating connection due to idle-session timeout");
        const IN_TRANSACTION: (&str, &str) = ("25P03", "terminating connection due to idle-in-transaction timeout");
        let (name, own_error) = match self.transaction {
            Transaction::Idle => ("idle_session_timeout", IDLE),
            Transaction::Open | Transaction::Failed => ("idle_in_transaction_session_timeout", IN_TRANSACTION),
        };
        let own = self.settings.timeout(name).flatten();
        let (limit, (code, text)) = match (own, self.idle_timeout) {
            (Some(own), Some(door)) if door < own => (Some(door), IDLE),
            (Some(own), _) => (Some(own), own_error),
            (None, door) => (door, IDLE),
        };
        async move {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
            PgError::fatal(code, text)
        }
    }

    pub(super) fn ready_for_query(&mut self) {
        let status = match self.transaction {
            Transaction::Idle => b'I',
            Transaction::Open => b'T',
            Transaction::Failed => b'E',
        };
        for (name, value) in self.settings.news() {
            parameter_status(&mut self.wire.out, name, &value);
        }
        message(&mut self.wire.out, b'Z', |out| out.extend_from_slice(&[status]));
    }

    /// Tells the client, and fails its transaction. What cannot go on is returned.
    pub(super) fn report(&mut self, stop: Stop) -> Result<(), Stop> {
        let error = match stop {
            Stop::Error(error) => error,
            gone => return Err(gone),
        };
        tracing::debug!(code = error.code, message = %error.message, pid = self.pid, "statement failed");
        if self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
        }
        if error.fatal {
            return Err(Stop::Error(error));
        }
        error.write(&mut self.wire.out);
        Ok(())
    }

    pub(super) fn refuse_in_failed_transaction(&self, command: &Command) -> Result<(), Stop> {
        if self.transaction == Transaction::Failed && !command.ends_failure() {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(PgError::new("25P02", message).into());
        }
        Ok(())
    }

    /// Parses and plans a query for later.
    pub(super) async fn prepare(&mut self, sql: &str, declared: &[u32]) -> Result<(Arc<Prepared>, Vec<u32>), Stop> {
        let types: Vec<Option<DataType>> = declared.iter().map(|oid| parameter_type(*oid)).collect();
        let (vars, timeout) = (self.vars(), self.timeout());
        let engine = Arc::clone(&self.engine);
        let work = engine.prepare(sql, &vars, &types, timeout);
        let prepared = self.interrupts.guard(&mut self.wire, None, work).await??;
        let oid = |(index, data_type): (usize, &DataType)| match declared.get(index) {
            // A type of the client's that we plan as another (varchar as text) stays what the client called it.
            Some(oid) if parameter_type(*oid).is_some() => *oid,
            _ => prepared.stated_type(index).unwrap_or_else(|| pg_type_oid(data_type)),
        };
        let oids = prepared.parameter_types.iter().enumerate().map(oid).collect();
        Ok((Arc::new(prepared), oids))
    }

    async fn query(&mut self, sql: &str) -> Result<Box<Cursor>, Stop> {
        let (vars, timeout) = (self.vars(), self.timeout());
        let engine = Arc::clone(&self.engine);
        let work = engine.run_within(sql, &vars, timeout);
        let rows = self.interrupts.guard(&mut self.wire, None, work).await??;
        Ok(Box::new(Cursor::running(rows, self.settings.zone())))
    }

    async fn execute(&mut self, prepared: &Prepared, params: Vec<ScalarValue>) -> Result<Box<Cursor>, Stop> {
        let (vars, timeout) = (self.vars(), self.timeout());
        let engine = Arc::clone(&self.engine);
        let work = engine.execute(prepared, params, &vars, timeout);
        let rows = self.interrupts.guard(&mut self.wire, None, work).await??;
        Ok(Box::new(Cursor::running(rows, self.settings.zone())))
    }

    /// The columns a command will answer with; `None` is no rows.
    pub(super) fn answer_schema(&self, statement: &Statement) -> Option<SchemaRef> {
        if let Some(prepared) = &statement.prepared
            && !matches!(statement.command, Some(Command::Declare { .. }))
        {
            return Some(Arc::clone(&prepared.schema));
        }
        match statement.command.as_ref()? {
            Command::Show(name) => Some(text_schema(&[name])),
            Command::ShowAll => Some(text_schema(&["name", "setting", "description"])),
            Command::Fetch { name, moves: false, .. } => match &self.portals.get(name)?.state {
                PortalState::Open(cursor) => Some(Arc::clone(&cursor.schema)),
                _ => None,
            },
            Command::Execute { name, .. } => self.answer_schema(self.statements.get(name)?),
            _ => None,
        }
    }

    /// Does a command up to where its rows begin.
    pub(super) async fn begin(
        &mut self,
        command: &Command,
        prepared: Option<(&Prepared, Vec<ScalarValue>)>,
    ) -> Result<Outcome, Stop> {
        self.refuse_in_failed_transaction(command)?;
        let tag = match command {
            Command::Query(sql) => {
                return Ok(Outcome::Rows(match prepared {
                    Some((prepared, params)) => self.execute(prepared, params).await?,
                    None => self.query(sql).await?,
                }));
            }
            Command::CopyOut { sql, format } => return Ok(Outcome::Copy(self.query(sql).await?, format.clone())),
            Command::Fetch { name, count, moves } => {
                return Ok(Outcome::Fetch {
                    name: name.clone(),
                    count: *count,
                    moves: *moves,
                });
            }
            Command::Show(name) => {
                let value = self.settings.show(name)?.to_string();
                return Ok(Outcome::Rows(Box::new(Cursor::texts(&[name], vec![vec![value]])?)));
            }
            Command::ShowAll => {
                let rows = self.settings.all().into_iter();
                let rows = rows
                    .map(|(name, value, text)| vec![name.to_string(), value, text.to_string()])
                    .collect();
                return Ok(Outcome::Rows(Box::new(Cursor::texts(
                    &["name", "setting", "description"],
                    rows,
                )?)));
            }
            Command::Execute { name, arguments } => return self.execute_named(name, arguments.as_deref()).await,
            Command::Set { name, value, local } => {
                self.settings.set(name, value.as_deref(), *local)?;
                "SET"
            }
            Command::Reset(name) => {
                self.settings.set(name, None, false)?;
                "RESET"
            }
            Command::ResetAll => {
                self.settings.reset_all();
                "RESET"
            }
            Command::Begin { tag } => {
                if self.transaction == Transaction::Idle {
                    self.transaction = Transaction::Open;
                    self.settings.begin();
                }
                tag
            }
            Command::Commit => self.end_transaction(self.transaction != Transaction::Failed),
            Command::Rollback => self.end_transaction(false),
            Command::RollbackTo => {
                self.require_transaction("ROLLBACK TO SAVEPOINT")?;
                self.transaction = Transaction::Open;
                "ROLLBACK"
            }
            Command::Savepoint { tag } => {
                self.require_transaction(if *tag == "RELEASE" { "RELEASE SAVEPOINT" } else { tag })?;
                tag
            }
            Command::Accept { tag } => tag,
            Command::DiscardAll => {
                if self.transaction != Transaction::Idle {
                    return Err(PgError::new("25001", "DISCARD ALL cannot run inside a transaction block").into());
                }
                self.settings.reset_all();
                self.statements.clear();
                self.portals.clear();
                "DISCARD ALL"
            }
            Command::Declare { name, hold, sql } => {
                self.declare(name, *hold, sql, prepared).await?;
                "DECLARE CURSOR"
            }
            Command::CloseCursor(None) => {
                self.portals.clear();
                "CLOSE CURSOR ALL"
            }
            Command::CloseCursor(Some(name)) => {
                self.portals
                    .remove(name)
                    .ok_or_else(|| missing("34000", "cursor", name))?;
                "CLOSE CURSOR"
            }
            Command::Prepare { name, types, sql } => {
                self.prepare_named(name, types, sql).await?;
                "PREPARE"
            }
            Command::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Command::Deallocate(Some(name)) => {
                self.statements
                    .remove(name)
                    .ok_or_else(|| missing("26000", "prepared statement", name))?;
                "DEALLOCATE"
            }
        };
        Ok(Outcome::Tag(tag.to_string()))
    }

    fn require_transaction(&self, what: &str) -> Result<(), Stop> {
        if self.transaction == Transaction::Idle {
            return Err(PgError::new("25P01", format!("{what} can only be used in transaction blocks")).into());
        }
        Ok(())
    }

    fn end_transaction(&mut self, commit: bool) -> &'static str {
        self.settings.end(commit);
        self.transaction = Transaction::Idle;
        self.portals.retain(|_, portal| portal.hold);
        if commit { "COMMIT" } else { "ROLLBACK" }
    }

    /// After an implicit transaction only `WITH HOLD` cursors are left.
    pub(super) fn end_implicit_transaction(&mut self) {
        if self.transaction == Transaction::Idle {
            self.portals.retain(|_, portal| portal.hold);
        }
    }

    pub(super) fn room_for(&self, existing: usize, what: &str) -> Result<(), Stop> {
        if existing >= MAX_NAMED {
            return Err(PgError::new("53400", format!("more than {MAX_NAMED} {what} in one session")).into());
        }
        Ok(())
    }

    async fn declare(
        &mut self,
        name: &str,
        hold: bool,
        sql: &str,
        prepared: Option<(&Prepared, Vec<ScalarValue>)>,
    ) -> Result<(), Stop> {
        if !hold {
            self.require_transaction("DECLARE CURSOR")?;
        }
        if self.portals.contains_key(name) {
            return Err(PgError::new("42P03", format!("cursor \"{name}\" already exists")).into());
        }
        self.room_for(self.portals.len(), "cursors")?;
        let cursor = match prepared {
            Some((prepared, params)) => self.execute(prepared, params).await?,
            None => self.query(sql).await?,
        };
        let statement = Statement {
            command: None,
            prepared: None,
            parameter_oids: Vec::new(),
        };
        let state = PortalState::Open(cursor);
        self.portals.insert(
            name.to_string(),
            Portal {
                statement,
                params: Vec::new(),
                formats: Vec::new(),
                state,
                hold,
            },
        );
        Ok(())
    }

    async fn prepare_named(&mut self, name: &str, types: &[String], sql: &str) -> Result<(), Stop> {
        if self.statements.contains_key(name) {
            return Err(PgError::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
        }
        self.room_for(self.statements.len(), "prepared statements")?;
        let oids = types
            .iter()
            .map(|name| type_by_name(name))
            .collect::<Result<Vec<_>, _>>()?;
        let (prepared, parameter_oids) = self.prepare(sql, &oids).await?;
        let command = Some(Command::Query(sql.to_string()));
        self.statements.insert(
            name.to_string(),
            Statement {
                command,
                prepared: Some(prepared),
                parameter_oids,
            },
        );
        Ok(())
    }

    async fn execute_named(&mut self, name: &str, arguments: Option<&str>) -> Result<Outcome, Stop> {
        let statement = self
            .statements
            .get(name)
            .ok_or_else(|| missing("26000", "prepared statement", name))?;
        let Some(prepared) = statement.prepared.clone() else {
            return Err(PgError::new("0A000", format!("prepared statement \"{name}\" is not a query")).into());
        };
        let params = match arguments {
            Some(arguments) if !arguments.trim().is_empty() => self.evaluate(arguments).await?,
            _ => Vec::new(),
        };
        if params.len() != prepared.parameter_types.len() {
            let expected = prepared.parameter_types.len();
            let message = format!(
                "wrong number of parameters for prepared statement \"{name}\": expected {expected}, got {}",
                params.len()
            );
            return Err(PgError::new("42601", message).into());
        }
        Ok(Outcome::Rows(self.execute(&prepared, params).await?))
    }

    /// The values of expressions without columns.
    async fn evaluate(&mut self, expressions: &str) -> Result<Vec<ScalarValue>, Stop> {
        let (vars, timeout) = (self.vars(), self.timeout());
        let engine = Arc::clone(&self.engine);
        let sql = format!("SELECT {expressions}");
        let work = async {
            let mut rows = engine.run_within(&sql, &vars, timeout).await?;
            let batch = rows.batches.next().await.ok_or_else(|| QueryError::Internal {
                message: "no row of arguments".into(),
            })??;
            batch
                .columns()
                .iter()
                .map(|column| Ok(ScalarValue::try_from_array(column, 0)?))
                .collect::<Result<Vec<_>, QueryError>>()
        };
        Ok(self.interrupts.guard(&mut self.wire, None, work).await??)
    }

    /// Sends what a command left to be sent, all of it, and its tag.
    pub(super) async fn finish(
        &mut self,
        outcome: Outcome,
        formats: &[i16],
        describe: bool,
        deadline: Deadline,
    ) -> Result<(), Stop> {
        match outcome {
            Outcome::Tag(tag) => command_complete(&mut self.wire.out, &tag),
            Outcome::Rows(mut cursor) => {
                let columns = columns(&cursor.schema, formats);
                if describe {
                    super::encode::row_description(&mut self.wire.out, &columns);
                }
                let progress = cursor
                    .send(
                        &mut self.wire,
                        &mut self.interrupts,
                        deadline,
                        None,
                        Form::DataRow(&columns),
                    )
                    .await?;
                command_complete(&mut self.wire.out, &format!("SELECT {}", progress.rows));
            }
            Outcome::Copy(mut cursor, format) => {
                copy_begin(&mut self.wire.out, &cursor.schema, &format);
                let progress = cursor
                    .send(
                        &mut self.wire,
                        &mut self.interrupts,
                        deadline,
                        None,
                        Form::Copy(&format),
                    )
                    .await?;
                copy_end(&mut self.wire.out, &format, progress.rows);
                command_complete(&mut self.wire.out, &format!("COPY {}", progress.rows));
            }
            Outcome::Fetch { name, count, moves } => {
                self.fetch(&name, count, moves, formats, describe, deadline).await?
            }
        }
        Ok(())
    }

    async fn fetch(
        &mut self,
        name: &str,
        count: Count,
        moves: bool,
        formats: &[i16],
        describe: bool,
        deadline: Deadline,
    ) -> Result<(), Stop> {
        let portal = self
            .portals
            .get_mut(name)
            .ok_or_else(|| missing("34000", "cursor", name))?;
        let PortalState::Open(cursor) = &mut portal.state else {
            return Err(missing("34000", "cursor", name));
        };
        let columns: Vec<Column> = columns(&cursor.schema, formats);
        if describe && !moves {
            super::encode::row_description(&mut self.wire.out, &columns);
        }
        let limit = match count {
            Count::Rows(rows) => Some(rows),
            Count::All => None,
        };
        let form = if moves { Form::Nothing } else { Form::DataRow(&columns) };
        let progress = cursor
            .send(&mut self.wire, &mut self.interrupts, deadline, limit, form)
            .await?;
        let verb = if moves { "MOVE" } else { "FETCH" };
        command_complete(&mut self.wire.out, &format!("{verb} {}", progress.rows));
        Ok(())
    }
}

/// The oid of a type as `PREPARE` names it.
fn type_by_name(name: &str) -> Result<u32, PgError> {
    match pg_type_by_name(name) {
        Some(known) => Ok(known.oid),
        None => Err(PgError::new("42704", format!("type \"{name}\" does not exist"))),
    }
}
