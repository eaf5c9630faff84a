//! Where dumps are kept: a folder, or a bucket of S3, Google Cloud Storage or Azure.
//!
//! Secrets come from the environment variables of each provider (`AWS_…`, `GOOGLE_…`, `AZURE_…`), or from files that
//! variables ending in `_FILE` name. An address that carries one is refused without being repeated.
//!
//! **Invariant**: only regular files are read, and no link below a folder is followed: who may write to it must not choose
//! what else is read, nor have a reader wait for ever. An object is there whole or not at all: buckets show an upload when it is finished, and in a folder a
//! temporary file is flushed to disk before it gets its name.

use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig};
use url::Url;

use super::{ArchiveError, Result};

/// Requests tried again, and for how long: what comes after that waits for the next attempt of the whole dump.
const RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// Variables whose value may come from a file, so that it need not be in the environment of the process. Those that the
/// providers themselves name `…_FILE` are theirs.
const SECRETS: [&str; 7] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_SAS_KEY",
];

/// Bytes read from a file at a time.
const READ_BYTES: usize = 64 * 1024;

/// Largest file that a variable may name as a secret.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The setting `dump_to`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DumpTo {
    /// Beside the file of a server on one machine; nowhere on a cluster, whose pods have no disk that lasts.
    #[default]
    Default,
    /// Nowhere.
    Off,
    /// There.
    There(TargetUrl),
}

impl FromStr for DumpTo {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::There),
        }
    }
}

impl fmt::Display for DumpTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Off => f.write_str("off"),
            Self::There(url) => url.fmt(f),
        }
    }
}

/// Address of a folder or bucket. Shows itself without secrets, since it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetUrl {
    /// A folder of this machine, absolute.
    Folder(PathBuf),
    /// `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `abfs[s]://…`.
    Bucket(Url),
}

impl FromStr for TargetUrl {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if !text.contains("://") {
            let folder = std::path::absolute(text).map_err(|error| format!("is not a folder: {error}"))?;
            return Ok(Self::Folder(folder));
        }
        // The text itself is never repeated: it may hold a secret by mistake.
        let url = Url::parse(text).map_err(|error| format!("is not an address: {error}"))?;
        let names_account = matches!(url.scheme(), "abfs" | "abfss") && url.password().is_none();
        if (!url.username().is_empty() && !names_account) || url.password().is_some() {
            return Err("holds a user or password; give secrets in variables such as AWS_SECRET_ACCESS_KEY".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("has more than a bucket and a path; give options in variables such as AWS_REGION".to_owned());
        }
        match (url.scheme(), url.host_str()) {
            ("file", None | Some("")) => {
                let folder = url.to_file_path().map_err(|()| "is not the path of a folder".to_owned())?;
                Ok(Self::Folder(folder))
            }
            ("s3" | "gs" | "az" | "abfs" | "abfss", Some(_)) => Ok(Self::Bucket(url)),
            ("s3" | "gs" | "az" | "abfs" | "abfss", None) => Err("names no bucket".to_owned()),
            (scheme, _) => Err(format!("has scheme `{scheme}`, which is not one of file, s3, gs, az, abfs, abfss")),
        }
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => match Url::from_file_path(folder) {
                Ok(url) => url.fmt(f),
                Err(()) => folder.display().fmt(f),
            },
            Self::Bucket(url) => f.write_str(url.as_str().trim_end_matches('/')),
        }
    }
}

impl TargetUrl {
    /// The place one level up, and the name there; `None` at the top.
    pub fn split(&self) -> Option<(Self, String)> {
        match self {
            Self::Folder(path) => {
                let name = path.file_name()?.to_str()?.to_owned();
                Some((Self::Folder(path.parent()?.to_owned()), name))
            }
            Self::Bucket(url) => {
                let mut up = url.clone();
                let name = url.path().trim_end_matches('/').rsplit_once('/')?.1.to_owned();
                up.set_path(url.path().trim_end_matches('/').rsplit_once('/')?.0);
                (!name.is_empty()).then_some((Self::Bucket(up), name))
            }
        }
    }
}

/// The value of a secret variable that a file holds.
fn from_file(name: &str) -> std::result::Result<Option<String>, String> {
    let Some(path) = std::env::var_os(format!("{name}_FILE")) else { return Ok(None) };
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        std::fs::File::open(&path)?.take(MAX_SECRET_BYTES).read_to_string(&mut text)?;
        Ok(text.trim().to_owned())
    };
    read().map(Some).map_err(|error| format!("{name}_FILE: {}: {error}", FilePath::new(&path).display()))
}

/// An error without what may stand behind a question mark in an address: signatures of Azure do.
fn without_queries(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('?') {
        out.push_str(before);
        out.push('?');
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, ')' | '"' | '\'')).unwrap_or(after.len());
        if end > 0 {
            out.push('…');
        }
        rest = &after[end..];
    }
    out + rest
}

