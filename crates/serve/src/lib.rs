//! The scheduler on the real clock: the serving system, but for the models themselves.
//!
//! Start with [`engine`], which joins the parts: the [`driver`] owns the scheduler, groups of stage threads
//! run batches on a [backend](statmux_core::backend), clients come in through the [`gateway`], most of them over
//! [`http`]. [`replay`] is the other end of the wire.
//!
//! **Invariant:** the scheduler decides; everything here carries out. Only the driver's thread touches it.
//!
//! **Invariant:** every request that reaches the gateway gets exactly one answer.

pub mod board;
pub mod clock;
pub mod compare;
pub mod conformance;
pub mod course;
mod detokenise;
pub mod driver;
pub mod engine;
pub mod event_log;
pub mod faulty;
pub mod gateway;
mod group;
pub mod http;
mod ledger;
pub mod measure;
mod messages;
pub mod renewal;
pub mod replay;
pub mod request;
pub mod server;
pub mod sleep;
pub mod statistics;
mod trail;

pub use course::Course;
pub use engine::{Deployment, Engine, EngineSettings, Record, StartError};
pub use gateway::{Gateway, Question};
pub use group::supervisor::Supervision;
pub use http::listen::TlsPair;
pub use renewal::{Renew, Renewal};
pub use request::{Answer, Cause, Refusal};
pub use server::{Listening, ServeError, Server, ServerSettings};
pub use sleep::SleepBackend;
