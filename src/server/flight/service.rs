//! What Flight SQL asks for, once it is known who asks.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionBeginTransactionRequest,
    ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    ActionCreatePreparedSubstraitPlanRequest, ActionEndSavepointRequest, ActionEndTransactionRequest, Any, Command,
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementSubstraitPlan, CommandStatementUpdate, DoPutPreparedStatementResult, SqlInfo,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightData, FlightDescriptor,
    FlightEndpoint, FlightInfo, IpcMessage, RenewFlightEndpointRequest, Ticket,
};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

use super::gate::Gate;
use super::metadata::{FOREIGN_KEYS, Metadata, PRIMARY_KEYS};
use super::options::{
    self, CloseSessionResult, CloseStatus, GetSessionOptionsResult, OptionError, OptionErrorKind, OptionValue, Options,
    SetSessionOptionsRequest, SetSessionOptionsResult,
};
use super::prepared::{Bound, Statement, Statements};
use super::running::Running;
use super::session::{Caller, Tokens};
use super::stream::{Answer, Ends, client_schema, schema_bytes};
use super::ticket::{Order, Tickets};
use super::{FlightOptions, error, parameters};
use crate::server::auth::{NoRandomness, random};
use crate::server::query::{Prepared, QueryEngine, QueryError, RowStream};

const CREATE_PREPARED: &str = "CreatePreparedStatement";
const CLOSE_PREPARED: &str = "ClosePreparedStatement";
const CANCEL_QUERY: &str = "CancelQuery";
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";
const RENEW_FLIGHT_ENDPOINT: &str = "RenewFlightEndpoint";
const SET_SESSION_OPTIONS: &str = "SetSessionOptions";
const GET_SESSION_OPTIONS: &str = "GetSessionOptions";
const CLOSE_SESSION: &str = "CloseSession";
/// `CANCEL_RESULT_CANCELLED`, whose name `arrow-flight` does not show.
const CANCELLED: i32 = 1;

#[derive(Debug)]
pub(super) struct Service {
    engine: Arc<QueryEngine>,
    tokens: Arc<Tokens>,
    tickets: Tickets,
    statements: Statements,
    running: Arc<Running>,
    metadata: Metadata,
    stall_timeout: Duration,
    shutdown: watch::Receiver<bool>,
}

type ActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;

/// Who asks; the gate has put it there.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>();
    caller
        .cloned()
        .ok_or_else(|| error::internal("a request came past the gate"))
}

impl Service {
    pub(super) fn new(
        engine: Arc<QueryEngine>,
        tokens: Arc<Tokens>,
        options: FlightOptions,
        shutdown: watch::Receiver<bool>,
    ) -> Result<Service, NoRandomness> {
        let metadata = Metadata::new(Arc::clone(&engine), &options).expect("the tables of this file are well formed");
        Ok(Service {
            engine,
            tokens,
            tickets: Tickets::new(options.ticket_lifetime)?,
            statements: Statements::new(options.token_lifetime),
            running: Arc::default(),
            metadata,
            stall_timeout: options.stall_timeout,
            shutdown,
        })
    }