/// Whether a name is that of a temporary file of a folder: what it is going to be called, `#`, and a number.
fn is_temporary(name: &str) -> bool {
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Deletes temporary files below a folder, and folders that are empty then.
fn sweep(folder: &FilePath) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sweep(&entry.path())?;
            // One that is not empty stays.
            let _removed = std::fs::remove_dir(entry.path());
        } else if entry.file_name().to_str().is_some_and(is_temporary) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Opens a regular file below a folder. A pipe or a device is refused without being waited for, and so is a link.
#[cfg(unix)]
fn open_regular(folder: &FilePath, name: &str) -> std::io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags, open, openat};
    let refused = || std::io::Error::new(ErrorKind::InvalidInput, "it is no regular file");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut at = open(folder, flags | OFlags::DIRECTORY, Mode::empty())?;
    let mut parts = name.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        if part == ".." {
            return Err(refused());
        }
        let kind = if parts.peek().is_some() { OFlags::DIRECTORY } else { OFlags::empty() };
        at = openat(&at, part, flags | kind | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| match error {
            rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR | rustix::io::Errno::NXIO => refused(),
            other => other.into(),
        })?;
    }
    let file = std::fs::File::from(at);
    if file.metadata()?.is_file() { Ok(file) } else { Err(refused()) }
}

#[cfg(not(unix))]
fn open_regular(folder: &FilePath, name: &str) -> std::io::Result<std::fs::File> {
    let refused = || std::io::Error::new(ErrorKind::InvalidInput, "it is no regular file");
    let mut path = folder.to_owned();
    for part in name.split('/').filter(|part| !part.is_empty()) {
        if part == ".." || std::fs::symlink_metadata(&path)?.is_symlink() {
            return Err(refused());
        }
        path.push(part);
    }
    if std::fs::symlink_metadata(&path)?.is_file() { std::fs::File::open(path) } else { Err(refused()) }
}

/// An error of a file, as the store of a bucket would say it.
fn of_file(path: &Path, source: std::io::Error) -> Error {
    match source.kind() {
        ErrorKind::NotFound => Error::NotFound { path: path.to_string(), source: Box::new(source) },
        _ => Error::Generic { store: "folder", source: Box::new(source) },
    }
}

/// Does what blocks on a file elsewhere.
async fn on_file<T: Send + 'static>(
    path: Path,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> object_store::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(std::io::Error::other("reading stopped"))).map_err(|error| of_file(&path, error))
}

/// The bytes of an open file as they come.
fn pieces(file: std::fs::File, path: Path) -> BoxStream<'static, object_store::Result<Bytes>> {
    let next = move |mut file: std::fs::File| {
        let path = path.clone();
        on_file(path, move || {
            let mut piece = vec![0; READ_BYTES];
            let read = file.read(&mut piece)?;
            piece.truncate(read);
            Ok((read > 0).then(|| (Bytes::from(piece), file)))
        })
    };
    stream::try_unfold(file, next).boxed()
}

/// An open target. Cheap to clone.
#[derive(Clone)]
pub struct Target {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    url: TargetUrl,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.url)
    }
}

macro_rules! bucket {
    ($builder:ty, $url:expr) => {{
        let mut builder = <$builder>::from_env().with_url($url.as_str());
        for name in SECRETS {
            // A name of another provider is no key here.
            if let Ok(key) = name.to_ascii_lowercase().parse()
                && let Some(secret) = from_file(name)?
            {
                builder = builder.with_config(key, secret);
            }
        }
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
        builder.with_retry(retry).build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
    }};
}

fn bucket(url: &Url) -> std::result::Result<Arc<dyn ObjectStore>, String> {
    let built = match url.scheme() {
        "s3" => bucket!(AmazonS3Builder, url),
        "gs" => bucket!(GoogleCloudStorageBuilder, url),
        _ => bucket!(MicrosoftAzureBuilder, url),
    };
    built.map_err(|error| without_queries(&error.to_string()))
}

/// Opens a folder, making its last part for the owner only. Not more than that: where a disk should be mounted and is
/// not, the folder above is missing, and dumps shall not fill another disk.
fn folder(path: &FilePath, make: bool) -> std::result::Result<Arc<dyn ObjectStore>, String> {
    if make && !path.exists() {
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(path) {
            // Another process that dumps there was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made.map_err(|error| error.to_string())?,
        }
    }
    if path.is_file() {
        return Err("it is a file, not a folder".to_owned());
    }
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| error.to_string())?;
    Ok(Arc::new(store.with_fsync(true).with_automatic_cleanup(true)))
}

