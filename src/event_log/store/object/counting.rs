//! Counts the requests that go out, whatever made the client send them.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use super::super::RequestCounter;

/// Makes clients that count.
#[derive(Debug)]
pub(super) struct CountingConnector(pub(super) Arc<RequestCounter>);

impl HttpConnector for CountingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(CountingService {
            client,
            requests: Arc::clone(&self.0),
        }))
    }
}

#[derive(Debug)]
struct CountingService {
    client: HttpClient,
    requests: Arc<RequestCounter>,
}

#[async_trait]
impl HttpService for CountingService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let is_listing = query.contains("list-type=") || query.contains("comp=list");
        match request.method().as_str() {
            "HEAD" => self.requests.head(),
            "GET" if is_listing => self.requests.list(),
            "GET" => self.requests.get(),
            // Credentials.
            _ => {}
        }
        self.client.execute(request).await
    }
}
