//! Bodies that tell the table of connections whether their connection waits for its client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::connections::Place;

/// A request's body: its connection waits while the client sends nothing of it.
pub(super) struct Arriving {
    inner: Incoming,
    place: Arc<Place>,
    /// Since when, in the table's milliseconds, once it was waited for.
    since: Option<u64>,
}

impl Arriving {
    pub(super) fn new(inner: Incoming, place: Arc<Place>) -> Self {
        Self { inner, place, since: None }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        match (polled.is_pending(), this.since) {
            (true, since) => {
                let since = *this.since.insert(since.unwrap_or_else(|| this.place.now()));
                this.place.wait_since(since);
            }
            // Once it waited, it may have lost its place; then whoever drives it drops it.
            (false, Some(_)) => drop(this.place.answer()),
            (false, None) => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body: once the last of it was taken, its connection waits for the next request.
pub(super) struct Leaving<B> {
    inner: B,
    place: Arc<Place>,
}

impl<B> Leaving<B> {
    pub(super) fn new(inner: B, place: Arc<Place>) -> Self {
        Self { inner, place }
    }
}

impl<B: Body + Unpin> Body for Leaving<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.get_mut().inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for Leaving<B> {
    fn drop(&mut self) {
        self.place.wait();
    }
}
