//! Every request comes through here: who asks is found out before anything else is looked at, and what `arrow-flight`'s dispatch of Flight SQL
//! leaves out is answered.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, BasicAuth, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use prost::Message;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

use super::connection::Connection;
use super::options::{self, Options, Refused};
use super::service::Service;
use super::session::{Caller, Found, Session, Tokens};
use super::{FlightOptions, error};
use crate::catalog::activity::Activity;
use crate::server::auth::{Credentials, Identity, NoRandomness, Refusal};
use crate::server::pg::DATABASE;
use crate::server::query::QueryEngine;
use crate::server::security::Security;

/// What a client may call itself; more is cut.
const LONGEST_AGENT: usize = 200;

#[derive(Debug)]
pub(super) struct Gate {
    security: Arc<Security>,
    tokens: Arc<Tokens>,
    activity: Arc<Activity>,
    service: Service,
}

impl Gate {
    pub(super) fn new(
        engine: Arc<QueryEngine>,
        security: Arc<Security>,
        options: FlightOptions,
        shutdown: watch::Receiver<bool>,
    ) -> Result<Gate, NoRandomness> {
        let tokens = Arc::new(Tokens::new(options.token_lifetime)?);
        Ok(Gate {
            security,
            activity: Arc::clone(engine.activity()),
            tokens: Arc::clone(&tokens),
            service: Service::new(engine, tokens, options, shutdown)?,
        })
    }

    /// Lets somebody in, or not; the service finds the [`Caller`] with the request.
    async fn enter<T>(&self, request: &mut Request<T>) -> Result<(), Status> {
        let connection = connection(request)?;
        let caller = self.caller(&connection, request.metadata()).await?;
        request.extensions_mut().insert(caller);
        Ok(())
    }

    async fn caller(&self, connection: &Arc<Connection>, metadata: &MetadataMap) -> Result<Caller, Status> {
        self.check(connection)?;
        let header = authorization(metadata);
        let mut decoded = String::new();
        let credentials = Credentials::of_header(&header, &mut decoded);
        let found = match credentials {
            Credentials::Token(token) => self.tokens.find(token),
            _ => Found::NotOurs,
        };
        let (identity, session, token) = match found {
            Found::Session {
                id,
                user,
                stamp,
                session,
            } => {
                if session.is_terminated() {
                    self.tokens.end(&id);
                    return Err(error::of_refusal(&Refusal::WrongToken));
                }
                let admitted = self
                    .security
                    .auth
                    .admit_again(&connection.peer, DATABASE, &user, &stamp);
                (
                    admitted.map_err(|refusal| error::of_refusal(&refusal))?,
                    session,
                    Some(id),
                )
            }
            Found::Over => return Err(error::of_refusal(&Refusal::WrongToken)),
            Found::NotOurs => {
                let identity = self.log_in(connection, credentials).await?;
                let begin = || Session::begin(&self.activity, &identity, &connection.peer, &agent(metadata));
                let session = connection.session(&identity.user, begin).ok_or_else(|| {
                    overloaded(
                        "too many users on one connection; log in by a handshake, or with connections of their own",
                    )
                })?;
                (identity, session, None)
            }
        };
        let options = options_of_request(session.options(), metadata)?;
        Ok(Caller {
            identity,
            session,
            options,
            agent: agent(metadata),
            connection: Arc::clone(connection),
            token,
            busy: Arc::new(connection.busy()),
        })
    }

    fn check(&self, connection: &Connection) -> Result<(), Status> {
        if !connection.has_place {
            return Err(overloaded("sorry, too many clients already"));
        }
        if self.security.require_tls && connection.peer.tls.is_none() {
            return Err(error::of_refusal(&Refusal::NotEncrypted));
        }
        Ok(())
    }

    async fn log_in(&self, connection: &Connection, credentials: Credentials<'_>) -> Result<Identity, Status> {
        let log_in = self.security.auth.log_in(&connection.peer, DATABASE, credentials);
        let in_time = tokio::time::timeout(self.security.timeout, log_in).await;
        in_time
            .unwrap_or(Err(Refusal::TimedOut))
            .map_err(|refusal| error::of_refusal(&refusal))
    }
}

fn overloaded(message: &str) -> Status {
    error::with_sqlstate(Code::ResourceExhausted, "53300", message)
}

fn connection<T>(request: &Request<T>) -> Result<Arc<Connection>, Status> {
    let connection = request.extensions().get::<Arc<Connection>>();
    let no_connection = || error::internal("a request came without its connection");
    connection.cloned().ok_or_else(no_connection)
}

/// The header `authorization`; older clients of Flight send the token alone, in a header of their own.
fn authorization(metadata: &MetadataMap) -> String {
    let header = metadata.get("authorization").and_then(|value| value.to_str().ok());
    if let Some(header) = header {
        return header.to_owned();
    }
    let token = metadata
        .get_bin("auth-token-bin")
        .and_then(|value| value.to_bytes().ok());
    let token = token.and_then(|token| String::from_utf8(token.to_vec()).ok());
    token.map_or_else(String::new, |token| format!("Bearer {token}"))
}

fn agent(metadata: &MetadataMap) -> String {
    let agent = metadata.get("user-agent").and_then(|value| value.to_str().ok());
    agent.unwrap_or_default().chars().take(LONGEST_AGENT).collect()
}

