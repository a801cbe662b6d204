//! The PostgreSQL door and clients that do not keep to the protocol: nothing they send ends the server, makes it panic or grow, or keeps
//! others out.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::columns::Dice;
use crate::support::pg::Session;
use crate::support::{Server, fixtures};

/// A connection that says what a test says.
struct Raw(TcpStream);

impl Raw {
    fn open(server: &Server) -> Raw {
        let socket = TcpStream::connect(server.pg).expect("the server listens");
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a time-out");
        Raw(socket)
    }

    fn send(&mut self, bytes: &[u8]) {
        // A server may have had enough.
        let _ = self.0.write_all(bytes);
    }

    /// A message with its length.
    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short");
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    fn startup() -> Vec<u8> {
        let body = b"\0\x03\0\0user\0abuse\0database\0spark\0\0";
        let length = u32::try_from(body.len() + 4).expect("short");
        [&length.to_be_bytes()[..], body].concat()
    }

    /// Logged in, up to `ReadyForQuery`.
    fn session(server: &Server) -> Raw {
        let mut raw = Raw::open(server);
        raw.send(&Raw::startup());
        raw.until_ready();
        raw
    }

    /// Kind and body of the next message; `None` at the end.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; usize::try_from(length).ok()?.checked_sub(4)?];
        self.0.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }

    /// SQLSTATEs of the errors up to `ReadyForQuery`; then whether that came.
    fn until_ready(&mut self) -> (Vec<String>, bool) {
        let mut errors = Vec::new();
        while let Some((kind, body)) = self.next() {
            match kind {
                b'Z' => return (errors, true),
                b'E' => errors.push(field(&body, b'C')),
                _ => {}
            }
        }
        (errors, false)
    }
}

fn field(body: &[u8], wanted: u8) -> String {
    let fields = body.split(|byte| *byte == 0);
    let found = fields
        .filter(|field| field.first() == Some(&wanted))
        .map(|field| &field[1..]);
    found
        .map(|field| String::from_utf8_lossy(field).into_owned())
        .next()
        .unwrap_or_default()
}

/// Statements, portals and errors of a session that is well.
fn conversation() -> Vec<Vec<u8>> {
    vec![
        Raw::message(b'Q', b"select 1; select app_id from applications limit 2\0"),
        Raw::message(b'P', b"s\0select $1::int + value from generate_series(1, 3) t(value)\0\0\x01\0\0\0\x17"),
        Raw::message(b'D', b"Ss\0"),
        Raw::message(b'B', b"p\0s\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0\x07\0\x01\0\x01"),
        Raw::message(b'D', b"Pp\0"),
        Raw::message(b'E', b"p\0\0\0\0\x02"),
        Raw::message(b'H', b""),
        Raw::message(b'E', b"p\0\0\0\0\0"),
        Raw::message(b'C', b"Pp\0"),
        Raw::message(b'S', b""),
        Raw::message(b'Q', b"begin; declare c scroll cursor for select 1; fetch all from c; copy (select 1) to stdout binary; rollback\0"),
    ]
}

