//! A registry as one image is pulled from it (OCI distribution specification), with `oci-client`.
//!
//! Nothing that comes from here is trusted: whoever takes a blob looks at its digest and size.
//! Credentials go to the registry that they are for, and to where that sends for a token; never
//! with a redirection to another host (that is `reqwest`'s rule).

mod push;

use std::error::Error as _;
use std::time::Duration;

use netarium_core::image::Reference;
use oci_client::client::{BlobResponse, Client, ClientConfig, ClientProtocol, SizedStream};
use oci_client::errors::{OciDistributionError as OciError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference as OciReference, RegistryOperation};

use super::credentials::Credentials;
use super::error::PullError;
use super::manifest::MEDIA_TYPES;
use super::settings::Settings;

pub(in crate::image) use self::push::Content;

/// How long a registry may take to answer at all, and to send something more.
const CONNECT: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_secs(30);

/// How often a manifest is asked for where the connection breaks.
const TRIES: u32 = 4;

/// How long before the second try; then twice as long each time.
const PAUSE: Duration = Duration::from_millis(250);

/// A registry, or a mirror of it, and the image there.
pub(in crate::image) struct Registry {
    client: Client,
    image: OciReference,
    auth: RegistryAuth,
    /// The host that is spoken to.
    host: String,
    /// The name as people write it.
    name: String,
    is_plain: bool,
    tried: Option<String>,
    looked: Vec<String>,
}

/// What came of a request for a part of a blob.
pub(super) enum Answer {
    /// The part that was asked for.
    Part(SizedStream),
    /// The whole: this registry knows no parts.
    Whole(SizedStream),
}

impl Registry {
    /// Finds who has the image: a mirror, or the registry itself. The answer is its manifest, too.
    ///
    /// # Errors
    /// What the registry itself said, if nobody has it.
    pub(super) async fn find(
        reference: &Reference,
        settings: &Settings,
        plain: bool,
    ) -> Result<(Self, Vec<u8>), PullError> {
        let ways = settings.ways_to(reference.registry());
        let mut last = None;
        for host in ways {
            let is_plain = settings.is_plain(host) || plain && host == reference.registry();
            let registry = Self::open(reference, host, is_plain).await?;
            match registry.manifest(reference.digest()).await {
                Ok(manifest) => return Ok((registry, manifest)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| PullError::NotFound {
            registry: reference.registry().to_owned(),
            name: reference.familiar(),
        }))
    }

    async fn open(reference: &Reference, host: &str, is_plain: bool) -> Result<Self, PullError> {
        // Whoever was first has chosen, and that is as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        let config = ClientConfig {
            protocol: if is_plain { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("netarium/", env!("CARGO_PKG_VERSION")),
            // A blob is sent in one piece: it need not fit into memory all the same.
            use_monolithic_push: true,
            ..ClientConfig::default()
        };
        let connection = |error: OciError| PullError::Connection {
            registry: host.to_owned(),
            text: causes(&error),
            hint: None,
        };
        let client = Client::try_from(config).map_err(connection)?;
        let asked = host.to_owned();
        // A helper may ask its user for a password, and takes as long as that.
        let credentials = tokio::task::spawn_blocking(move || Credentials::find(&asked));
        let credentials = credentials.await.map_err(|error| PullError::Credentials {
            place: "this machine".to_owned(),
            text: error.to_string(),
        })??;
        let (auth, tried) = match credentials.found {
            Some(found) => {
                (RegistryAuth::Basic(found.user, found.password.to_string()), Some(found.place))
            }
            None => (RegistryAuth::Anonymous, None),
        };
        let (host_name, path) = (host.to_owned(), reference.repository().to_owned());
        let image = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => OciReference::with_digest(host_name, path, digest.to_owned()),
            (None, tag) => {
                OciReference::with_tag(host_name, path, tag.unwrap_or("latest").to_owned())
            }
        };
        let (host, name) = (host.to_owned(), reference.familiar());
        Ok(Self { client, image, auth, host, name, is_plain, tried, looked: credentials.looked })
    }

    /// A manifest: that of `digest`, or what the name of the image means now.
    ///
    /// # Errors
    /// If it is not there, or what comes is something else.
    pub(super) async fn manifest(&self, digest: Option<&str>) -> Result<Vec<u8>, PullError> {
        let image = match digest {
            Some(digest) => self.image.clone_with_digest(digest.to_owned()),
            None => self.image.clone(),
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let pulled = async {
                // Asked for by itself, so that it is known why there is no token.
                self.client.auth(&image, &self.auth, RegistryOperation::Pull).await?;
                self.client.pull_manifest_raw(&image, &self.auth, &MEDIA_TYPES).await
            };
            match pulled.await {
                Ok((bytes, _)) => return Ok(bytes.to_vec()),
                Err(error) if tries < TRIES && is_passing(&error) => {
                    tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
                }
                Err(error) => return Err(self.error(&error)),
            }
        }
    }