/// The session's options, and over them those that the request brings as headers.
fn options_of_request(mut options: Options, metadata: &MetadataMap) -> Result<Options, Status> {
    for name in options::NAMES {
        let header = options::header(name);
        let Some(value) = metadata.get(&header) else { continue };
        let value = value.to_str().unwrap_or_default();
        if let Err(Refused::Value(what)) = options.set(name, Some(value)) {
            return Err(error::invalid("22023", &format!("header {header}: {what}")));
        }
    }
    Ok(options)
}

/// Flight SQL describes what is wanted by a command; paths and tickets of other servers mean nothing here.
fn check_descriptor(descriptor: &FlightDescriptor) -> Result<(), Status> {
    match descriptor.r#type() {
        DescriptorType::Cmd => Ok(()),
        _ => Err(error::invalid(
            "08P01",
            "this server has no flights by path: it takes commands of Flight SQL, such as CommandStatementQuery",
        )),
    }
}

#[tonic::async_trait]
impl FlightService for Gate {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;

    /// A log-in: by the header `authorization`, or by the message that older clients send. The answer has a token, in a header of the same
    /// name and as payload.
    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let connection = connection(&request)?;
        let agent = agent(request.metadata());
        self.check(&connection)?;
        let header = authorization(request.metadata());
        let mut decoded = String::new();
        let mut credentials = Credentials::of_header(&header, &mut decoded);
        let basic;
        if matches!(credentials, Credentials::None) {
            let first = first_message(request.into_inner(), self.security.timeout).await?;
            basic = first
                .map(|first| BasicAuth::decode(first.payload).unwrap_or_default())
                .unwrap_or_default();
            if !basic.username.is_empty() {
                credentials = Credentials::Password {
                    user: &basic.username,
                    password: &basic.password,
                };
            }
        }
        let token = match credentials {
            // Whoever has a token goes on with it.
            Credentials::Token(token) => {
                match self.tokens.find(token) {
                    Found::Session { user, stamp, .. } => {
                        let admitted = self
                            .security
                            .auth
                            .admit_again(&connection.peer, DATABASE, &user, &stamp);
                        admitted.map_err(|refusal| error::of_refusal(&refusal))?;
                    }
                    Found::Over => return Err(error::of_refusal(&Refusal::WrongToken)),
                    Found::NotOurs => {
                        self.log_in(&connection, credentials).await?;
                    }
                }
                token.to_owned()
            }
            _ => {
                let identity = self.log_in(&connection, credentials).await?;
                let stamp = self.security.auth.stamp(&identity.user);
                let session = Session::begin(&self.activity, &identity, &connection.peer, &agent);
                self.tokens
                    .mint(&identity.user, stamp, session)
                    .map_err(error::internal)?
            }
        };
        // Its end begins the time in which a connection without requests is closed.
        drop(connection.busy());
        let answer = HandshakeResponse {
            protocol_version: 0,
            payload: token.clone().into_bytes().into(),
        };
        let mut response = Response::new(stream::iter([Ok(answer)]).boxed());
        let header = format!("Bearer {token}").parse().map_err(error::internal)?;
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn list_flights(&self, mut request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.enter(&mut request).await?;
        // Results are made for who asks for them; there are none to be found.
        Ok(Response::new(stream::empty().boxed()))
    }

    async fn get_flight_info(&self, mut request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        self.enter(&mut request).await?;
        check_descriptor(request.get_ref())?;
        FlightService::get_flight_info(&self.service, request).await
    }

    /// Statements are planned at once, and run when they are fetched: there is nothing to wait for.
    async fn poll_flight_info(&self, mut request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        self.enter(&mut request).await?;
        check_descriptor(request.get_ref())?;
        let info = FlightService::get_flight_info(&self.service, request).await?;
        Ok(Response::new(PollInfo {
            info: Some(info.into_inner()),
            flight_descriptor: None,
            progress: Some(1.0),
            expiration_time: None,
        }))
    }

    async fn get_schema(&self, mut request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        self.enter(&mut request).await?;
        check_descriptor(request.get_ref())?;
        let info = FlightService::get_flight_info(&self.service, request).await?;
        Ok(Response::new(SchemaResult {
            schema: info.into_inner().schema,
        }))
    }

    async fn do_get(&self, mut request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        self.enter(&mut request).await?;
        self.service.fetch(request).await
    }

    async fn do_put(&self, mut request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        self.enter(&mut request).await?;
        FlightService::do_put(&self.service, request).await
    }

    async fn do_exchange(
        &self,
        mut request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.enter(&mut request).await?;
        Err(error::not_supported("DoExchange is no part of Flight SQL"))
    }

    async fn do_action(&self, mut request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        self.enter(&mut request).await?;
        FlightService::do_action(&self.service, request).await
    }

    async fn list_actions(&self, mut request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        self.enter(&mut request).await?;
        Ok(Response::new(self.service.actions()))
    }
}

/// The first message of a handshake; `None` if the client sends none.
async fn first_message(
    mut messages: Streaming<HandshakeRequest>,
    within: Duration,
) -> Result<Option<HandshakeRequest>, Status> {
    match tokio::time::timeout(within, messages.message()).await {
        Ok(first) => first,
        Err(_) => Err(error::of_refusal(&Refusal::TimedOut)),
    }
}