    /// All actions there are.
    pub(super) fn actions(&self) -> BoxStream<'static, Result<ActionType, Status>> {
        let actions = [
            (
                CREATE_PREPARED,
                "Prepares a statement: ActionCreatePreparedStatementRequest",
            ),
            (
                CLOSE_PREPARED,
                "Closes a prepared statement: ActionClosePreparedStatementRequest",
            ),
            (CANCEL_FLIGHT_INFO, "Cancels a result: CancelFlightInfoRequest"),
            (CANCEL_QUERY, "The same for older clients: ActionCancelQueryRequest"),
            (
                RENEW_FLIGHT_ENDPOINT,
                "Gives a ticket another lifetime: RenewFlightEndpointRequest",
            ),
            (
                SET_SESSION_OPTIONS,
                "Sets options of the session: SetSessionOptionsRequest",
            ),
            (GET_SESSION_OPTIONS, "Options of the session: GetSessionOptionsRequest"),
            (CLOSE_SESSION, "Ends the session and its token: CloseSessionRequest"),
        ];
        let actions = actions.map(|(name, description)| {
            Ok(ActionType {
                r#type: name.to_owned(),
                description: description.to_owned(),
            })
        });
        stream::iter(actions).boxed()
    }

    fn timeout(&self, options: &Options) -> Option<Duration> {
        options.timeout().unwrap_or(self.engine.limits().timeout)
    }

    async fn prepare(
        &self,
        caller: &Caller,
        options: &Options,
        sql: &str,
        types: &[Option<DataType>],
    ) -> Result<Prepared, QueryError> {
        let vars = caller.vars(options);
        self.engine.prepare(sql, &vars, types, self.timeout(options)).await
    }

    /// Where a result is: here, in one stream. (A statement runs once for each ticket that is fetched, so several tickets for one result
    /// would be several runs.)
    fn info(
        &self,
        request: Request<FlightDescriptor>,
        schema: &Schema,
        order: Order,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = schema_bytes(schema)?;
        let schema_of_rows = match order.sql {
            Some(_) => schema.to_vec(),
            None => Vec::new(),
        };
        let (ticket, expires) = self.tickets.issue(Order {
            schema: schema_of_rows,
            ..order
        })?;
        let info = FlightInfo {
            schema,
            ordered: true,
            ..FlightInfo::new()
        };
        let info = info
            .with_descriptor(request.into_inner())
            .with_endpoint(endpoint(ticket, expires))
            .with_total_records(-1)
            .with_total_bytes(-1);
        Ok(Response::new(info))
    }

    /// The same for metadata: the ticket has the command.
    fn metadata_info(
        &self,
        request: Request<FlightDescriptor>,
        schema: &Schema,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = caller(&request)?;
        let order = Order {
            user: caller.identity.user.clone(),
            command: request.get_ref().cmd.to_vec(),
            ..Order::default()
        };
        self.info(request, schema, order)
    }

    /// `DoGet`: runs what a ticket orders.
    pub(super) async fn fetch(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<BoxStream<'static, Result<FlightData, Status>>>, Status> {
        let caller = caller(&request)?;
        let order = self.tickets.read(request.get_ref(), &caller.identity.user)?;
        let mut reader = self
            .running
            .read(&order.id, caller.session.stop())
            .ok_or_else(|| error::of_query(&QueryError::Cancelled))?;
        let answer = match &order.sql {
            Some(sql) => {
                let sql = sql.clone();
                let rows = tokio::select! {
                    rows = self.run(&caller, &order, &sql) => rows,
                    () = reader.cancelled() => Err(QueryError::Cancelled),
                };
                let rows = rows.map_err(|error| error::of_query(&error))?;
                // How results are packed is the reader's to say, who may not be who ordered them.
                let compression = caller.options.codec().or(order.options.codec());
                let schema = Schema::try_from(IpcMessage(order.schema.into())).map_err(error::internal)?;
                Answer::of_rows(rows, Arc::new(schema), compression, self.ends(reader), caller.busy)?
            }
            None => {
                let batch = self.metadata(&order.command).await?;
                Answer::of_batch(batch, self.ends(reader), caller.busy)?
            }
        };
        Ok(Response::new(answer.boxed()))
    }

    fn ends(&self, reader: super::running::Reader) -> Ends {
        Ends {
            reader,
            shutdown: self.shutdown.clone(),
            stall_timeout: self.stall_timeout,
        }
    }

    async fn run(&self, caller: &Caller, order: &Order, sql: &str) -> Result<RowStream, QueryError> {
        let (vars, timeout) = (caller.vars(&order.options), self.timeout(&order.options));
        if order.parameters.is_empty() {
            return self.engine.run_within(sql, &vars, timeout).await;
        }
        let (types, values) = parameters::decode(&order.parameters)?;
        let kept = self.statements.find(&order.prepared, &caller.identity.user);
        let kept = kept.and_then(|statement| statement.bound());
        let prepared = match kept.filter(|bound| bound.prepared.parameter_types == types) {
            Some(bound) => bound.prepared,
            None => {
                let types: Vec<_> = types.into_iter().map(Some).collect();
                Arc::new(self.prepare(caller, &order.options, sql, &types).await?)
            }
        };
        self.engine.execute(&prepared, values, &vars, timeout).await
    }

    async fn metadata(&self, command: &[u8]) -> Result<RecordBatch, Status> {
        let any = Any::decode(command).map_err(error::internal)?;
        match Command::try_from(any).map_err(error::internal)? {
            Command::CommandGetCatalogs(command) => self.metadata.catalogs(command),
            Command::CommandGetDbSchemas(command) => self.metadata.schemas(command).await,
            Command::CommandGetTables(command) => self.metadata.tables(command).await,
            Command::CommandGetTableTypes(command) => self.metadata.table_types(command),
            Command::CommandGetSqlInfo(command) => self.metadata.sql_info(command),
            Command::CommandGetXdbcTypeInfo(command) => self.metadata.types(command),
            Command::CommandGetPrimaryKeys(_) => Ok(RecordBatch::new_empty(Arc::clone(&PRIMARY_KEYS))),
            Command::CommandGetImportedKeys(_)
            | Command::CommandGetExportedKeys(_)
            | Command::CommandGetCrossReference(_) => Ok(RecordBatch::new_empty(Arc::clone(&FOREIGN_KEYS))),
            other => Err(error::internal(format!("a ticket for {}", other.type_url()))),
        }
    }

    fn statement(&self, handle: &[u8], caller: &Caller) -> Result<Arc<Statement>, Status> {
        let found = self.statements.find(handle, &caller.identity.user);
        found.ok_or_else(|| {
            error::with_sqlstate(
                Code::NotFound,
                "26000",
                "there is no such prepared statement, or it was closed or not used for too long ([flight] token_lifetime)",
            )
        })
    }

    /// Why something is no update: because nothing is, or because it is a query.
    async fn refuse_update(&self, caller: &Caller, sql: &str) -> Status {
        let sql = match parameters::numbered(sql) {
            Ok(sql) => sql,
            Err(error) => return error::of_query(&error),
        };
        match self.prepare(caller, &caller.options, &sql, &[]).await {
            Err(error) => error::of_query(&error),
            Ok(_) => no_update(),
        }
    }

    /// Cancels the results that endpoints stand for.
    fn cancel(&self, info: &FlightInfo, caller: &Caller) -> Result<(), Status> {
        let tickets: Vec<&Ticket> = info
            .endpoint
            .iter()
            .filter_map(|endpoint| endpoint.ticket.as_ref())
            .collect();
        if tickets.is_empty() {
            return Err(error::invalid(
                "22023",
                "there is nothing to cancel: the FlightInfo has no ticket",
            ));
        }
        for ticket in tickets {
            // A result may take longer than its ticket is good.
            let order = self.tickets.open(ticket, &caller.identity.user)?;
            self.running.cancel(&order.id, order.expires_in());
        }
        Ok(())
    }

    async fn set_options(&self, caller: &Caller, body: &Bytes) -> Result<SetSessionOptionsResult, Status> {
        let request: SetSessionOptionsRequest = unpack(body)?;
        let mut result = SetSessionOptionsResult::default();
        for (name, value) in request.session_options {
            let value = value.as_text();
            let mut changed = caller.session.options();
            let outcome = changed
                .set(&name, value.as_deref())
                .map_err(|refused| OptionError::from(&refused));
            let outcome = match outcome {
                Ok(()) if name == "schema" => self.check_schemas(&changed).await?,
                other => other,
            };
            match outcome {
                Ok(()) => caller.session.change(|options| {
                    let _ = options.set(&name, value.as_deref());
                }),
                Err(error) => {
                    result.errors.insert(name, error);
                }
            }
        }
        Ok(result)
    }

    async fn check_schemas(&self, options: &Options) -> Result<Result<(), OptionError>, Status> {
        let there_are = self.metadata.schema_names().await?;
        let all_are = options.schemas.iter().all(|name| there_are.contains(&name.as_str()));
        Ok(match all_are {
            true => Ok(()),
            false => Err(OptionError {
                value: OptionErrorKind::InvalidValue as i32,
            }),
        })
    }

    async fn bind(&self, caller: &Caller, statement: &Statement, row: &RecordBatch) -> Result<Bound, Status> {
        let inferred = &statement.prepared.parameter_types;
        if row.num_columns() != inferred.len() {
            return Err(error::invalid(
                "08P01",
                &format!(
                    "{} parameters given, the statement has {}",
                    row.num_columns(),
                    inferred.len()
                ),
            ));
        }
        let types = parameters::types_for(inferred, &row.schema());
        let mut prepared = Arc::clone(&statement.prepared);
        if types != *inferred {
            let declared: Vec<_> = types.iter().cloned().map(Some).collect();
            let again = self
                .prepare(caller, &statement.options, &statement.sql, &declared)
                .await;
            prepared = Arc::new(again.map_err(|error| error::of_query(&error))?);
        }
        let encoded = parameters::cast_row(row, &prepared.parameter_types).and_then(|row| parameters::encode(&row));
        Ok(Bound {
            prepared,
            values: encoded.map_err(|error| error::of_query(&error))?,
        })
    }
}

