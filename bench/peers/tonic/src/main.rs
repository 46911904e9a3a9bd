//! The least an ext_authz server on tonic does: find the key of a request in a map and allow or deny with a fixed reply.
//! Usage: authorizer LISTEN KEYS, LISTEN being host:port or unix:/path and KEYS a file with one key a line.
//! It prints "listening ADDRESS" once it accepts connections and ends on SIGTERM.
use std::collections::HashSet;
use std::error::Error;

use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::google::protobuf::BoolValue;
use envoy_types::pb::google::rpc;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

struct Authorizer {
    keys: HashSet<Vec<u8>>,
    allow: CheckResponse,
    unknown: CheckResponse,
    unauthorized: CheckResponse,
}

#[tonic::async_trait]
impl Authorization for Authorizer {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let http = request
            .get_ref()
            .attributes
            .as_ref()
            .and_then(|attributes| attributes.request.as_ref())
            .and_then(|request| request.http.as_ref());
        let reply = match http {
            Some(http) if key_of(http).is_some_and(|key| self.keys.contains(key)) => {
                if http.path.starts_with("/v1/none/") { &self.unauthorized } else { &self.allow }
            }
            _ => &self.unknown,
        };
        Ok(Response::new(reply.clone()))
    }
}

/// Envoy fills one of the two, by `encode_raw_headers`.
fn key_of(http: &HttpRequest) -> Option<&[u8]> {
    if let Some(key) = http.headers.get("x-api-key") {
        return Some(key.as_bytes());
    }
    let headers = &http.header_map.as_ref()?.headers;
    headers.iter().find(|header| header.key == "x-api-key").map(|header| header.raw_value.as_slice())
}

fn header(name: &str, value: &str) -> HeaderValueOption {
    #[allow(deprecated)]
    HeaderValueOption {
        header: Some(HeaderValue { key: name.into(), value: value.into(), ..Default::default() }),
        append: Some(BoolValue { value: false }),
        ..Default::default()
    }
}

fn reply(code: Code, response: HttpResponse) -> CheckResponse {
    CheckResponse {
        status: Some(rpc::Status { code: code as i32, ..Default::default() }),
        http_response: Some(response),
        ..Default::default()
    }
}

fn denial(code: Code, http_status: i32, text: &str) -> CheckResponse {
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: http_status }),
        headers: vec![header("content-type", "application/json")],
        body: format!(r#"{{"error":{{"code":"{text}","message":"{text}"}}}}"#),
    };
    reply(code, HttpResponse::DeniedResponse(denied))
}

fn authorizer(keys: HashSet<Vec<u8>>) -> Authorizer {
    let ok = OkHttpResponse {
        headers: vec![
            header("x-organization-id", "org_019ca000-0000-7000-8000-000000000001"),
            header("x-api-key-id", "key_019ca000-0000-7000-8000-000000000001"),
        ],
        headers_to_remove: vec!["x-api-key".into()],
        ..Default::default()
    };
    Authorizer {
        keys,
        allow: reply(Code::Ok, HttpResponse::OkResponse(ok)),
        unknown: denial(Code::Unauthenticated, 401, "invalid"),
        unauthorized: denial(Code::PermissionDenied, 403, "scope"),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, key_file] = arguments.as_slice() else {
        return Err("usage: authorizer LISTEN KEYS".into());
    };
    let keys = std::fs::read_to_string(key_file)?.lines().map(|line| line.as_bytes().to_vec()).collect();
    let router = Server::builder().add_service(AuthorizationServer::new(authorizer(keys)));
    let mut ended = signal(SignalKind::terminate())?;
    let end = async move {
        ended.recv().await;
    };
    if let Some(path) = address.strip_prefix("unix:") {
        let listener = UnixListener::bind(path)?;
        println!("listening {address}");
        tokio::select! {
            served = router.serve_with_incoming(UnixListenerStream::new(listener)) => served?,
            () = end => (),
        }
    } else {
        let incoming = TcpIncoming::bind(address.parse()?)?.with_nodelay(Some(true));
        println!("listening {}", incoming.local_addr()?);
        tokio::select! {
            served = router.serve_with_incoming(incoming) => served?,
            () = end => (),
        }
    }
    Ok(())
}
