//! Reads a kube-apiserver's audit log: which client certificates made requests, when, as whom.
//!
//! One event of audit.k8s.io/v1 on each line. From 1.32 on the API server stamps
//! `authentication.kubernetes.io/credential-id` on every event of a client certificate.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

use anyhow::{Result, bail};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use crate::filters::credential_id;
use crate::time::Time;

/// The longest line that is read, in octets. An event at the level `RequestResponse` holds an object of
/// Kubernetes, which etcd bounds to far less.
const LONGEST_LINE: u64 = 16 * 1_024 * 1_024;
/// How many certificates are told apart. Each takes about 200 octets.
const MOST_CERTIFICATES: usize = 500_000;
/// The longest name that is kept of an event, in characters.
const LONGEST_NAME: usize = 256;

/// What one certificate did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    /// Requests that ended.
    pub(super) requests: u64,
    /// Of these, how many with a status of 400 or more.
    pub(super) refused: u64,
    pub(super) first: Time,
    pub(super) last: Time,
    /// The user name of the first event.
    pub(super) user: String,
    /// Whether another event has another name.
    pub(super) other_names: bool,
}

/// What a log holds.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) certificates: HashMap<[u8; 32], Use>,
    pub(super) lines: u64,
    /// Lines that are no event.
    pub(super) unreadable: u64,
    /// Requests that ended, whoever made them.
    pub(super) requests: u64,
    /// Of these, how many came without a certificate: tokens, and API servers before 1.32.
    pub(super) without_certificate: u64,
}

#[derive(Deserialize)]
struct Event<'e> {
    #[serde(borrow)]
    kind: Cow<'e, str>,
    #[serde(borrow)]
    stage: Cow<'e, str>,
    #[serde(borrow, rename = "requestReceivedTimestamp")]
    received: Cow<'e, str>,
    #[serde(borrow)]
    user: User<'e>,
    #[serde(rename = "responseStatus", default)]
    status: Option<Status>,
}

#[derive(Deserialize)]
struct User<'e> {
    #[serde(borrow, default)]
    username: Cow<'e, str>,
    #[serde(default)]
    extra: Option<Extra>,
}

#[derive(Deserialize)]
struct Extra {
    #[serde(rename = "authentication.kubernetes.io/credential-id", default)]
    credential_id: Vec<String>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: Option<u16>,
}

