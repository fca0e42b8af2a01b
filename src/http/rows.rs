//! A list as it goes out: one page as JSON, or the whole answer row by row.
//!
//! A stream is read page by page while the client takes it, so its memory does not grow with it
//! and no view of the database is held open. It ends with the row that was the newest one when it
//! began. One that cannot be finished is broken off: its last chunk is missing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::accept::Shape;
use super::error::Problem;
use super::etag;
use super::guard::Asker;
use super::list::Query;
use crate::app::exports::Export;
use crate::app::{App, AppError};
use crate::export::{Form, Lines, Row, View, Wanted};
use crate::store::Span;

/// Rows that are read at a time.
const PAGE: u32 = 500;
/// A client that takes nothing for so long has its stream broken off.
const PATIENCE: Duration = Duration::from_mins(1);

/// The answer to `query`: what of `wanted` this caller may see, in `span`.
///
/// # Errors
/// 400, 403 and 503 as for every list; 503 `exports_busy` where enough streams run already.
pub async fn answer(
    app: &Arc<App>,
    asker: &Asker,
    query: &Query,
    wanted: Wanted,
    span: Span,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    app.note_read(&asker.principal, &asker.origin, query.path(), &query.question());
    let columns = wanted.columns();
    let wanted = app.scoped(&asker.principal, wanted).await?;
    match query.shape {
        Shape::Page => page(app, query, wanted.as_ref(), query.page(span), headers).await,
        Shape::Stream(form) => {
            let place = app.exports.take(&asker.origin.caller).ok_or_else(busy)?;
            stream(app, query, wanted, query.rest(span), Lines::new(form, columns), place).await
        }
    }
}

/// 503: as many exports run as may, of all or of this caller.
pub(super) fn busy() -> Problem {
    let detail = "enough exports run at this moment, or one of this caller does: try again in some seconds";
    Problem::new("exports_busy", detail)
}

async fn page(
    app: &App,
    query: &Query,
    wanted: Option<&Wanted>,
    span: Span,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let Some(wanted) = wanted else {
        return Ok(query.answer::<View<'_>>(None, &[], None));
    };
    let mut rows = wanted.page(&app.store, span).await.map_err(AppError::from)?;
    let next = query.cut(&mut rows, Row::number);
    let items: Vec<_> = rows.iter().map(|row| wanted.view(row)).collect();
    let answer = query.answer(wanted.as_of(), &items, next.as_deref());
    // A row never changes in anything else, so these stand for all that is in the answer.
    let facts: Vec<_> = items.iter().zip(&rows).map(|(view, row)| (row.number(), view.variant())).collect();
    Ok(etag::answer(headers, answer, &(env!("CARGO_PKG_VERSION"), &facts, &next)))
}

async fn stream(
    app: &Arc<App>,
    query: &Query,
    wanted: Option<Wanted>,
    span: Span,
    lines: Lines,
    place: Export,
) -> Result<Response, Problem> {
    let newest = app.store.newest_number().await.map_err(AppError::from)?;
    let span = Span { below: span.below.min(newest.saturating_add(1)), ..span };
    let (sender, receiver) = mpsc::channel(2);
    let left = query.limit().map_or(u64::MAX, u64::from);
    let (kind, file) = match lines.form() {
        Form::Csv => ("text/csv; charset=utf-8; header=present", "attachment; filename=\"countersign.csv\""),
        Form::Ndjson => ("application/x-ndjson", "attachment; filename=\"countersign.ndjson\""),
    };
    let feed = Feed { app: Arc::clone(app), lines, left, sender, _place: place };
    tokio::spawn(feed.run(wanted, span));
    let mut response = Body::new(Stream { receiver, done: false }).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static(file));
    Ok(response)
}

/// What a running stream holds.
struct Feed {
    app: Arc<App>,
    lines: Lines,
    /// How many rows may still be sent.
    left: u64,
    sender: mpsc::Sender<Piece>,
    _place: Export,
}

/// A stretch of a stream.
enum Piece {
    Some(Vec<u8>),
    Last(Vec<u8>),
}

impl Feed {
    /// Reads pages and hands them over until there are no more or nobody takes them.
    async fn run(mut self, wanted: Option<Wanted>, span: Span) {
        let mut out = Vec::new();
        self.lines.begin(&mut out);
        if let Some(wanted) = wanted
            && self.rows(&wanted, span, &mut out).await.is_none()
        {
            return;
        }
        self.lines.end(&mut out);
        let _ = tokio::time::timeout(PATIENCE, self.sender.send(Piece::Last(out))).await;
    }

    /// None where the stream is broken off.
    async fn rows(&mut self, wanted: &Wanted, mut span: Span, out: &mut Vec<u8>) -> Option<()> {
        loop {
            span.limit = PAGE.min(u32::try_from(self.left).unwrap_or(PAGE));
            let page = wanted.page(&self.app.store, span).await;
            let rows = page.map_err(|error| tracing::error!(%error, "an export broke off")).ok()?;
            for row in &rows {
                self.lines.row(&wanted.view(row), out);
            }
            let found = u32::try_from(rows.len()).unwrap_or(u32::MAX);
            self.left = self.left.saturating_sub(u64::from(found));
            let Some(last) = rows.last().filter(|_| found == span.limit && self.left > 0) else {
                return Some(());
            };
            span = span.behind(last.number());
            let piece = Piece::Some(std::mem::take(out));
            tokio::time::timeout(PATIENCE, self.sender.send(piece)).await.ok()?.ok()?;
        }
    }
}

/// The body of a stream.
struct Stream {
    receiver: mpsc::Receiver<Piece>,
    done: bool,
}

/// Why a stream was broken off; the log has more.
#[derive(Debug, thiserror::Error)]
#[error("the ledger was not read to the end")]
struct Broken;

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Broken;

    /// Only the last piece ends it well, so that whatever stops the feed breaks the answer off.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.done {
            return Poll::Ready(None);
        }
        self.receiver.poll_recv(context).map(|piece| {
            self.done = !matches!(piece, Some(Piece::Some(_)));
            match piece {
                Some(Piece::Some(octets) | Piece::Last(octets)) => Some(Ok(Frame::data(octets.into()))),
                None => Some(Err(Broken)),
            }
        })
    }
}
