//! One connection after its handshake: what it remembers, and what each command does to it.
//!
//! The two protocols ([`super::simple`], [`super::extended`]) only differ in how they ask; both end in [`Session::begin`] and
//! [`Session::finish`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::command::{Command, CopyFormat, Count, CursorOptions, Direction, Modes};
use super::encode::{Column, columns};
use super::error::{PgError, Stop, warning};
use super::rows::{Cursor, Deadline, Form, Interrupts, copy_begin, copy_end, missing, text_schema};
use super::scroll::Scroll;
use super::settings::Settings;
use super::wire::{Wire, command_complete, message, parameter_status};
use crate::catalog::activity::{Connected, Door, SessionState};
use crate::catalog::pg_types::{parameter_type, pg_type_by_name, pg_type_oid};
use crate::catalog::{SessionVars, SetConfig};
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
    /// Which one of the session's it is; a rollback ends those that came after what it goes back to.
    pub(super) born: u64,
    /// How the rows come again, for a cursor that was not told what directions it has.
    pub(super) rewind: Option<Rewind>,
}

/// The query of a cursor.
#[derive(Debug)]
pub(super) struct Rewind {
    sql: String,
    prepared: Option<(Arc<Prepared>, Vec<ScalarValue>)>,
}

#[derive(Debug)]
pub(super) enum PortalState {
    New,
    Open(Box<Cursor>),
    Scroll(Box<Scroll>),
    Done,
}

/// What a command turned out to be.
#[derive(Debug)]
pub(super) enum Outcome {
    Rows(Box<Cursor>),
    Copy(Box<Cursor>, CopyFormat),
    Fetch {
        name: String,
        direction: Direction,
        moves: bool,
    },
    Tag(String),
}

