//! `bareme streamer`: accounts, from the store, beside a server that may be running. Whoever may read the store's files may do
//! everything anyway, so that nobody is asked for a password.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::tools::{keep, refused};
use super::{Failure, archive};
use crate::audit::{Audit, Entry};
use crate::auth::Auth;
use crate::auth::secrets::readable;
use crate::catalogue::{Catalogue, Role};
use crate::cluster::env::Env;
use crate::http::admin::audit::time_of;
use crate::records::Records;
use crate::settings::Settings;

/// Longest file that a password is read from, in bytes.
const MAX_PASSWORD_FILE: u64 = 4 * 1024;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Lists accounts: role, name, second factor, passkeys
    List,
    /// Makes an account and prints its password, if that was made up
    Add {
        /// Name to sign in with
        name: String,
        /// What it may do
        #[arg(long, value_enum, default_value_t = Role::Admin)]
        role: Role,
        /// File with the password; `-` is standard input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Gives an account a new password, prints it if it was made up, and signs the account out everywhere
    Password {
        /// Name of the account
        name: String,
        /// File with the password; `-` is standard input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Switches the second factor of an account off, for somebody who lost it
    SecondFactorOff {
        /// Name of the account
        name: String,
    },
    /// Removes every passkey of an account, for somebody who lost a device
    PasskeysOff {
        /// Name of the account
        name: String,
    },
    /// Deletes an account, and signs it out everywhere
    Remove {
        /// Name of the account
        name: String,
    },
}

/// The password in a file, or one that is made up, and whether it was.
fn password(file: Option<&Path>) -> Result<(String, bool), Failure> {
    let Some(file) = file else { return Ok((readable(), true)) };
    let mut text = String::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().take(MAX_PASSWORD_FILE).read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|file| file.take(MAX_PASSWORD_FILE).read_to_string(&mut text)),
    };
    read.map_err(|error| Failure::running(format!("cannot read the password from {}: {error}", file.display())))?;
    // Editors end a file with a line break, which nobody types when signing in.
    let password = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok((password.to_owned(), false))
}

/// Carries a command out.
pub(super) async fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    let may_make = matches!(command, Command::Add { .. });
    let records = Records::new(archive::open_beside(settings, may_make).await?);
    let (catalogue, audit, now_us) = (Catalogue::new(records.clone()), Audit::new(records), Env::system().now_us());
    let auth = Auth::new(catalogue.clone());
    let mut out = String::new();
    // Named as the calls of the API that do the same.
    let done = match &command {
        Command::List => {
            for (_, account) in catalogue.accounts().await.map_err(refused)? {
                let role = format!("{:?}", account.role).to_lowercase();
                out += &format!("{role:<9}  {}", account.name);
                if let Some(factor) = &account.second_factor {
                    out += &format!("  second factor since {}", time_of(factor.since_us));
                }
                match account.passkeys().len() {
                    0 => {}
                    1 => out += "  1 passkey",
                    count => out += &format!("  {count} passkeys"),
                }
                out.push('\n');
            }
            None
        }
        Command::Add { name, role, password_file } => {
            let (password, is_made_up) = password(password_file.as_deref())?;
            auth.add_account(name, &password, *role, now_us).await.map_err(refused)?;
            if is_made_up {
                out = format!("{password}\n");
            }
            Some(("create_account", name.as_str()))
        }
        Command::Password { name, password_file } => {
            let (password, is_made_up) = password(password_file.as_deref())?;
            auth.set_password(name, &password, None).await.map_err(refused)?;
            if is_made_up {
                out = format!("{password}\n");
            }
            Some(("change_password", name.as_str()))
        }
        Command::SecondFactorOff { name } => {
            auth.end_second_factor(name).await.map_err(refused)?;
            Some(("end_second_factor_of", name.as_str()))
        }
        Command::PasskeysOff { name } => {
            auth.remove_passkeys(name).await.map_err(refused)?;
            Some(("remove_passkeys_of", name.as_str()))
        }
        Command::Remove { name } => {
            auth.delete_account(name).await.map_err(refused)?;
            Some(("delete_account", name.as_str()))
        }
    };
    std::io::stdout().write_all(out.as_bytes())?;
    match done {
        Some((action, name)) => keep(&audit, Entry::of_command(now_us, action, &[("name", name)])).await,
        None => Ok(()),
    }
}
