//! Every configured issuer of JWTs with its keys. Key sets are never merged: which one verifies a token
//! says who vouches for it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::fetch::Fetcher;
use super::jwt::{self, Algorithm, Claims, JwtError, KeySet, Standing, Unverified};
use super::kubernetes::KubernetesSettings;
use super::oidc::{OidcSettings, Vouched};
use super::url::HttpsUrl;
use super::verified::{Remembered, Verified};
use crate::time::{Lifetime, Time};

/// The least time from the end of one look for new keys to the next.
const BETWEEN_LOOKS: Duration = Duration::from_mins(1);

/// The same while there are no keys at all.
const BETWEEN_FIRST_LOOKS: Duration = Duration::from_secs(5);

/// How old keys may become before they are looked for without being missed, so that a key that its
/// issuer takes back is taken back here.
const STALE: Duration = Duration::from_mins(5);

/// How long a start waits for issuers that do not answer.
const AT_START: Duration = Duration::from_secs(5);

/// The largest key file, in bytes.
const LARGEST_FILE: u64 = 256 * 1_024;

/// How many keys a signature without a `kid` is tried with.
const MOST_TRIES: usize = 8;

/// What an issuer's tokens say of whom.
#[derive(Debug)]
enum Kind {
    Oidc(OidcSettings),
    Kubernetes(KubernetesSettings),
}

/// Where keys come from.
#[derive(Debug)]
enum Place {
    File(PathBuf),
    /// From the issuer's discovery document (OpenID Connect Discovery section 4).
    Discovery {
        issuer: HttpsUrl,
        fetcher: Fetcher,
    },
    /// From this URL.
    Server {
        url: HttpsUrl,
        fetcher: Fetcher,
        token_file: Option<PathBuf>,
    },
}

#[derive(Debug)]
struct Issuer {
    kind: Kind,
    place: Place,
    keys: RwLock<Held>,
    /// One look at a time; when the last one ended.
    looking: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

/// The keys of one issuer.
#[derive(Clone, Debug, Default)]
struct Held {
    /// Those that verify: what it shows and no other source does.
    keys: Arc<KeySet>,
    /// Everything that it shows.
    shown: Arc<KeySet>,
    /// One sentence for each source behind this one in the configuration that shows one of them too.
    shared: Vec<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Issuers {
    known: Arc<Known>,
    verified: Verified,
}

/// What whoever looks for keys holds on to.
#[derive(Debug, Default)]
struct Known {
    all: Vec<Issuer>,
    /// Taken while keys of one are compared with those of the others.
    installing: Mutex<()>,
}

/// By what a JWT was verified, to look again whether it still is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The issuer's place in the configuration.
    issuer: usize,
    key: [u8; 32],
}

impl Issuer {
    fn name(&self) -> String {
        match &self.kind {
            Kind::Oidc(settings) => format!("auth.oidc {}", settings.name),
            Kind::Kubernetes(settings) => format!("auth.kubernetes {}", settings.cluster),
        }
    }

    fn issuer(&self) -> &str {
        match &self.kind {
            Kind::Oidc(settings) => &settings.issuer,
            Kind::Kubernetes(settings) => &settings.issuer,
        }
    }

    fn rules(&self) -> (&str, &[Algorithm], Lifetime) {
        match &self.kind {
            Kind::Oidc(own) => (&own.audience, &own.algorithms, own.max_token_age),
            Kind::Kubernetes(own) => (&own.audience, &own.algorithms, own.max_token_age),
        }
    }

