use crate::support::{Server, fixtures};

#[tokio::test]
async fn the_server_says_where_it_listens_and_stops_on_sigterm() {
    let mut server = tokio::task::spawn_blocking(|| Server::start(&fixtures().join("logs")))
        .await
        .expect("no panic");
    let url = format!(
        "host={} port={} user=test dbname=spark",
        server.pg.ip(),
        server.pg.port()
    );
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .expect("the port answers");
    let connection = tokio::spawn(connection);
    let rows = client
        .simple_query("select count(*) from applications where completed")
        .await
        .expect("an answer");
    let count = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    assert!(count.is_some_and(|n| n != "0"), "no finished applications in {rows:?}");
    drop(client);
    let _ = connection.await;
    assert!(server.stop().success());
}
