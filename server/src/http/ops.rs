//! What operators and their programs ask, on a listener of its own: health, readiness, metrics, connections.
//!
//! It has its own thread and its own connections, so it answers however many viewers there are, and until the last of
//! them has gone.
//!
//! **Invariant**: the application for viewers has none of these routes, so no spelling of a path leads there past a proxy.

use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use super::error::Problem;
use super::{State, health, monitoring, security};
use crate::app::connections::Connection;

/// Registers everything that operators ask, for the worker's application.
pub fn configure(state: &State, config: &mut web::ServiceConfig) {
    config.app_data(state.clone());
    health::configure_ops(config);
    monitoring::configure(config);
    config.default_service(web::to(async || Err::<HttpResponse, _>(Problem::no_such_path())));
}

/// What [`security::secure`] is for viewers: times the connection, and adds headers. Nothing here needs a page of any
/// origin, and requests here are not counted among those of viewers.
///
/// # Errors
/// None of its own.
pub async fn secure(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let connection = request.conn_data::<Rc<Connection>>().cloned();
    let _answering = connection.as_ref().map(Connection::begin);
    let mut response = next.call(request).await?;
    if connection.is_some_and(|connection| connection.is_short()) || response.request().head().upgrade() {
        security::close(&mut response);
    }
    security::add_headers(response.headers_mut(), security::CSP_NOTHING, true, false);
    Ok(response)
}