    fn held(&self) -> Held {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key that signed `token`.
    fn verify(&self, token: &Unverified<'_>) -> Result<[u8; 32], JwtError> {
        let algorithm = token.header.algorithm;
        if !self.rules().1.contains(&algorithm) {
            return Err(JwtError::AlgorithmNotAllowed);
        }
        let (held, key_id) = (self.held(), token.header.key_id.as_deref());
        let mut why = match held.shown.candidates(key_id, algorithm).next() {
            None => JwtError::KeyUnknown,
            Some(_) => JwtError::KeyShared,
        };
        for key in held.keys.candidates(key_id, algorithm).take(MOST_TRIES) {
            if token.is_signed_by(key) {
                return Ok(key.fingerprint);
            }
            why = JwtError::Signature;
        }
        Err(why)
    }

    /// What verified claims say.
    fn vouch(&self, claims: &Claims, now: Time) -> Result<Vouched, JwtError> {
        let (audience, _, most) = self.rules();
        let standing = Standing::read(claims, audience, most)?;
        standing.check(now)?;
        let caller = match &self.kind {
            Kind::Oidc(settings) => settings.caller(claims)?,
            Kind::Kubernetes(settings) => settings.caller(&standing.subject, claims)?,
        };
        Ok(Vouched { caller, issuer: self.issuer().to_owned(), standing })
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let octets = match &self.place {
            Place::File(path) => read_file(path).map_err(|error| format!("{}: {error}", path.display()))?,
            Place::Discovery { issuer, fetcher } => {
                let url = jwks_uri(
                    issuer,
                    &fetcher.get(&issuer.join("/.well-known/openid-configuration")?, None).await?,
                )?;
                fetcher.get(&url, None).await?.to_vec()
            }
            Place::Server { url, fetcher, token_file } => {
                let token = token_file.as_deref().map(read_token).transpose()?;
                fetcher.get(url, token.as_ref().map(|token| token.as_str())).await?.to_vec()
            }
        };
        KeySet::read(&octets).map_err(|reason| format!("the key set: {reason}"))
    }
}

/// Not as other secrets are: Kubernetes mounts it readable, and it says little.
fn read_token(path: &Path) -> Result<Zeroizing<String>, String> {
    let octets =
        read_file(path).map(Zeroizing::new).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = std::str::from_utf8(&octets).map_err(|_| format!("{}: it is no text", path.display()))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut octets = Vec::new();
    std::fs::File::open(path)?.take(LARGEST_FILE).read_to_end(&mut octets)?;
    Ok(octets)
}

/// Where the document says that the keys are, if it is the document of `issuer`.
fn jwks_uri(issuer: &HttpsUrl, document: &[u8]) -> Result<HttpsUrl, String> {
    let document = jwt::object(document).ok_or("the discovery document is no JSON object")?;
    if document.get("issuer").and_then(Value::as_str) != Some(&issuer.to_string()) {
        return Err(format!("the discovery document is not that of {issuer}: its issuer is another"));
    }
    let uri =
        document.get("jwks_uri").and_then(Value::as_str).ok_or("the discovery document has no jwks_uri")?;
    HttpsUrl::parse(uri).map_err(|reason| format!("jwks_uri: {reason}"))
}

impl Issuers {
    /// Opens the configured issuers: keys in files are read, others when they are first needed.
    ///
    /// # Errors
    /// A file is not what it must be, or two of them hold one key.
    pub fn open(oidc: &[OidcSettings], kubernetes: &[KubernetesSettings]) -> Result<Self, String> {
        let mut issuers = Vec::new();
        for (index, settings) in oidc.iter().enumerate() {
            let place = match &settings.jwks_file {
                Some(path) => Ok(Place::File(path.clone())),
                None => discovery(settings),
            };
            let place = place.map_err(|reason| format!("auth.oidc[{index}].{reason}"))?;
            issuers.push((Kind::Oidc(settings.clone()), place));
        }
        for (index, settings) in kubernetes.iter().enumerate() {
            let place = server(settings).map_err(|reason| format!("auth.kubernetes[{index}].{reason}"))?;
            issuers.push((Kind::Kubernetes(settings.clone()), place));
        }
        let issuers = issuers.into_iter().map(|(kind, place)| Issuer {
            kind,
            place,
            keys: RwLock::default(),
            looking: Arc::default(),
        });
        let known = Known { all: issuers.collect(), ..Known::default() };
        known.check_issuers()?;
        known.load_files()?;
        Ok(Self { known: Arc::new(known), ..Self::default() })
    }

    /// Whether any is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.all.is_empty()
    }