fn endpoint(ticket: Ticket, expires: i64) -> FlightEndpoint {
    let mut endpoint = FlightEndpoint::new().with_ticket(ticket);
    endpoint.expiration_time.get_or_insert_default().seconds = expires;
    endpoint
}

fn no_update() -> Status {
    error::invalid(
        "42809",
        "the statement returns rows: ask for them as for a query, not as for an update",
    )
}

fn no_transactions() -> Status {
    error::not_supported("there are no transactions: everything is read-only, and each statement sees one moment")
}

fn no_substrait() -> Status {
    error::not_supported("Substrait plans are not taken, only SQL")
}

/// The message of an action: as it is, or in an `Any`, which clients do as they like.
fn unpack<M: Message + Default>(body: &Bytes) -> Result<M, Status> {
    let packed = Any::decode(&**body)
        .ok()
        .filter(|any| any.type_url.starts_with("type.googleapis.com/"));
    let message = packed.map_or_else(|| body.clone(), |any| any.value);
    M::decode(message)
        .map_err(|error| error::invalid("08P01", &format!("the action's message cannot be read: {error}")))
}

fn one_result(message: &impl Message) -> Response<ActionStream> {
    let result = arrow_flight::Result {
        body: message.encode_to_vec().into(),
    };
    Response::new(stream::iter([Ok(result)]).boxed())
}

