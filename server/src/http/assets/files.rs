//! Where the files of the front-end come from: the binary, or a folder while working on them.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use rust_embed::Embed;
use sha2::{Digest, Sha256};

use crate::settings::Settings;

/// What the front-end consists of; its tests and their tools are not part of it.
#[derive(Embed)]
#[folder = "../overlay/"]
#[include = "*.js"]
#[include = "*.css"]
#[include = "*.json"]
#[include = "*.svg"]
#[include = "*.webmanifest"]
#[include = "*.woff2"]
#[exclude = "tests/*"]
#[exclude = "tsconfig.json"]
struct Bundle;

/// Digits of the bundle's hash in URLs: 64 bits, so that no two builds anybody runs share one.
const HASH_DIGITS: usize = 16;

/// Path segment that stands for the hash when files come from a folder.
const LIVE: &str = "live";

static BUNDLE_HASH: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = Sha256::new();
    for path in Files::embedded() {
        let Some(file) = Bundle::get(&path) else { continue };
        hasher.update(path.as_bytes());
        hasher.update([0]);
        hasher.update(file.metadata.sha256_hash());
    }
    short_hex(&hasher.finalize())
});

/// The first [`HASH_DIGITS`] digits of a hash.
pub(super) fn short_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.take(HASH_DIGITS).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Version of this program and of the pages in it: `welcome.build`, and what pages compare it with.
pub fn build() -> &'static str {
    static BUILD: LazyLock<String> = LazyLock::new(|| format!("{}+{}", env!("CARGO_PKG_VERSION"), *BUNDLE_HASH));
    &BUILD
}

/// Where the files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// The binary.
    Embedded,
    /// A folder, read at each request.
    Folder(PathBuf),
}

impl Files {
    /// What the settings say.
    pub fn of(settings: &Settings) -> Self {
        settings.assets_dir.clone().map_or(Self::Embedded, Self::Folder)
    }

    /// The bytes of a file of the front-end; `path` is relative and may come from anybody.
    pub fn read(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        match self {
            Self::Embedded => Bundle::get(path).map(|file| file.data),
            Self::Folder(folder) => {
                let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
                let tests = path.starts_with("tests/");
                if !inside || tests { None } else { std::fs::read(folder.join(path)).ok().map(Cow::Owned) }
            }
        }
    }

    /// The paths of all files, in order.
    pub(super) fn embedded() -> Vec<String> {
        let mut paths: Vec<_> = Bundle::iter().map(Cow::into_owned).collect();
        paths.sort();
        paths
    }

    /// The path segment under `/assets/` that names this state of the files.
    pub fn segment(&self) -> &'static str {
        match self {
            Self::Embedded => &BUNDLE_HASH,
            Self::Folder(_) => LIVE,
        }
    }
}
