//! The extended protocol: parse, bind, describe, execute with a row limit, close, sync. An error skips everything up to the next sync.

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncWrite};

use super::command::{Command, Count, Direction};
use super::encode::{columns, row_description};
use super::error::{PgError, Stop};
use super::params::parameter;
use super::rows::{Form, missing};
use super::session::{Outcome, Portal, PortalState, Session, Statement};
use super::wire::{Request, bare, command_complete, message};
use crate::server::sql_text::split_statements;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Everything but `Sync`, `Query` and `Terminate`.
    pub(super) async fn on_extended(&mut self, request: Request) -> Result<(), Stop> {
        match request {
            Request::Parse { name, sql, types } => {
                let parsed = self.on_parse(name, &sql, &types).await;
                parsed.map_err(|stop| {
                    let first = split_statements(&sql).ok().and_then(|all| all.first().copied());
                    stop.located(&sql, first.unwrap_or(&sql))
                })
            }
            Request::Bind {
                portal,
                statement,
                formats,
                values,
                result_formats,
            } => self.on_bind(portal, &statement, &formats, &values, result_formats),
            Request::Describe { kind: b'S', name } => self.describe_statement(&name),
            Request::Describe { kind: b'P', name } => self.describe_portal(&name),
            Request::Execute { portal, max_rows } => self.on_execute(&portal, max_rows).await,
            Request::Close { kind, name } => {
                match kind {
                    b'S' => drop(self.statements.remove(&name)),
                    b'P' => drop(self.portals.remove(&name)),
                    _ => return Err(PgError::new("08P01", "invalid CLOSE message subtype").into()),
                }
                bare(&mut self.wire.out, b'3');
                Ok(())
            }
            Request::Describe { .. } => Err(PgError::new("08P01", "invalid DESCRIBE message subtype").into()),
            Request::Malformed(what) => Err(PgError::new("08P01", what).into()),
            _ => Ok(()),
        }
    }

    async fn on_parse(&mut self, name: String, sql: &str, types: &[u32]) -> Result<(), Stop> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(PgError::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
        }
        self.room_for(self.statements.len(), "prepared statements")?;
        let texts = split_statements(sql).map_err(PgError::from)?;
        let statement = match texts.as_slice() {
            [] => Statement {
                command: None,
                prepared: None,
                parameter_oids: types.to_vec(),
            },
            [text] => {
                let command = Command::parse(text)?;
                self.refuse_in_failed_transaction(&command)?;
                let (prepared, parameter_oids) = match &command {
                    Command::Query(sql) | Command::Declare { sql, .. } => {
                        let (prepared, oids) = self.prepare(sql, types).await?;
                        (Some(prepared), oids)
                    }
                    _ => (None, types.to_vec()),
                };
                Statement {
                    command: Some(command),
                    prepared,
                    parameter_oids,
                }
            }
            _ => return Err(PgError::new("42601", "cannot insert multiple commands into a prepared statement").into()),
        };
        self.statements.insert(name, statement);
        bare(&mut self.wire.out, b'1');
        Ok(())
    }

    fn on_bind(
        &mut self,
        portal: String,
        name: &str,
        formats: &[i16],
        values: &[Option<Bytes>],
        result_formats: Vec<i16>,
    ) -> Result<(), Stop> {
        let statement = self
            .statements
            .get(name)
            .ok_or_else(|| missing("26000", "prepared statement", name))?
            .clone();
        if let Some(command) = &statement.command {
            self.refuse_in_failed_transaction(command)?;
        }
        let expected = statement.parameter_oids.len();
        if values.len() != expected {
            let given = values.len();
            let message = format!(
                "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {expected}"
            );
            return Err(PgError::new("08P01", message).into());
        }
        if formats.len() > 1 && formats.len() != values.len() {
            return Err(PgError::new("08P01", "bind message has a wrong number of parameter formats").into());
        }
        if formats
            .iter()
            .chain(&result_formats)
            .any(|format| !matches!(format, 0 | 1))
        {
            return Err(PgError::new("22023", "unsupported format code").into());
        }
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            return Err(PgError::new("42P03", format!("portal \"{portal}\" already exists")).into());
        }
        self.room_for(self.portals.len(), "portals")?;
        let zone = self.time_zone();
        let params = values
            .iter()
            .zip(&statement.parameter_oids)
            .enumerate()
            .map(|(index, (value, oid))| {
                let format = if formats.len() == 1 {
                    formats[0]
                } else {
                    formats.get(index).copied().unwrap_or(0)
                };
                parameter(index + 1, *oid, format == 1, value.as_ref(), zone)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let bound = Portal {
            statement,
            params,
            formats: result_formats,
            state: PortalState::New,
            hold: false,
            born: self.next_born(),
            rewind: None,
        };
        self.portals.insert(portal, bound);
        bare(&mut self.wire.out, b'2');
        Ok(())
    }

    fn describe_statement(&mut self, name: &str) -> Result<(), Stop> {
        let statement = self
            .statements
            .get(name)
            .ok_or_else(|| missing("26000", "prepared statement", name))?
            .clone();
        message(&mut self.wire.out, b't', |out| {
            out.put_u16(u16::try_from(statement.parameter_oids.len()).unwrap_or(u16::MAX));
            for oid in &statement.parameter_oids {
                out.put_u32(*oid);
            }
        });
        self.describe_answer(&statement, &[]);
        Ok(())
    }

    fn describe_portal(&mut self, name: &str) -> Result<(), Stop> {
        let portal = self.portals.get(name).ok_or_else(|| missing("34000", "portal", name))?;
        // An open one, as a cursor of DECLARE is from its beginning, knows its columns; its statement need not.
        let open = match &portal.state {
            PortalState::Open(cursor) => Some(&cursor.schema),
            PortalState::Scroll(cursor) => Some(&cursor.schema),
            PortalState::New | PortalState::Done => None,
        };
        if let Some(schema) = open {
            row_description(&mut self.wire.out, &columns(schema, &portal.formats));
            return Ok(());
        }
        let (statement, formats) = (portal.statement.clone(), portal.formats.clone());
        self.describe_answer(&statement, &formats);
        Ok(())
    }

    fn describe_answer(&mut self, statement: &Statement, formats: &[i16]) {
        match self.answer_schema(statement) {
            Some(schema) => row_description(&mut self.wire.out, &columns(&schema, formats)),
            None => bare(&mut self.wire.out, b'n'),
        }
    }

    async fn on_execute(&mut self, name: &str, max_rows: i32) -> Result<(), Stop> {
        self.interrupts.forget_cancels();
        let deadline = self.deadline();
        // Taken out while it runs: a portal whose statement fails is gone.
        let mut portal = self
            .portals
            .remove(name)
            .ok_or_else(|| missing("34000", "portal", name))?;
        if matches!(portal.state, PortalState::New) {
            let Some(command) = portal.statement.command.clone() else {
                bare(&mut self.wire.out, b'I');
                self.portals.insert(name.to_string(), portal);
                return Ok(());
            };
            let prepared = portal.statement.prepared.clone();
            let prepared = prepared
                .as_deref()
                .map(|prepared| (prepared, std::mem::take(&mut portal.params)));
            match self.begin(&command, prepared).await? {
                Outcome::Rows(cursor) => portal.state = PortalState::Open(cursor),
                other => {
                    portal.state = PortalState::Done;
                    return self.finish(other, &portal.formats, false, deadline).await;
                }
            }
        }
        if let PortalState::Scroll(cursor) = &mut portal.state {
            let count = usize::try_from(max_rows).ok().filter(|rows| *rows > 0);
            let count = count.map_or(Count::All, Count::Rows);
            let columns = columns(&cursor.schema, &portal.formats);
            let (wire, interrupts, direction) = (&mut self.wire, &mut self.interrupts, Direction::Forward(count));
            let rows = cursor
                .fetch(wire, interrupts, deadline, direction, Some(&columns))
                .await?;
            self.portals.insert(name.to_string(), portal);
            match count {
                Count::Rows(limit) if limit == rows => bare(&mut self.wire.out, b's'),
                _ => command_complete(&mut self.wire.out, &format!("SELECT {rows}")),
            }
            return Ok(());
        }
        let PortalState::Open(cursor) = &mut portal.state else {
            command_complete(&mut self.wire.out, "SELECT 0");
            self.portals.insert(name.to_string(), portal);
            return Ok(());
        };
        let limit = usize::try_from(max_rows).ok().filter(|rows| *rows > 0);
        let columns = columns(&cursor.schema, &portal.formats);
        let progress = cursor
            .send(
                &mut self.wire,
                &mut self.interrupts,
                deadline,
                limit,
                Form::DataRow(&columns),
            )
            .await?;
        if progress.suspended {
            bare(&mut self.wire.out, b's');
        } else {
            portal.state = PortalState::Done;
            self.take_settings()?;
            command_complete(&mut self.wire.out, &format!("SELECT {}", progress.rows));
        }
        self.portals.insert(name.to_string(), portal);
        Ok(())
    }

    pub(super) async fn on_sync(&mut self) -> Result<(), Stop> {
        self.end_implicit_transaction();
        self.ready_for_query();
        Ok(self.wire.flush().await?)
    }
}