/// The one row of values that a client binds; `None` if it sends none.
async fn bound_row(request: Request<PeekableFlightDataStream>) -> Result<Option<RecordBatch>, Status> {
    let messages = request
        .into_inner()
        .map_err(|status| FlightError::Tonic(Box::new(status)));
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
    let mut row: Option<RecordBatch> = None;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            other => error::invalid("08P01", &format!("the parameters cannot be read: {other}")),
        })?;
        if batch.num_rows() == 0 {
            continue;
        }
        if batch.num_rows() > 1 || row.is_some() {
            return Err(error::not_supported(
                "a query takes one row of parameters; execute it once for each row",
            ));
        }
        row = Some(batch);
    }
    Ok(row)
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Gate;

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = caller(&request)?;
        let sql = parameters::numbered(&query.query).map_err(|error| error::of_query(&error))?;
        let prepared = self.prepare(&caller, &caller.options, &sql, &[]).await;
        let prepared = prepared.map_err(|error| error::of_query(&error))?;
        if !prepared.parameter_types.is_empty() {
            return Err(error::invalid(
                "08P01",
                "the statement has parameters: prepare it, and bind values to them",
            ));
        }
        let order = Order {
            user: caller.identity.user.clone(),
            options: caller.options.clone(),
            sql: Some(sql),
            ..Order::default()
        };
        self.info(request, &client_schema(&prepared.schema), order)
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = caller(&request)?;
        let statement = self.statement(&query.prepared_statement_handle, &caller)?;
        let bound = statement.bound();
        if bound.is_none() && !statement.prepared.parameter_types.is_empty() {
            return Err(error::invalid(
                "08P01",
                &format!(
                    "the statement has {} parameters without values",
                    statement.prepared.parameter_types.len()
                ),
            ));
        }
        let prepared = bound.as_ref().map_or(&statement.prepared, |bound| &bound.prepared);
        let schema = client_schema(&prepared.schema);
        let order = Order {
            user: caller.identity.user.clone(),
            options: statement.options.clone(),
            sql: Some(statement.sql.clone()),
            parameters: bound.map(|bound| bound.values).unwrap_or_default(),
            prepared: query.prepared_statement_handle.to_vec(),
            ..Order::default()
        };
        self.info(request, &schema, order)
    }

    async fn get_flight_info_substrait_plan(
        &self,
        _: CommandStatementSubstraitPlan,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Err(no_substrait())
    }

    async fn get_flight_info_catalogs(
        &self,
        command: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.metadata_info(request, &command.into_builder().schema())
    }

    async fn get_flight_info_schemas(
        &self,
        command: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.metadata_info(request, &command.into_builder().schema())
    }

    async fn get_flight_info_tables(
        &self,
        command: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.metadata_info(request, &Metadata::tables_schema(command))
    }

    async fn get_flight_info_table_types(
        &self,
        command: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.metadata_info(request, &command.into_builder().schema())
    }

    async fn get_flight_info_sql_info(
        &self,
        _: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.metadata_info(request, &self.metadata.sql_info_schema())
    }

    async fn get_flight_info_primary_keys(
        &self,
        _: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.metadata_info(request, &PRIMARY_KEYS)
    }

    async fn get_flight_info_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.metadata_info(request, &FOREIGN_KEYS)
    }

    async fn get_flight_info_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.metadata_info(request, &FOREIGN_KEYS)
    }

    async fn get_flight_info_cross_reference(
        &self,
        _: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.metadata_info(request, &FOREIGN_KEYS)
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        _: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.metadata_info(request, &self.metadata.types_schema())
    }

    async fn get_flight_info_fallback(
        &self,
        command: Command,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let what = command.type_url();
        Err(error::not_supported(&format!(
            "{what:?} is no command of Flight SQL that gives rows"
        )))
    }

    async fn do_put_error_callback(
        &self,
        _: Request<PeekableFlightDataStream>,
        error: DoPutError,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(error::invalid("08P01", &format!("DoPut: {error}")))
    }

    async fn do_put_fallback(
        &self,
        _: Request<PeekableFlightDataStream>,
        message: Any,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        let what = message.type_url;
        Err(error::not_supported(&format!(
            "DoPut: {what:?} is no command of Flight SQL that takes rows"
        )))
    }

    async fn do_put_statement_update(
        &self,
        update: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let caller = caller(&request)?;
        Err(self.refuse_update(&caller, &update.query).await)
    }

    async fn do_put_statement_ingest(
        &self,
        _: CommandStatementIngest,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(error::read_only("bulk ingestion"))
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let caller = caller(&request)?;
        let statement = self.statement(&query.prepared_statement_handle, &caller)?;
        let row = bound_row(request).await?;
        if let Some(row) = row
            && row.num_columns() + statement.prepared.parameter_types.len() > 0
        {
            statement.bind(self.bind(&caller, &statement, &row).await?);
        }
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(query.prepared_statement_handle),
        })
    }

    /// What can be prepared returns rows.
    async fn do_put_prepared_statement_update(
        &self,
        update: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let caller = caller(&request)?;
        self.statement(&update.prepared_statement_handle, &caller)?;
        Err(no_update())
    }

    async fn do_put_substrait_plan(
        &self,
        _: CommandStatementSubstraitPlan,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(no_substrait())
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let caller = caller(&request)?;
        let sql = parameters::numbered(&query.query).map_err(|error| error::of_query(&error))?;
        let prepared = self.prepare(&caller, &caller.options, &sql, &[]).await;
        let prepared = prepared.map_err(|error| error::of_query(&error))?;
        let dataset_schema = schema_bytes(&client_schema(&prepared.schema))?;
        let parameter_schema = schema_bytes(&parameters::schema(&prepared.parameter_types))?;
        let handle = Bytes::copy_from_slice(&random::<16>().map_err(error::internal)?);
        let statement = Statement::new(&caller.identity.user, sql, caller.options.clone(), prepared);
        if self.statements.insert(handle.clone(), statement).is_none() {
            return Err(error::of_query(&QueryError::Overloaded {
                message: "too many prepared statements; close those that are not needed".into(),
            }));
        }
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle,
            dataset_schema,
            parameter_schema,
        })
    }

    /// Closing one that is not there is all well: it may have been closed for not being used.
    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let caller = caller(&request)?;
        self.statements
            .close(&query.prepared_statement_handle, &caller.identity.user);
        Ok(())
    }

    async fn do_action_create_prepared_substrait_plan(
        &self,
        _: ActionCreatePreparedSubstraitPlanRequest,
        _: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        Err(no_substrait())
    }

    async fn do_action_begin_transaction(
        &self,
        _: ActionBeginTransactionRequest,
        _: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        Err(no_transactions())
    }

    async fn do_action_end_transaction(
        &self,
        _: ActionEndTransactionRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        Err(no_transactions())
    }

    async fn do_action_begin_savepoint(
        &self,
        _: ActionBeginSavepointRequest,
        _: Request<Action>,
    ) -> Result<ActionBeginSavepointResult, Status> {
        Err(no_transactions())
    }

    async fn do_action_end_savepoint(&self, _: ActionEndSavepointRequest, _: Request<Action>) -> Result<(), Status> {
        Err(no_transactions())
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let info: FlightInfo = unpack(&query.info)?;
        self.cancel(&info, &caller(&request)?)?;
        Ok(ActionCancelQueryResult { result: CANCELLED })
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        let caller = caller(&request)?;
        let action = request.into_inner();
        match action.r#type.as_str() {
            CANCEL_FLIGHT_INFO => {
                let request: CancelFlightInfoRequest = unpack(&action.body)?;
                self.cancel(&request.info.unwrap_or_default(), &caller)?;
                let mut result = CancelFlightInfoResult::default();
                result.set_status(CancelStatus::Cancelled);
                Ok(one_result(&result))
            }
            RENEW_FLIGHT_ENDPOINT => {
                let request: RenewFlightEndpointRequest = unpack(&action.body)?;
                let ticket = request
                    .endpoint
                    .and_then(|endpoint| endpoint.ticket)
                    .unwrap_or_default();
                let order = self.tickets.read(&ticket, &caller.identity.user)?;
                let (ticket, expires) = self.tickets.issue(order)?;
                Ok(one_result(&endpoint(ticket, expires)))
            }
            SET_SESSION_OPTIONS => Ok(one_result(&self.set_options(&caller, &action.body).await?)),
            GET_SESSION_OPTIONS => {
                let options = caller.session.options();
                let value = |name: &str| (name.to_owned(), OptionValue::text(options.get(name)));
                Ok(one_result(&GetSessionOptionsResult {
                    session_options: options::NAMES.into_iter().map(value).collect(),
                }))
            }
            CLOSE_SESSION => {
                match caller.token {
                    Some(token) => self.tokens.end(&token),
                    None => caller.connection.end_session(&caller.identity.user),
                }
                Ok(one_result(&CloseSessionResult {
                    status: CloseStatus::Closed as i32,
                }))
            }
            other => Err(error::not_supported(&format!(
                "there is no action {other:?}; ListActions names those there are"
            ))),
        }
    }

    /// There are none to add: [`Metadata`] has them all.
    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
