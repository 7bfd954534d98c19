//! Server-sent events: answers piece by piece.

use super::Usage;
use super::generation::{Choices, Generation, Piece};
use crate::course::Course;
use crate::http::ask::note_course;
use crate::http::budget::Share;
use crate::http::error::ApiError;
use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use futures_util::stream::{BoxStream, SelectAll, StreamExt, select_all, unfold};
use std::collections::VecDeque;
use std::convert::Infallible;

/// Turns pieces of answers into the bodies of events; `index` says of which answer.
pub(super) trait Narrator: Send + 'static {
    /// Before the first piece.
    fn opening(&self, index: usize) -> Option<String>;
    /// A piece.
    fn text(&self, index: usize, text: &str) -> String;
    /// The end of an answer.
    fn end(&self, index: usize, finish_reason: &'static str) -> String;
    /// The end of all, if it is to be told.
    fn usage(&self, usage: Usage) -> Option<String>;
}

/// Answers on their way to a client, and the events that are ready for it.
struct Telling<N> {
    pieces: SelectAll<BoxStream<'static, (usize, Result<Piece, ApiError>)>>,
    narrator: N,
    ready: VecDeque<Bytes>,
    /// Answers that have not ended.
    left: usize,
    prompt_tokens: usize,
    new_tokens: usize,
    /// Of the memory for all answers.
    _share: Share,
}

/// Waits for the first piece, so that refusals still get a status of their own, then streams.
pub(super) async fn stream<N: Narrator>(choices: Choices, narrator: N) -> Result<Response, ApiError> {
    let Choices { generations, prompt_tokens, share } = choices;
    let left = generations.len();
    let ready = (0..left).filter_map(|index| narrator.opening(index)).map(|body| event(&body)).collect();
    let pieces = select_all(generations.into_iter().enumerate().map(|(index, generation)| pieces(index, generation)));
    let mut telling = Telling { pieces, narrator, ready, left, prompt_tokens, new_tokens: 0, _share: share };
    let course = match telling.pieces.next().await {
        Some((index, first)) => telling.tell(index, first?),
        None => None,
    };
    let body = unfold(telling, |mut telling| async move {
        let chunk = telling.next().await?;
        Some((Ok::<_, Infallible>(chunk), telling))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    note_course(headers, course.as_slice());
    Ok(response)
}

/// All pieces of one answer; nothing comes after its end or its error.
fn pieces(index: usize, generation: Generation) -> BoxStream<'static, (usize, Result<Piece, ApiError>)> {
    unfold(Some(generation), move |generation| async move {
        let mut generation = generation?;
        let piece = generation.next().await;
        let rest = matches!(piece, Ok(Piece::Text(_))).then_some(generation);
        Some(((index, piece), rest))
    })
    .boxed()
}

impl<N: Narrator> Telling<N> {
    /// The next event; none after the last.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            match self.pieces.next().await? {
                (index, Ok(piece)) => {
                    self.tell(index, piece);
                }
                (_, Err(error)) => {
                    // Too late for a status: the client gets the error as an event, and the other answers are let go.
                    self.pieces.clear();
                    return Some(event(&error.json()));
                }
            }
        }
    }

    /// Queues the events of `piece`. Returns the course of the answer if this was its end.
    fn tell(&mut self, index: usize, piece: Piece) -> Option<Course> {
        match piece {
            Piece::Text(text) => {
                self.ready.push_back(event(&self.narrator.text(index, &text)));
                None
            }
            Piece::End { text, finish_reason, new_tokens, course } => {
                if !text.is_empty() {
                    self.ready.push_back(event(&self.narrator.text(index, &text)));
                }
                self.ready.push_back(event(&self.narrator.end(index, finish_reason)));
                self.new_tokens += new_tokens;
                self.left -= 1;
                if self.left == 0 {
                    let usage = self.narrator.usage(Usage::new(self.prompt_tokens, self.new_tokens));
                    self.ready.extend(usage.map(|body| event(&body)));
                    self.ready.push_back(event("[DONE]"));
                }
                Some(course)
            }
        }
    }
}

fn event(body: &str) -> Bytes {
    Bytes::from(format!("data: {body}\n\n"))
}
