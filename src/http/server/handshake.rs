//! From an accepted connection to one that HTTP is spoken on: the TLS handshake.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{LINGER, linger};
use crate::http::error::Problem;
use crate::http::exchange::new_request_id;
use crate::tls::{ClientCertificate, Tls};

/// What every TLS record of a handshake begins with (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// The connection once both sides have proved what they show, with the certificate whose key the client
/// holds. None where it does not come to that within `time`: then it is closed.
pub(super) async fn perform(
    stream: TcpStream,
    tls: &Tls,
    time: Duration,
) -> Option<(TlsStream<TcpStream>, Option<ClientCertificate>)> {
    timeout(time, shake(stream, tls)).await.ok().flatten()
}

async fn shake(stream: TcpStream, tls: &Tls) -> Option<(TlsStream<TcpStream>, Option<ClientCertificate>)> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    if first != [HANDSHAKE_RECORD] {
        // Only who speaks HTTP can read an answer.
        if first.first().is_some_and(u8::is_ascii_uppercase) {
            refuse_plain(stream).await;
        }
        return None;
    }
    let acceptor = TlsAcceptor::from(tls.current().server.clone());
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "a handshake failed");
            return None;
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(ClientCertificate::new);
    Some((stream, certificate))
}

async fn refuse_plain(mut stream: TcpStream) {
    let problem = Problem::new("bad_request", "this address speaks TLS: write https:// instead of http://");
    let body = problem.body(new_request_id());
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if timeout(LINGER, stream.write_all(format!("{head}{body}").as_bytes()))
        .await
        .is_ok_and(|sent| sent.is_ok())
    {
        linger(stream).await;
    }
}