    /// What stands in the way of single issuers.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let problems = |issuer: &Issuer| {
            let held = issuer.held();
            let unread = || format!("{}: its keys could not be read yet", issuer.name());
            let none = held.shown.is_empty().then(unread);
            held.shared.into_iter().chain(none)
        };
        self.known.all.iter().flat_map(problems).collect()
    }

    /// Looks for the keys of every issuer once, before anybody needs them. Who does not answer in time is
    /// not waited for: that look goes on, and there are others later.
    pub async fn first_look(&self) {
        let _ = tokio::time::timeout(AT_START, self.refresh()).await;
    }

    /// Looks for new keys where the last look is long ago, everywhere at once. Old ones are kept through an
    /// outage.
    pub async fn refresh(&self) {
        self.known.look(0..self.known.all.len(), STALE).await;
    }

    /// Whom a JWT speaks of, once a key of its issuer has verified it; and by what.
    ///
    /// # Errors
    /// Why it is no credential.
    pub async fn verify(&self, text: &str, now: Time) -> Result<(Vouched, Proof), JwtError> {
        if let Some(known) = self.verified.get(text)
            && self.holds(&known.proof)
        {
            known.vouched.standing.check(now)?;
            return Ok((known.vouched.clone(), known.proof.clone()));
        }
        let token = Unverified::read(text)?;
        let (place, key) = self.find(&token).await?;
        let issuer = self.known.all.get(place).ok_or(JwtError::IssuerUnknown)?;
        let vouched = issuer.vouch(&token.into_claims(), now)?;
        let proof = Proof { issuer: place, key };
        self.verified.put(text, Remembered { vouched: vouched.clone(), proof: proof.clone() }, now);
        Ok((vouched, proof))
    }

    /// The issuer whose key verifies `token`. New keys are looked for where none has its `kid`.
    async fn find(&self, token: &Unverified<'_>) -> Result<(usize, [u8; 32]), JwtError> {
        let claimed = token.issuer()?;
        let named: Vec<usize> = self
            .known
            .all
            .iter()
            .enumerate()
            .filter(|(_, one)| one.issuer() == claimed)
            .map(|(place, _)| place)
            .collect();
        if named.is_empty() {
            return Err(JwtError::IssuerUnknown);
        }
        let error = match self.try_all(&named, token) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        // Several clusters have one iss and, by chance, one kid.
        let worth_a_look = matches!(error, JwtError::KeyUnknown | JwtError::KeyShared) || named.len() > 1;
        if !worth_a_look {
            return Err(error);
        }
        self.known.look(named.iter().copied(), BETWEEN_LOOKS).await;
        self.try_all(&named, token)
    }

    fn try_all(&self, named: &[usize], token: &Unverified<'_>) -> Result<(usize, [u8; 32]), JwtError> {
        let mut error = JwtError::KeyUnknown;
        for place in named {
            match self.known.all.get(*place).map(|issuer| issuer.verify(token)) {
                Some(Ok(key)) => return Ok((*place, key)),
                Some(Err(JwtError::KeyUnknown)) | None => {}
                Some(Err(other)) => error = other,
            }
        }
        Err(error)
    }

    /// Whether the tokens of this issuer show that a person is behind a request.
    #[must_use]
    pub fn proves_persons(&self, proof: &Proof) -> bool {
        let issuer = self.known.all.get(proof.issuer);
        issuer.is_some_and(|issuer| matches!(&issuer.kind, Kind::Oidc(settings) if settings.proves_persons))
    }

    /// Whether the issuer still has the key.
    #[must_use]
    pub fn holds(&self, proof: &Proof) -> bool {
        self.known.all.get(proof.issuer).is_some_and(|issuer| issuer.held().keys.holds(&proof.key))
    }
}

impl Known {
    /// One OIDC source for one `iss`: two would have the same keys.
    fn check_issuers(&self) -> Result<(), String> {
        for (place, issuer) in self.all.iter().enumerate() {
            let both_oidc =
                |other: &&Issuer| matches!((&issuer.kind, &other.kind), (Kind::Oidc(_), Kind::Oidc(_)));
            let before = self.all.iter().take(place).filter(both_oidc);
            if let Some(other) = before.into_iter().find(|other| other.issuer() == issuer.issuer()) {
                return Err(format!(
                    "{} and {} have one issuer, so one key would be under two sources",
                    other.name(),
                    issuer.name()
                ));
            }
        }
        Ok(())
    }

    fn load_files(&self) -> Result<(), String> {
        for (place, issuer) in self.all.iter().enumerate() {
            let Place::File(path) = &issuer.place else { continue };
            let wrong = |reason: String| format!("{}: {}: {reason}", issuer.name(), path.display());
            let octets = read_file(path).map_err(|error| wrong(error.to_string()))?;
            let keys = KeySet::read(&octets).map_err(wrong)?;
            self.install(place, keys);
        }
        let shared = self.all.iter().find_map(|issuer| issuer.held().shared.into_iter().next());
        shared.map_or(Ok(()), Err)
    }