#[derive(Debug)]
pub(super) struct Session<S> {
    pub(super) wire: Wire<S>,
    pub(super) interrupts: Interrupts,
    pub(super) engine: Arc<QueryEngine>,
    pub(super) settings: Settings,
    pub(super) transaction: Transaction,
    /// Portals made so far.
    pub(super) born: u64,
    /// [`Session::born`] when the transaction and each of its savepoints began.
    pub(super) marks: Vec<u64>,
    pub(super) statements: HashMap<String, Statement>,
    pub(super) portals: HashMap<String, Portal>,
    pub(super) identity: Identity,
    /// The door's own limit.
    pub(super) idle_timeout: Option<Duration>,
    pub(super) address: IpAddr,
    /// The entry among all sessions.
    pub(super) connected: Connected,
    /// Whether that entry says that something runs.
    pub(super) is_active: bool,
    /// What statements ask for by calling `set_config`.
    pub(super) set_config: SetConfig,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) fn time_zone(&self) -> &str {
        self.settings.get("TimeZone").unwrap_or("UTC")
    }

    fn vars(&self) -> SessionVars {
        SessionVars {
            user: self.identity.user.clone(),
            is_admin: self.identity.role.is_admin(),
            database: super::DATABASE.into(),
            application_name: self.settings.get("application_name").unwrap_or_default().to_string(),
            time_zone: self.time_zone().to_string(),
            search_path: self.settings.search_path(&self.identity.user),
            backend_pid: self.connected.pid,
            settings: self.settings.changed(),
            door: Door::Pg,
            client_address: Some(self.address),
            set_config: self.set_config.clone(),
        }
    }

    /// The client has asked for something.
    pub(super) fn is_busy(&mut self) {
        if !self.is_active {
            self.is_active = true;
            self.show_state(SessionState::Active);
        }
    }

    fn show_state(&self, state: SessionState) {
        let application_name = self.settings.get("application_name").unwrap_or_default();
        self.connected.enter(state, application_name);
    }

    /// Settings that the statement has changed by calling `set_config`.
    pub(super) fn take_settings(&mut self) -> Result<(), PgError> {
        for new in self.set_config.take() {
            self.settings.set(&new.name, new.value.as_deref(), new.is_local)?;
        }
        Ok(())
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
        self.is_active = false;
        self.show_state(match self.transaction {
            Transaction::Idle => SessionState::Idle,
            Transaction::Open => SessionState::InTransaction,
            Transaction::Failed => SessionState::FailedTransaction,
        });
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
        tracing::debug!(code = error.code, message = %error.message, pid = self.connected.pid, "statement failed");
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
        Ok(Box::new(Cursor::running(rows, self.settings.style())))
    }

    async fn execute(&mut self, prepared: &Prepared, params: Vec<ScalarValue>) -> Result<Box<Cursor>, Stop> {
        let (vars, timeout) = (self.vars(), self.timeout());
        let engine = Arc::clone(&self.engine);
        let work = engine.execute(prepared, params, &vars, timeout);
        let rows = self.interrupts.guard(&mut self.wire, None, work).await??;
        Ok(Box::new(Cursor::running(rows, self.settings.style())))
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
                PortalState::Scroll(cursor) => Some(Arc::clone(&cursor.schema)),
                PortalState::New | PortalState::Done => None,
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
            Command::Fetch { name, direction, moves } => {
                return Ok(Outcome::Fetch {
                    name: name.clone(),
                    direction: *direction,
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
                if *local && !self.settings.in_transaction() {
                    self.warn("25P01", "SET LOCAL can only be used in transaction blocks");
                }
                "SET"
            }
            Command::SetTransaction(modes) => {
                self.set_modes(*modes)?;
                "SET"
            }
            Command::SetCharacteristics(modes) => {
                for (name, value) in modes.settings() {
                    self.settings.set(&format!("default_{name}"), Some(value), false)?;
                }
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
            Command::Begin { tag, modes } => {
                if self.transaction == Transaction::Idle {
                    self.begin_transaction();
                } else {
                    self.warn("25001", "there is already a transaction in progress");
                }
                self.set_modes(*modes)?;
                tag
            }
            Command::Commit { chain } => self.end_transaction(self.transaction != Transaction::Failed, *chain)?,
            Command::Rollback { chain } => self.end_transaction(false, *chain)?,
            Command::RollbackTo(name) => {
                self.require_transaction("ROLLBACK TO SAVEPOINT")?;
                let place = self.settings.rollback_to(name);
                let place = place.ok_or_else(|| missing("3B001", "savepoint", name))?;
                self.marks.truncate(place + 2);
                self.forget_portals_since_mark();
                self.transaction = Transaction::Open;
                "ROLLBACK"
            }
            Command::Savepoint(name) => {
                self.require_transaction("SAVEPOINT")?;
                self.room_for(self.marks.len(), "savepoints")?;
                self.settings.savepoint(name);
                self.marks.push(self.born);
                "SAVEPOINT"
            }
            Command::Release(name) => {
                self.require_transaction("RELEASE SAVEPOINT")?;
                let left = self.settings.release(name);
                let left = left.ok_or_else(|| missing("3B001", "savepoint", name))?;
                self.marks.truncate(left + 1);
                "RELEASE"
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
            Command::Declare { name, options, sql } => {
                self.declare(name, *options, sql, prepared).await?;
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

    fn begin_transaction(&mut self) {
        self.transaction = Transaction::Open;
        self.marks = vec![self.born];
        self.settings.begin();
    }

    fn set_modes(&mut self, modes: Modes) -> Result<(), PgError> {
        for (name, value) in modes.settings() {
            self.settings.set(name, Some(value), true)?;
        }
        Ok(())
    }

    fn end_transaction(&mut self, commit: bool, chain: bool) -> Result<&'static str, PgError> {
        if self.transaction == Transaction::Idle {
            if chain {
                return Err(PgError::new(
                    "25P01",
                    "AND CHAIN can only be used in transaction blocks",
                ));
            }
            self.warn("25P01", "there is no transaction in progress");
        }
        let before = ["transaction_isolation", "transaction_deferrable"];
        let before = before.map(|name| (name, self.settings.get(name).map(str::to_owned)));
        self.settings.end(commit);
        self.transaction = Transaction::Idle;
        if !commit {
            self.marks.truncate(1);
            self.forget_portals_since_mark();
        }
        self.marks.clear();
        self.portals.retain(|_, portal| portal.hold);
        if chain {
            self.begin_transaction();
            for (name, value) in before {
                self.settings.set(name, value.as_deref(), true)?;
            }
        }
        Ok(if commit { "COMMIT" } else { "ROLLBACK" })
    }

    /// Cursors that were declared in what is rolled back.
    fn forget_portals_since_mark(&mut self) {
        if let Some(mark) = self.marks.last() {
            self.portals.retain(|_, portal| portal.born < *mark);
        }
    }

    /// The number of a new portal.
    pub(super) fn next_born(&mut self) -> u64 {
        self.born += 1;
        self.born - 1
    }

    /// Tells the client of something that is no error.
    fn warn(&mut self, code: &str, text: &str) {
        if self.settings.wants_warnings() {
            warning(&mut self.wire.out, code, text);
        }
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
        options: CursorOptions,
        sql: &str,
        prepared: Option<(&Prepared, Vec<ScalarValue>)>,
    ) -> Result<(), Stop> {
        if !options.hold {
            self.require_transaction("DECLARE CURSOR")?;
        }
        if self.portals.contains_key(name) {
            return Err(PgError::new("42P03", format!("cursor \"{name}\" already exists")).into());
        }
        self.room_for(self.portals.len(), "cursors")?;
        let rewind = Rewind {
            sql: sql.to_owned(),
            prepared: prepared.map(|(prepared, params)| (Arc::new(prepared.clone()), params)),
        };
        let cursor = self.open(&rewind).await?;
        let state = match options.scroll {
            Some(true) => {
                let limit = self.engine.memory_of_one();
                PortalState::Scroll(Box::new(Scroll::new(*cursor, self.settings.style(), limit)))
            }
            _ => PortalState::Open(cursor),
        };
        let portal = Portal {
            statement: Statement {
                command: None,
                prepared: None,
                parameter_oids: Vec::new(),
            },
            params: Vec::new(),
            formats: if options.binary { vec![1] } else { Vec::new() },
            state,
            hold: options.hold,
            born: self.next_born(),
            rewind: options.scroll.is_none().then_some(rewind),
        };
        self.portals.insert(name.to_string(), portal);
        Ok(())
    }

    /// The rows of a cursor from their beginning, as of now.
    async fn open(&mut self, rewind: &Rewind) -> Result<Box<Cursor>, Stop> {
        match &rewind.prepared {
            Some((prepared, params)) => self.execute(prepared, params.clone()).await,
            None => self.query(&rewind.sql).await,
        }
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
                self.take_settings()?;
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
            Outcome::Fetch { name, direction, moves } => {
                self.fetch(&name, direction, moves, formats, describe, deadline).await?
            }
        }
        Ok(())
    }

    async fn fetch(
        &mut self,
        name: &str,
        direction: Direction,
        moves: bool,
        formats: &[i16],
        describe: bool,
        deadline: Deadline,
    ) -> Result<(), Stop> {
        let mut portal = self
            .portals
            .remove(name)
            .ok_or_else(|| missing("34000", "cursor", name))?;
        let fetched = self
            .fetch_from(&mut portal, direction, moves, formats, describe, deadline)
            .await;
        // One that failed is of no use any more; one that was asked for what it cannot do is.
        if !matches!(portal.state, PortalState::Done) {
            self.portals.insert(name.to_owned(), portal);
        }
        let verb = if moves { "MOVE" } else { "FETCH" };
        command_complete(&mut self.wire.out, &format!("{verb} {}", fetched?));
        Ok(())
    }

    async fn fetch_from(
        &mut self,
        portal: &mut Portal,
        direction: Direction,
        moves: bool,
        formats: &[i16],
        describe: bool,
        deadline: Deadline,
    ) -> Result<usize, Stop> {
        let formats = match portal.formats.as_slice() {
            [] => formats,
            declared => declared,
        };
        let of = |schema: &SchemaRef| -> Vec<Column> { columns(schema, formats) };
        match &mut portal.state {
            PortalState::Scroll(cursor) => {
                let columns = of(&cursor.schema);
                if describe && !moves {
                    super::encode::row_description(&mut self.wire.out, &columns);
                }
                let sent = cursor
                    .fetch(
                        &mut self.wire,
                        &mut self.interrupts,
                        deadline,
                        direction,
                        (!moves).then_some(&columns),
                    )
                    .await;
                if sent.is_err() {
                    portal.state = PortalState::Done;
                }
                sent
            }
            PortalState::Open(cursor) => {
                let columns = of(&cursor.schema);
                let plan = forward(direction, cursor.given)?;
                if plan.rewinds && cursor.given > 0 {
                    let Some(rewind) = &portal.rewind else {
                        return Err(only_forward().into());
                    };
                    *cursor = self.open(rewind).await?;
                }
                if describe && !moves {
                    super::encode::row_description(&mut self.wire.out, &columns);
                }
                let mut sent = 0;
                for (limit, is_shown) in [(Some(plan.skip), false), (plan.take, true)] {
                    let form = match is_shown && !moves {
                        true => Form::DataRow(&columns),
                        false => Form::Nothing,
                    };
                    let progress = cursor
                        .send(&mut self.wire, &mut self.interrupts, deadline, limit, form)
                        .await;
                    match progress {
                        Ok(progress) => sent = progress.rows,
                        Err(stop) => {
                            portal.state = PortalState::Done;
                            return Err(stop);
                        }
                    }
                }
                Ok(sent)
            }
            PortalState::New | PortalState::Done => Err(PgError::new("55000", "the portal is not open").into()),
        }
    }
}

/// How a cursor that reads forward only does what is asked.
#[derive(Debug, PartialEq, Eq)]
struct Forward {
    /// It begins anew.
    rewinds: bool,
    /// Rows it passes without a word.
    skip: usize,
    /// `None` is all.
    take: Option<usize>,
}

fn forward(direction: Direction, given: usize) -> Result<Forward, PgError> {
    let go = |rewinds, skip, take| Ok(Forward { rewinds, skip, take });
    match direction {
        Direction::Forward(Count::Rows(rows)) => go(false, 0, Some(rows)),
        Direction::Forward(Count::All) => go(false, 0, None),
        Direction::Relative(0) | Direction::Backward(Count::Rows(0)) => go(false, 0, Some(0)),
        Direction::Relative(rows) if rows > 0 => go(false, usize::try_from(rows - 1).unwrap_or(usize::MAX), Some(1)),
        // Before the first row, and the first one, are the places that mean the same in another run of the query.
        Direction::Absolute(0) => go(true, 0, Some(0)),
        Direction::Absolute(row) if row > 0 && usize::try_from(row).is_ok_and(|row| row > given) => {
            go(false, usize::try_from(row).unwrap_or(usize::MAX) - given - 1, Some(1))
        }
        Direction::Absolute(1) => go(true, 0, Some(1)),
        Direction::Backward(Count::All) => go(true, 0, Some(0)),
        Direction::Absolute(_) | Direction::Relative(_) | Direction::Backward(_) => Err(only_forward()),
    }
}

fn only_forward() -> PgError {
    PgError::new("55000", "cursor can only scan forward")
        .with_hint("Declare it with SCROLL option to enable backward scan.")
}

/// The oid of a type as `PREPARE` names it.
fn type_by_name(name: &str) -> Result<u32, PgError> {
    match pg_type_by_name(name) {
        Some(known) => Ok(known.oid),
        None => Err(PgError::new("42704", format!("type \"{name}\" does not exist"))),
    }
}
