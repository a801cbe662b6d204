//! The door with the client of `arrow-flight`, against an engine without a history: what ends a statement, and what closes a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::FlightInfo;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::StreamExt;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::{FlightOptions, serve};
use crate::config::{AuthConfig, Span, TlsConfig};
use crate::server::long_running::{ENDLESS, SLOW_COUNT, session};
use crate::server::query::{QueryEngine, QueryLimits};
use crate::server::security::Security;

struct TestDoor {
    address: SocketAddr,
    engine: Arc<QueryEngine>,
    shutdown: watch::Sender<bool>,
}

impl TestDoor {
    async fn open(options: FlightOptions) -> TestDoor {
        Self::open_with(options, Duration::from_secs(60), None).await
    }

    async fn open_with(options: FlightOptions, login: Duration, timeout: Option<Duration>) -> TestDoor {
        let limits = QueryLimits {
            timeout,
            memory_bytes: Some(256 << 20),
            wait_for_logs: Duration::from_secs(1),
            ..QueryLimits::default()
        };
        let engine = QueryEngine::start_with(Arc::new(session), limits).unwrap();
        let auth = AuthConfig {
            timeout: Span(login),
            ..AuthConfig::default()
        };
        let security = Arc::new(Security::open(&auth, &TlsConfig::default()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, stop) = watch::channel(false);
        tokio::spawn(serve(listener, Arc::clone(&engine), security, options, stop));
        TestDoor {
            address,
            engine,
            shutdown,
        }
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn client(&self) -> FlightSqlServiceClient<Channel> {
        FlightSqlServiceClient::new(self.channel().await)
    }

    /// Statements run on within a second of what should have ended them.
    async fn nothing_runs_within_a_second(&self) {
        let since = Instant::now();
        while self.engine.running() > 0 {
            assert!(
                since.elapsed() < Duration::from_secs(1),
                "{} statements still run",
                self.engine.running()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn something_runs(&self) {
        let since = Instant::now();
        while self.engine.running() == 0 {
            assert!(since.elapsed() < Duration::from_secs(10), "nothing runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn info(client: &mut FlightSqlServiceClient<Channel>, sql: &str) -> FlightInfo {
    client.execute(sql.to_owned(), None).await.unwrap()
}

async fn fetch(client: &mut FlightSqlServiceClient<Channel>, info: &FlightInfo) -> FlightRecordBatchStream {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    client.do_get(ticket).await.unwrap()
}

/// How a result ends: its rows, or the code and the message of its error.
async fn end(mut batches: FlightRecordBatchStream) -> Result<usize, (Code, String)> {
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        match batch {
            Ok(batch) => rows += batch.num_rows(),
            Err(FlightError::Tonic(status)) => return Err((status.code(), status.message().to_owned())),
            Err(other) => panic!("{other}"),
        }
    }
    Ok(rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_drops_a_result_or_goes_away_ends_its_statement() {
    let door = TestDoor::open(FlightOptions::default()).await;
    let mut client = door.client().await;
    let endless = info(&mut client, ENDLESS).await;
    let mut batches = fetch(&mut client, &endless).await;
    batches.next().await.unwrap().unwrap();
    door.something_runs().await;
    drop(batches);
    door.nothing_runs_within_a_second().await;
    // The connection is gone while the first row is still to come.
    let slow = info(&mut client, SLOW_COUNT).await;
    let ticket = slow.endpoint[0].ticket.clone().unwrap();
    let fetching = tokio::spawn(async move { client.do_get(ticket).await.map(|_| ()) });
    door.something_runs().await;
    fetching.abort();
    let _ = fetching.await;
    door.nothing_runs_within_a_second().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_result_ends_for_all_its_readers() {
    let door = TestDoor::open(FlightOptions::default()).await;
    let mut client = door.client().await;
    let endless = info(&mut client, ENDLESS).await;
    let mut one = fetch(&mut client, &endless).await;
    one.next().await.unwrap().unwrap();
    let two = fetch(&mut client, &endless).await;
    let request = arrow_flight::CancelFlightInfoRequest {
        info: Some(endless.clone()),
    };
    let action = arrow_flight::Action {
        r#type: "CancelFlightInfo".into(),
        body: request.encode_to_vec().into(),
    };
    FlightServiceClient::new(door.channel().await)
        .do_action(action)
        .await
        .unwrap();
    for batches in [one, two] {
        let (code, message) = end(batches).await.unwrap_err();
        assert_eq!(code, Code::Cancelled, "{message}");
        assert!(message.contains("57014"), "{message}");
    }
    door.nothing_runs_within_a_second().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_covers_the_rows() {
    let limit = Duration::from_millis(300);
    let door = TestDoor::open_with(FlightOptions::default(), Duration::from_secs(60), Some(limit)).await;
    let mut client = door.client().await;
    for sql in [SLOW_COUNT, ENDLESS] {
        let info = info(&mut client, sql).await;
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let ended = match client.do_get(ticket).await {
            Ok(batches) => end(batches).await,
            Err(FlightError::Tonic(status)) => Err((status.code(), status.message().to_owned())),
            Err(other) => panic!("{other}"),
        };
        let (code, message) = ended.unwrap_err();
        assert_eq!(code, Code::DeadlineExceeded, "{message}");
        assert!(
            message.contains("statement timeout") && message.contains("57014"),
            "{message}"
        );
        door.nothing_runs_within_a_second().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_loses_its_result_and_is_told_so() {
    let options = FlightOptions {
        stall_timeout: Duration::from_millis(500),
        ..FlightOptions::default()
    };
    let door = TestDoor::open(options).await;
    let mut client = door.client().await;
    let endless = info(&mut client, ENDLESS).await;
    let mut batches = fetch(&mut client, &endless).await;
    batches.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    door.nothing_runs_within_a_second().await;
    // What was on its way comes, and then not the end, but why there is no more.
    let (code, message) = end(batches).await.unwrap_err();
    assert_eq!(code, Code::DeadlineExceeded);
    assert!(message.contains("stall_timeout"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_gets_everything() {
    let door = TestDoor::open(FlightOptions::default()).await;
    let mut client = door.client().await;
    let info = info(
        &mut client,
        "SELECT value, repeat('x', 1000) FROM generate_series(1, 30000) t(value)",
    )
    .await;
    let mut batches = fetch(&mut client, &info).await;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        rows += batch.unwrap().num_rows();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rows, 30_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_is_told_to_running_statements() {
    let door = TestDoor::open(FlightOptions::default()).await;
    let mut client = door.client().await;
    let endless = info(&mut client, ENDLESS).await;
    let mut batches = fetch(&mut client, &endless).await;
    batches.next().await.unwrap().unwrap();
    door.shutdown.send(true).unwrap();
    let (code, message) = end(batches).await.unwrap_err();
    assert_eq!(code, Code::Unavailable);
    assert!(message.contains("57P01"), "{message}");
    door.nothing_runs_within_a_second().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so() {
    let options = FlightOptions {
        max_connections: 2,
        ..FlightOptions::default()
    };
    let door = TestDoor::open(options).await;
    let (mut one, mut two, mut three) = (door.client().await, door.client().await, door.client().await);
    info(&mut one, "SELECT 1").await;
    info(&mut two, "SELECT 1").await;
    let refused = three.execute("SELECT 1".into(), None).await.unwrap_err().to_string();
    assert!(
        refused.contains("too many clients already") && refused.contains("53300"),
        "{refused}"
    );
    drop(one);
    let since = Instant::now();
    loop {
        let mut next = door.client().await;
        if next.execute("SELECT 1".into(), None).await.is_ok() {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(5), "the place is not free again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether the server closes a connection that begins as one of HTTP/2 and then says nothing, and after how long.
async fn closed_after(address: SocketAddr, within: Duration) -> Option<Duration> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // The preface, and empty settings.
    socket
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let begun = Instant::now();
    let mut bytes = [0; 1024];
    let closed = async { while !matches!(socket.read(&mut bytes).await, Ok(0) | Err(_)) {} };
    tokio::time::timeout(within, closed).await.ok()?;
    Some(begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_says_who_they_are_is_left_and_so_is_who_asks_nothing() {
    let login = Duration::from_millis(400);
    let options = FlightOptions {
        idle_timeout: Some(Duration::from_millis(600)),
        ..FlightOptions::default()
    };
    let door = TestDoor::open_with(options, login, None).await;
    let after = closed_after(door.address, Duration::from_secs(5))
        .await
        .expect("it is closed");
    assert!(after >= login - Duration::from_millis(50), "{after:?}");
    // A result that takes longer than the idle time is no idleness.
    let mut client = door.client().await;
    let endless = info(&mut client, ENDLESS).await;
    let mut batches = fetch(&mut client, &endless).await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(1500) {
        batches.next().await.unwrap().unwrap();
    }
    drop(batches);
    // Afterwards it is; gRPC connects again, and nobody notices.
    tokio::time::sleep(Duration::from_millis(1000)).await;
    info(&mut client, "SELECT 1").await;
}
