//! Everything the admin page does: each action is one call, with a token or with the page's session.
//!
//! **Invariant**: every handler begins with [`crate::auth::require`] or its kin, before it reads the body, so that nobody who may
//! not do something learns whether they asked for it well. Signing in is an exception, and so are the ready-made baremes.
//! Where rights are made it is asked again after the body, which may take long enough for the caller's to be revoked.

pub(crate) mod audit;
mod baremes;
mod channels;
mod drive;
mod jeux;
mod keys;
mod lives;
mod passkeys;
mod people;
mod second_factor;
mod session;
mod test_mode;

/// Registers the routes.
pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    session::configure(config);
    channels::configure(config);
    jeux::configure(config);
    baremes::configure(config);
    keys::configure(config);
    lives::configure(config);
    drive::configure(config);
    test_mode::configure(config);
    people::configure(config);
    second_factor::configure(config);
    passkeys::configure(config);
    audit::configure(config);
}

/// `null` and absent are different things in a change: this tells an explicit `null` (`Some(None)`) from absence.
fn nullable<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    serde::Deserialize::deserialize(deserializer).map(Some)
}