    /// Takes over what one issuer shows now. A key that two sources show verifies for neither: nobody could
    /// tell whose a token is. Showing a public key takes no more than having seen it, so it closes nobody,
    /// and each source keeps its other keys.
    fn install(&self, place: usize, keys: KeySet) {
        let Some(issuer) = self.all.get(place) else { return };
        for reason in &keys.left_out {
            tracing::warn!(auth.source = issuer.name(), reason, "a key is left out");
        }
        let _one_at_a_time = self.installing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shown: Vec<_> = self.all.iter().map(|issuer| issuer.held().shown).collect();
        if let Some(before) = shown.get_mut(place) {
            *before = Arc::new(keys);
        }
        for (place, issuer) in self.all.iter().enumerate() {
            let held = self.weigh(place, &shown);
            let before = issuer.held().shared;
            for reason in held.shared.iter().filter(|reason| !before.contains(reason)) {
                tracing::warn!(
                    auth.source = issuer.name(),
                    reason,
                    "a key of two sources counts for neither"
                );
            }
            *issuer.keys.write().unwrap_or_else(PoisonError::into_inner) = held;
        }
    }

    /// What one issuer holds where the issuers show this.
    fn weigh(&self, place: usize, shown: &[Arc<KeySet>]) -> Held {
        let Some(own) = shown.get(place) else { return Held::default() };
        let others = || shown.iter().enumerate().filter(|(other, _)| *other != place);
        let name = |place: usize| self.all.get(place).map(Issuer::name).unwrap_or_default();
        let shared =
            others().filter(|(other, keys)| *other > place && own.overlaps(keys)).map(|(other, _)| {
                format!(
                    "{} and {} have a key in common, so a token could be of either: it verifies for neither",
                    name(place),
                    name(other)
                )
            });
        Held {
            keys: Arc::new(own.without(others().map(|(_, keys)| &**keys))),
            shown: Arc::clone(own),
            shared: shared.collect(),
        }
    }

    /// Looks for the keys of these issuers, where it is time to. Who is looked at already is not waited for.
    async fn look(self: &Arc<Self>, places: impl IntoIterator<Item = usize>, since: Duration) {
        let begun: Vec<_> = places.into_iter().filter_map(|place| self.begin(place, since)).collect();
        for look in begun {
            // One that broke off has changed nothing.
            let _ = look.await;
        }
    }

    /// Begins to look for the keys of one issuer, if the last look ended `since` ago and there is none under
    /// way. While an issuer hangs each look takes seconds, so a queue of them would hold up everybody
    /// whose token names it. A look is a task of its own: nobody ends it by hanging up.
    fn begin(self: &Arc<Self>, place: usize, since: Duration) -> Option<JoinHandle<()>> {
        let issuer = self.all.get(place)?;
        let mut last = Arc::clone(&issuer.looking).try_lock_owned().ok()?;
        let empty = issuer.held().shown.is_empty();
        let pause = if empty { BETWEEN_FIRST_LOOKS } else { since };
        if last.is_some_and(|last| last.elapsed() < pause) {
            return None;
        }
        let known = Arc::clone(self);
        Some(tokio::spawn(async move {
            known.take_over(place).await;
            *last = Some(Instant::now());
        }))
    }

    /// Takes over the keys that an issuer has now. Where that fails nothing changes.
    async fn take_over(&self, place: usize) {
        let Some(issuer) = self.all.get(place) else { return };
        match issuer.fetch().await {
            Ok(keys) => self.install(place, keys),
            Err(error) => {
                tracing::error!(auth.source = issuer.name(), error, "its keys were not taken over");
            }
        }
    }
}

fn discovery(settings: &OidcSettings) -> Result<Place, String> {
    let issuer = HttpsUrl::parse(&settings.issuer).map_err(|reason| format!("issuer: {reason}"))?;
    let fetcher = Fetcher::new(settings.ca_file.as_deref()).map_err(|reason| format!("ca_file: {reason}"))?;
    Ok(Place::Discovery { issuer, fetcher })
}

fn server(settings: &KubernetesSettings) -> Result<Place, String> {
    if let Some(path) = &settings.jwks_file {
        return Ok(Place::File(path.clone()));
    }
    let server = settings.server.as_deref().unwrap_or_default();
    let url = HttpsUrl::parse(server).and_then(|url| url.join("/openid/v1/jwks"));
    let url = url.map_err(|reason| format!("server: {reason}"))?;
    let fetcher = Fetcher::new(settings.ca.as_deref()).map_err(|reason| format!("ca: {reason}"))?;
    Ok(Place::Server { url, fetcher, token_file: settings.token_file.clone() })
}

#[cfg(test)]
mod tests;