impl Log {
    /// Adds what `reader` holds, gzip or not.
    ///
    /// # Errors
    /// It cannot be read, or there are more certificates than fit.
    pub(super) fn read(&mut self, reader: impl Read) -> Result<()> {
        let mut reader = BufReader::with_capacity(256 * 1_024, reader);
        if reader.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
            return self.read_lines(BufReader::with_capacity(256 * 1_024, MultiGzDecoder::new(reader)));
        }
        self.read_lines(reader)
    }

    fn read_lines(&mut self, mut reader: impl BufRead) -> Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            if line.last() != Some(&b'\n') && u64::try_from(read).unwrap_or(u64::MAX) == LONGEST_LINE {
                reader.skip_until(b'\n')?;
                line.clear();
                line.push(b'?');
            }
            self.line(line.trim_ascii())?;
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        if line.is_empty() {
            return Ok(());
        }
        self.lines = self.lines.saturating_add(1);
        let event = serde_json::from_slice::<Event<'_>>(line).ok().filter(|event| event.kind == "Event");
        let Some((event, at)) = event
            .and_then(|event| Some((Time::parse(&event.received).ok()?, event)))
            .map(|(at, event)| (event, at))
        else {
            self.unreadable = self.unreadable.saturating_add(1);
            return Ok(());
        };
        // Each request has an event for every stage that it goes through.
        let ended = matches!(event.stage.as_ref(), "ResponseComplete" | "Panic");
        self.requests = self.requests.saturating_add(u64::from(ended));
        let ids = event.user.extra.as_ref().map(|extra| extra.credential_id.as_slice()).unwrap_or_default();
        let mut certificates =
            ids.iter().filter(|id| id.starts_with("X509SHA256=")).filter_map(|id| credential_id(id).ok());
        match certificates.next() {
            None => self.without_certificate = self.without_certificate.saturating_add(u64::from(ended)),
            Some(certificate) => self.used(certificate, &event, at, ended)?,
        }
        Ok(())
    }

    fn used(&mut self, certificate: [u8; 32], event: &Event<'_>, at: Time, ended: bool) -> Result<()> {
        let user: String = event.user.username.chars().take(LONGEST_NAME).collect();
        let known = self.certificates.len();
        let fresh =
            Use { requests: 0, refused: 0, first: at, last: at, user: user.clone(), other_names: false };
        let found = self.certificates.entry(certificate).or_insert(fresh);
        found.requests = found.requests.saturating_add(u64::from(ended));
        let code = event.status.as_ref().and_then(|status| status.code).unwrap_or(0);
        found.refused = found.refused.saturating_add(u64::from(ended && code >= 400));
        found.first = found.first.min(at);
        found.last = found.last.max(at);
        found.other_names |= found.user != user;
        if known >= MOST_CERTIFICATES {
            bail!("there are over {MOST_CERTIFICATES} certificates in this log: give it in parts");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// As kube-apiserver 1.36 writes it, shortened to what matters here.
    fn event(stage: &str, user: &str, id: &str, at: &str, code: u16) -> String {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a1","stage":"{stage}","requestURI":"/api/v1/pods","verb":"list","user":{{"username":"{user}","groups":["dev","system:authenticated"],"extra":{{"authentication.kubernetes.io/credential-id":["{id}"]}}}},"sourceIPs":["10.0.0.7"],"userAgent":"kubectl/v1.36.0","objectRef":{{"resource":"pods","apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},"code":{code}}},"requestReceivedTimestamp":"{at}","stageTimestamp":"{at}","annotations":{{"authorization.k8s.io/decision":"allow"}}}}"#
        ) + "\n"
    }

    fn sample() -> String {
        let id = format!("X509SHA256={}", "ab".repeat(32));
        [
            event("RequestReceived", "alice", &id, "2026-06-01T09:00:00.123456Z", 0),
            event("ResponseComplete", "alice", &id, "2026-06-01T09:00:00.123456Z", 200),
            event("ResponseComplete", "alice", &id, "2026-06-01T10:00:00.000000Z", 403),
            event("ResponseComplete", "system:serviceaccount:a:b", "JTI=1", "2026-06-01T10:00:00Z", 200),
            "not json\n\n".to_owned(),
            "{\"kind\":\"EventList\"}\n".to_owned(),
        ]
        .concat()
    }

    fn check(log: &Log) {
        assert_eq!((log.lines, log.unreadable, log.requests, log.without_certificate), (6, 2, 3, 1));
        let used = &log.certificates[&[0xab; 32]];
        assert_eq!(
            (used.requests, used.refused, used.user.as_str(), used.other_names),
            (2, 1, "alice", false)
        );
        assert_eq!(used.first.to_string(), "2026-06-01T09:00:00Z");
        assert_eq!(used.last.to_string(), "2026-06-01T10:00:00Z");
    }

    #[test]
    fn requests_are_counted_once_for_each_certificate() {
        let mut log = Log::default();
        log.read(sample().as_bytes()).unwrap();
        check(&log);
        log.read(
            event(
                "ResponseStarted",
                "bob",
                &format!("X509SHA256={}", "AB".repeat(32)),
                "2026-06-01T11:00:00Z",
                200,
            )
            .as_bytes(),
        )
        .unwrap();
        assert!(log.certificates[&[0xab; 32]].other_names);
        assert_eq!(log.requests, 3);
    }

    #[test]
    fn a_log_may_be_compressed_in_several_parts() {
        let mut packed = Vec::new();
        for part in sample().split_inclusive('\n') {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(part.as_bytes()).unwrap();
            packed.extend(encoder.finish().unwrap());
        }
        let mut log = Log::default();
        log.read(packed.as_slice()).unwrap();
        check(&log);
    }

    #[test]
    fn a_line_that_is_far_too_long_is_passed_over() {
        let oversized = "x".repeat(usize::try_from(LONGEST_LINE).unwrap() + 10);
        let mut log = Log::default();
        log.read(format!("{oversized}\n{}", sample()).as_bytes()).unwrap();
        assert_eq!((log.lines, log.unreadable), (7, 3));
        assert_eq!(log.certificates.len(), 1);
    }
}