    /// A blob from the byte `from` on. Without a token that is still good, one is asked for.
    ///
    /// # Errors
    /// What was said, and whether another try may help.
    pub(super) async fn blob(&self, digest: &str, from: u64) -> Result<Answer, (PullError, bool)> {
        let asked = self.client.pull_blob_stream_partial(&self.image, digest, from, None).await;
        match asked {
            Ok(BlobResponse::Partial(stream)) => Ok(Answer::Part(stream)),
            Ok(BlobResponse::Full(stream)) => Ok(Answer::Whole(stream)),
            Err(error) => Err((self.error(&error), is_passing(&error))),
        }
    }

    /// What a broken connection means for a blob.
    pub(super) fn broken(&self, text: String) -> PullError {
        PullError::Connection { registry: self.host.clone(), text, hint: None }
    }

    fn error(&self, error: &OciError) -> PullError {
        let registry = self.host.clone();
        let not_found =
            || PullError::NotFound { registry: registry.clone(), name: self.name.clone() };
        let unauthorised = || PullError::Unauthorised {
            registry: registry.clone(),
            tried: self.tried.clone(),
            looked: self.looked.clone(),
        };
        match error {
            OciError::UnauthorizedError { .. } | OciError::AuthenticationFailure(_) => {
                unauthorised()
            }
            OciError::ImageManifestNotFoundError(_) => not_found(),
            OciError::RegistryError { envelope, .. } => {
                let has = |codes: &[OciErrorCode]| {
                    envelope.errors.iter().any(|error| codes.contains(&error.code))
                };
                if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                    return unauthorised();
                }
                if has(&[
                    OciErrorCode::ManifestUnknown,
                    OciErrorCode::NameUnknown,
                    OciErrorCode::NotFound,
                    OciErrorCode::NameInvalid,
                ]) {
                    return not_found();
                }
                let text: Vec<&str> =
                    envelope.errors.iter().map(|error| error.message.as_str()).collect();
                let has_enough = has(&[OciErrorCode::Toomanyrequests]);
                let hint = has_enough.then_some("wait, or log in: users are given more");
                PullError::Registry { registry, text: text.join("; "), hint }
            }
            OciError::ServerError { code: 404, .. } => not_found(),
            OciError::ServerError { code: 401 | 403, .. } => unauthorised(),
            OciError::ServerError { code, message, .. } => {
                let line: String =
                    message.lines().next().unwrap_or_default().chars().take(200).collect();
                let is_tls = self.is_plain && message.contains("HTTPS");
                let hint = is_tls.then_some("it speaks TLS: leave --plain-http out");
                PullError::Registry { registry, text: format!("with status {code}: {line}"), hint }
            }
            OciError::DigestError(oci_client::errors::DigestError::VerificationError {
                expected,
                actual,
            }) => PullError::Digest {
                what: format!("the manifest of {}", self.name),
                expected: expected.clone(),
                found: actual.clone(),
            },
            OciError::RequestError(_) => {
                let text = causes(error);
                let hint = self.hint_of_connection(&text);
                PullError::Connection { registry, text, hint }
            }
            other => PullError::Registry { registry, text: causes(other), hint: None },
        }
    }

    fn hint_of_connection(&self, text: &str) -> Option<&'static str> {
        if text.contains("InvalidContentType") || text.contains("wrong version number") {
            return Some("it does not speak TLS: try --plain-http, if you trust what is between");
        }
        if text.contains("UnknownIssuer") || text.contains("certificate") {
            return Some("SSL_CERT_FILE names a file with certificates to trust");
        }
        if text.contains("refused") && !self.is_plain {
            return Some("look whether it listens there; https is port 443 if none is named");
        }
        if text.contains("dns error") || text.contains("lookup") {
            return Some("look at the name, and at this machine's name server");
        }
        None
    }
}

/// Whether it may be over the next time.
fn is_passing(error: &OciError) -> bool {
    match error {
        OciError::RequestError(error) => {
            // What listens on no port, or has the wrong certificate, will not in a second, either.
            !error.is_connect() && !error.is_builder() && !error.is_redirect()
        }
        OciError::ServerError { code, .. } => *code == 429 || *code >= 500,
        OciError::IoError(_) => true,
        _ => false,
    }
}

/// An error and what led to it, without saying anything twice.
fn causes(error: &OciError) -> String {
    let mut told = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.iter().any(|it| it.contains(&text)) {
            told.push(text);
        }
        cause = error.source();
    }
    told.join(": ")
}
