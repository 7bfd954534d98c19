//! Server-sent events: an answer piece by piece.

use super::generation::{Generation, Piece};
use crate::http::ask::note_course;
use crate::http::error::ApiError;
use crate::request::Course;
use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use futures_util::stream;
use std::collections::VecDeque;
use std::convert::Infallible;

/// Turns pieces of an answer into the bodies of events.
pub(super) trait Narrator: Send + 'static {
    /// Before the first piece.
    fn opening(&self) -> Option<String>;
    /// A piece.
    fn text(&self, text: &str) -> String;
    /// The end: one event or more.
    fn end(&self, finish_reason: &'static str, usage: super::Usage) -> Vec<String>;
}

enum Telling<N> {
    /// Events that are ready, then more of the answer.
    On(Box<Generation>, N, VecDeque<Bytes>),
    /// Events that are ready, then nothing.
    Ending(VecDeque<Bytes>),
}

/// Waits for the first piece, so that refusals still get a status of their own, then streams.
pub(super) async fn stream<N: Narrator>(mut generation: Generation, narrator: N) -> Result<Response, ApiError> {
    let first = generation.next().await?;
    let mut ready: VecDeque<Bytes> = narrator.opening().iter().map(|body| event(body)).collect();
    let course = tell(&narrator, first, &mut ready);
    let telling = match course {
        Some(_) => Telling::Ending(ready),
        None => Telling::On(Box::new(generation), narrator, ready),
    };
    let body = stream::unfold(telling, |telling| async move {
        let (chunk, telling) = step(telling).await?;
        Some((Ok::<_, Infallible>(chunk), telling))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    note_course(headers, course.as_slice());
    Ok(response)
}

async fn step<N: Narrator>(telling: Telling<N>) -> Option<(Bytes, Telling<N>)> {
    match telling {
        Telling::Ending(mut ready) => ready.pop_front().map(|chunk| (chunk, Telling::Ending(ready))),
        Telling::On(mut generation, narrator, mut ready) => {
            if let Some(chunk) = ready.pop_front() {
                return Some((chunk, Telling::On(generation, narrator, ready)));
            }
            match generation.next().await {
                Ok(piece) => {
                    let ended = tell(&narrator, piece, &mut ready).is_some();
                    let chunk = ready.pop_front()?;
                    let on = if ended { Telling::Ending(ready) } else { Telling::On(generation, narrator, ready) };
                    Some((chunk, on))
                }
                // Too late for a status: the client gets the error as an event.
                Err(error) => Some((event(&error.json()), Telling::Ending(VecDeque::new()))),
            }
        }
    }
}

/// Queues the events of `piece`. Returns the course of the request if this was the end.
fn tell(narrator: &impl Narrator, piece: Piece, ready: &mut VecDeque<Bytes>) -> Option<Course> {
    match piece {
        Piece::Text(text) => {
            ready.push_back(event(&narrator.text(&text)));
            None
        }
        Piece::End { text, finish_reason, usage, course } => {
            if !text.is_empty() {
                ready.push_back(event(&narrator.text(&text)));
            }
            ready.extend(narrator.end(finish_reason, usage.into()).iter().map(|body| event(body)));
            ready.push_back(event("[DONE]"));
            Some(course)
        }
    }
}

fn event(body: &str) -> Bytes {
    Bytes::from(format!("data: {body}\n\n"))
}