impl Target {
    /// Opens a target; `make`: a folder that is missing is made. Of a bucket nothing is asked yet.
    ///
    /// # Errors
    /// [`ArchiveError::Target`].
    pub async fn open(url: &TargetUrl, make: bool) -> Result<Self> {
        let (of, place) = (url.clone(), url.to_string());
        // Folders are made and secrets are read from files.
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(&of, make));
        let failed = |_| ArchiveError::Target { place, reason: "it cannot be opened".to_owned(), is_missing: false };
        opening.await.map_err(failed)?
    }

    fn open_blocking(url: &TargetUrl, make: bool) -> Result<Self> {
        let wrong = |reason| ArchiveError::Target { place: url.to_string(), reason, is_missing: false };
        let (store, prefix) = match url {
            TargetUrl::Folder(path) => (folder(path, make).map_err(wrong)?, Path::default()),
            TargetUrl::Bucket(address) => {
                let prefix = Path::from_url_path(address.path()).map_err(|error| wrong(error.to_string()))?;
                (bucket(address).map_err(wrong)?, prefix)
            }
        };
        Ok(Self { store, prefix, url: url.clone() })
    }

    /// What the store around it is, for the module `upload`.
    pub(super) fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Where a name of ours is.
    pub(super) fn path(&self, name: &str) -> Path {
        let parts = self.prefix.parts();
        let ours = name.split('/').filter(|part| !part.is_empty()).map(object_store::path::PathPart::from);
        parts.chain(ours).collect()
    }

    /// A name of ours, for people.
    pub fn shown(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    pub(super) fn error(&self, name: &str, error: &Error) -> ArchiveError {
        let is_missing = matches!(error, Error::NotFound { .. });
        let reason = if is_missing { "there is no such file".to_owned() } else { without_queries(&error.to_string()) };
        ArchiveError::Target { place: self.shown(name), reason, is_missing }
    }

    /// A small object, at most `most` bytes; `None` if there is none.
    ///
    /// # Errors
    /// [`ArchiveError::Target`]; damaged when it is longer.
    pub(super) async fn read(&self, name: &str, most: u64) -> Result<Option<Bytes>> {
        let mut stream = match self.stream(name).await {
            Ok(stream) => stream,
            Err(ArchiveError::Target { is_missing: true, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut whole = Vec::new();
        while let Some(piece) = stream.next().await {
            whole.extend_from_slice(&piece.map_err(|error| self.error(name, &error))?);
            if whole.len() as u64 > most {
                return Err(ArchiveError::damaged(self.shown(name), format!("it is longer than {most} bytes")));
            }
        }
        Ok(Some(Bytes::from(whole)))
    }

    /// The bytes of an object as they come.
    ///
    /// # Errors
    /// [`ArchiveError::Target`].
    pub(super) async fn stream(&self, name: &str) -> Result<BoxStream<'static, object_store::Result<Bytes>>> {
        let path = self.path(name);
        let opened = match &self.url {
            TargetUrl::Folder(root) => {
                let (root, name) = (root.clone(), name.to_owned());
                let file = on_file(path.clone(), move || open_regular(&root, &name)).await;
                file.map(|file| pieces(file, path))
            }
            TargetUrl::Bucket(_) => self.store.get(&path).await.map(object_store::GetResult::into_stream),
        };
        opened.map_err(|error| self.error(name, &error))
    }

    /// A bucket in memory.
    #[cfg(test)]
    pub(super) fn in_memory() -> Self {
        let url = Url::parse("s3://bucket").expect("a URL");
        Self {
            store: Arc::new(object_store::memory::InMemory::new()),
            prefix: Path::default(),
            url: TargetUrl::Bucket(url),
        }
    }

    /// Writes a small object; with `is_new` only if there is none of that name. Says whether it was written.
    ///
    /// # Errors
    /// [`ArchiveError::Target`].
    pub(super) async fn write(&self, name: &str, bytes: Bytes, is_new: bool) -> Result<bool> {
        let mode = if is_new { PutMode::Create } else { PutMode::Overwrite };
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.store.put_opts(&self.path(name), bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) if is_new => Ok(false),
            Err(error) => Err(self.error(name, &error)),
        }
    }

    /// Names below a folder, in no order, relative to it.
    ///
    /// # Errors
    /// [`ArchiveError::Target`].
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.path(folder);
        let mut found = Vec::new();
        let mut listed = self.store.list(Some(&path));
        while let Some(entry) = listed.next().await {
            match entry {
                Ok(entry) => {
                    let name = entry.location.as_ref().strip_prefix(path.as_ref());
                    found.extend(name.map(|name| name.trim_start_matches('/').to_owned()));
                }
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(self.error(folder, &error)),
            }
        }
        Ok(found)
    }

    /// Deletes the temporary files in a folder that writers left who were killed. They harm nobody, so it may fail. What a
    /// bucket keeps of such an upload cannot be seen from here; it has rules of its own for it.
    pub(super) async fn sweep(&self, folder: &str) {
        let TargetUrl::Folder(root) = &self.url else { return };
        let path = root.join(folder);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || sweep(&path)).await {
            tracing::debug!(%error, "cannot delete temporary files");
        }
    }

    /// Deletes an object; one that is gone is fine.
    ///
    /// # Errors
    /// [`ArchiveError::Target`].
    pub(super) async fn delete(&self, name: &str) -> Result<()> {
        match self.store.delete(&self.path(name)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(name, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_folder_or_a_bucket_and_no_refusal_repeats_a_secret() {
        let shown = |text: &str| text.parse::<TargetUrl>().map(|url| url.to_string());
        assert_eq!(shown("file:///srv/dumps").as_deref(), Ok("file:///srv/dumps"));
        assert_eq!(shown("/srv/dumps").as_deref(), Ok("file:///srv/dumps"));
        assert_eq!(shown("s3://bucket/a/b/").as_deref(), Ok("s3://bucket/a/b"));
        let account = "abfss://c@account.dfs.core.windows.net/x";
        assert_eq!(shown(account).as_deref(), Ok(account));
        for wrong in ["", "s3:///x", "ftp://a/b", "https://a/b", "s3://key:hunter2@b/x", "s3://b/x?secret=hunter2"] {
            let refused = shown(wrong).unwrap_err();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        assert_eq!("off".parse(), Ok(DumpTo::Off));
    }

    #[test]
    fn an_address_ends_in_a_name() {
        let split = |text: &str| text.parse::<TargetUrl>().unwrap().split().map(|(up, name)| (up.to_string(), name));
        assert_eq!(split("s3://b/x/manifest.json"), Some(("s3://b/x".into(), "manifest.json".into())));
        assert_eq!(split("s3://b/x/"), Some(("s3://b".into(), "x".into())));
        assert_eq!(split("s3://b"), None);
        assert_eq!(split("/srv/x"), Some(("file:///srv".into(), "x".into())));
    }

    #[test]
    fn signatures_in_addresses_do_not_get_into_messages() {
        let text = without_queries("GET https://a/b?sig=hunter2&x=1 (is it there?) failed");
        assert_eq!(text, "GET https://a/b?… (is it there?) failed");
    }

    #[tokio::test]
    async fn temporary_files_of_who_was_killed_are_deleted_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        for (place, name) in [("a", "notes-1.ndjson.zst#1"), ("a", "notes-1.ndjson.zst"), ("b", "x#12"), ("c", "y#z")] {
            std::fs::create_dir_all(folder.path().join("of").join(place)).unwrap();
            std::fs::write(folder.path().join("of").join(place).join(name), b"x").unwrap();
        }
        let target = Target::open(&TargetUrl::Folder(folder.path().to_owned()), false).await.unwrap();
        target.sweep("of").await;
        let left = |name: &str| folder.path().join("of").join(name).exists();
        assert!(left("a/notes-1.ndjson.zst") && left("c/y#z"));
        assert!(!left("a/notes-1.ndjson.zst#1") && !left("b"), "and the folder that is empty");
    }

    #[test]
    fn a_folder_that_many_make_at_once_is_there_for_each() {
        let parent = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let path = parent.path().join(round.to_string());
            let start = std::sync::Barrier::new(4);
            let opened = std::thread::scope(|scope| {
                let open = || {
                    start.wait();
                    folder(&path, true).map(drop)
                };
                let opening: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
                opening.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(opened, [const { Ok(()) }; 4], "round {round}");
        }
        std::fs::write(parent.path().join("file"), b"x").unwrap();
        assert!(folder(&parent.path().join("file"), true).is_err(), "a file is no folder");
    }

    #[tokio::test]
    async fn an_object_is_made_once() {
        let parent = tempfile::tempdir().unwrap();
        let url = TargetUrl::Folder(parent.path().join("dumps"));
        assert!(Target::open(&url, false).await.is_err(), "a folder that is missing stays missing");
        let target = Target::open(&url, true).await.unwrap();
        assert!(target.write("a/b.json", Bytes::from_static(b"1"), true).await.unwrap());
        assert!(!target.write("a/b.json", Bytes::from_static(b"2"), true).await.unwrap());
        assert_eq!(target.read("a/b.json", 9).await.unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(target.list("a").await.unwrap(), ["b.json"]);
        assert_eq!(target.list("nowhere").await.unwrap(), Vec::<String>::new());
        assert!(matches!(target.read("a/b.json", 0).await, Err(ArchiveError::Damaged { .. })));
        target.delete("a/b.json").await.unwrap();
        target.delete("a/b.json").await.unwrap();
        assert_eq!(target.read("a/b.json", 9).await.unwrap(), None);
        let deep = TargetUrl::Folder(parent.path().join("not/mounted"));
        assert!(Target::open(&deep, true).await.is_err(), "only the last part is made");
    }
}
