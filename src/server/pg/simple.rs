//! The simple protocol: a text of any number of statements, answered one after the other; the first error ends the rest.

use tokio::io::{AsyncRead, AsyncWrite};

use super::command::Command;
use super::error::Stop;
use super::session::Session;
use super::wire::bare;
use crate::server::sql_text::split_statements;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn on_query(&mut self, sql: &str) -> Result<(), Stop> {
        self.interrupts.forget_cancels();
        // The simple protocol's Query also ends the extended protocol's unnamed portal.
        self.portals.remove("");
        if let Err(stop) = self.run_all(sql).await {
            self.report(stop)?;
        }
        self.end_implicit_transaction();
        self.ready_for_query();
        self.interrupts
            .flush(&mut self.wire, None)
            .await
            .or_else(|stop| self.ignore_late_cancel(stop))?;
        Ok(self.wire.flush().await?)
    }

    async fn run_all(&mut self, sql: &str) -> Result<(), Stop> {
        let statements = split_statements(sql).map_err(|error| Stop::from(error).located(sql, sql))?;
        if statements.is_empty() {
            bare(&mut self.wire.out, b'I');
            return Ok(());
        }
        // A syntax error in the last statement must not leave the first ones done.
        let mut commands = Vec::with_capacity(statements.len());
        for statement in statements {
            let command = Command::parse(statement).map_err(|error| Stop::from(error).located(sql, statement))?;
            commands.push((statement, command));
        }
        for (statement, command) in &commands {
            self.run(command).await.map_err(|stop| stop.located(sql, statement))?;
        }
        Ok(())
    }

    async fn run(&mut self, command: &Command) -> Result<(), Stop> {
        let deadline = self.deadline();
        let outcome = self.begin(command, None).await?;
        self.finish(outcome, &[], true, deadline).await
    }

    /// All is said when the last bytes go out; a cancel then has nothing to stop.
    pub(super) fn ignore_late_cancel(&self, stop: Stop) -> Result<(), Stop> {
        match stop {
            Stop::Error(error) if !error.fatal => Ok(()),
            other => Err(other),
        }
    }
}