fn changed(mut bytes: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match dice.roll(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, u8::try_from(dice.roll(256)).expect("a byte")),
            2 if !bytes.is_empty() => bytes[at] ^= 1 << dice.roll(8),
            3 if !bytes.is_empty() => bytes[at] = [0, 0x7f, 0x80, 0xff][dice.roll(4)],
            _ => {
                let tail = bytes[at..].to_vec();
                bytes.extend(tail);
            }
        }
        if bytes.is_empty() {
            return bytes;
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bytes_end_the_server_or_make_it_panic() {
    let server = Server::start(&fixtures().join("logs"));
    let session = Session::open(&server).await;
    let before = server.memory();
    let mut dice = Dice::new(20_261_121);
    for round in 0..600 {
        let mut raw = Raw::open(&server);
        if round % 3 == 0 {
            // Before the log-in: anything, and what is nearly a startup message.
            let bytes = match dice.roll(2) {
                0 => (0..dice.roll(400))
                    .map(|_| u8::try_from(dice.roll(256)).expect("a byte"))
                    .collect(),
                _ => changed(Raw::startup(), &mut dice),
            };
            raw.send(&bytes);
            continue;
        }
        raw.send(&Raw::startup());
        let mut bytes = Vec::new();
        for message in conversation() {
            bytes.extend(match dice.roll(4) {
                0 => changed(message, &mut dice),
                _ => message,
            });
        }
        raw.send(&bytes);
        // Some wait for an answer, some leave at once.
        if dice.roll(2) == 0 {
            raw.0
                .set_read_timeout(Some(Duration::from_millis(50)))
                .expect("a time-out");
            let mut answer = vec![0; 1 << 16];
            let _ = raw.0.read(&mut answer);
        }
    }
    assert_eq!(session.rows("select 41 + 1").await, ["42"]);
    let stderr = server.stderr();
    assert!(!stderr.contains("a defect in sparkgate"), "{stderr}");
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 200 << 20, "{grown} bytes more than before");
    let sessions = "select count(*) from system.sessions";
    session.answers_within(Duration::from_secs(20), sessions, &["1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_one_message_is_not_the_end_of_the_session() {
    let server = Server::start(&fixtures().join("logs"));
    let mut raw = Raw::session(&server);
    for (message, code) in [
        // Lengths inside that lie.
        (
            Raw::message(b'B', b"\0\0\0\x01\0\x01\0\x01\x7f\xff\xff\xffx\0\0"),
            "08P01",
        ),
        (Raw::message(b'B', b"\0\0\xff\xff"), "08P01"),
        (Raw::message(b'P', b"no end"), "08P01"),
        (Raw::message(b'D', b"Xs\0"), "08P01"),
        (Raw::message(b'E', b"nothing\0\0\0\0\0"), "34000"),
        (Raw::message(b'B', b"\0nothing\0\0\0\0\0\0\0"), "26000"),
        (Raw::message(b'P', b"\0select $70000\0\0\0"), "42P02"),
        (Raw::message(b'P', b"\0select \xff\0\0\0"), "08P01"),
    ] {
        raw.send(&message);
        raw.send(&Raw::message(b'S', b""));
        assert_eq!(raw.until_ready(), (vec![code.to_owned()], true), "{message:?}");
    }
    // A length that no message has is the end: where the next one begins is not known.
    raw.send(b"Q\x7f\xff\xff\xff");
    assert_eq!(raw.until_ready(), (vec!["08P01".to_owned()], false));
}

#[tokio::test(flavor = "multi_thread")]
async fn very_long_statements_and_very_many_parameters_are_answered() {
    let server = Server::start(&fixtures().join("logs"));
    let session = Session::open(&server).await;
    let ten = 10 << 20;
    let text = format!("select length('{}')", "x".repeat(ten));
    assert_eq!(session.rows(&text).await, [ten.to_string()]);
    // Three million operators nest too deeply for anybody.
    let nested = format!("select 1{}", "+1".repeat(ten / 2));
    assert_eq!(session.code(&nested).await, "54001");
    let deep = format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(session.code(&deep).await, "54001");
    let list = (0..100_000)
        .map(|number| number.to_string())
        .collect::<Vec<_>>()
        .join(",");
    assert_eq!(session.rows(&format!("select 7 in ({list})")).await, ["t"]);

    // As many parameters as a message can carry, and more than that.
    let placeholders = (1..=65_535)
        .map(|number| format!("${number}"))
        .collect::<Vec<_>>()
        .join(",");
    let statement = format!("select count(*) from (values (1)) t(v) where v::text in ({placeholders})");
    let statement = session.client.prepare(&statement);
    let statement = statement.await.expect("65535 parameters");
    let values: Vec<String> = (1..=65_535).map(|number: i32| number.to_string()).collect();
    let values: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    let row = session.client.query_one(&statement, &values).await.expect("an answer");
    assert_eq!(row.get::<_, i64>(0), 1);
    let many = (1..=100_000)
        .map(|number| format!("${number}"))
        .collect::<Vec<_>>()
        .join(",");
    assert_eq!(session.code(&format!("select 1 where 1 in ({many})")).await, "42P02");
    assert_eq!(session.code("select $1").await, "42P02");
    assert_eq!(session.rows("select 1").await, ["1"]);
}
