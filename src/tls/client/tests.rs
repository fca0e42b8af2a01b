use super::*;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use x509_parser::time::ASN1Time;

const NOW: Time = Time::from_unix(1_800_000_000);

fn named(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    let at = |seconds: i64| ASN1Time::from_timestamp(NOW.unix() + seconds).unwrap().to_datetime();
    (parameters.not_before, parameters.not_after) = (at(-60), at(60));
    parameters
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = named(name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
}

/// A CA with a certificate by `above`, or by itself.
fn below(
    name: &str,
    above: Option<&Issuer<'_, KeyPair>>,
) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
    let (parameters, key) = (authority(name), KeyPair::generate().unwrap());
    let signed = match above {
        None => parameters.self_signed(&key).unwrap(),
        Some(above) => parameters.signed_by(&key, above).unwrap(),
    };
    (signed.der().clone(), Issuer::new(parameters, key))
}

fn leaf(issuer: &Issuer<'_, KeyPair>) -> CertificateDer<'static> {
    named("client").signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

#[test]
fn what_a_stranger_sends_behind_its_certificate_costs_next_to_nothing() {
    let (root, _) = below("Root", None);
    let (_, hostile) = below("I", None);
    // Each of them could have signed each other one, by name.
    let same = (0..60).map(|_| below("I", Some(&hostile)).0);
    let chain: Vec<_> = std::iter::once(leaf(&hostile)).chain(same).collect();
    let trusted = ClientAuthorities::of(&[root]).unwrap();
    let begun = Instant::now();
    for _ in 0..100 {
        // As on a connection of its own: nothing is remembered.
        let shown = ClientCertificate::new(&chain).unwrap();
        assert_eq!(shown.0.chain.len(), LONGEST);
        assert_eq!(trusted.verify(&shown, NOW), Err(Unverified::Foreign));
    }
    // With all sixty it is a fifth of a second for each, in a release build.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_path_leads_over_three_intermediates_and_the_root_may_be_sent_too() {
    let (root, of_root) = below("Root", None);
    let (one, of_one) = below("One", Some(&of_root));
    let (two, of_two) = below("Two", Some(&of_one));
    let (three, of_three) = below("Three", Some(&of_two));
    let (four, of_four) = below("Four", Some(&of_three));
    let trusted = ClientAuthorities::of(std::slice::from_ref(&root)).unwrap();
    let says = |chain: &[&CertificateDer<'static>]| {
        let chain: Vec<_> = chain.iter().map(|one| (*one).clone()).collect();
        trusted.verify(&ClientCertificate::new(&chain).unwrap(), NOW)
    };
    assert_eq!(says(&[&leaf(&of_three), &three, &two, &one, &root]), Ok(()));
    assert_eq!(says(&[&leaf(&of_four), &four, &three, &two, &one]), Err(Unverified::Foreign));
    // Who trusts the CA itself needs nothing of what is above it.
    let trusted = ClientAuthorities::of(std::slice::from_ref(&four)).unwrap();
    let long = [leaf(&of_four), four.clone(), three, two, one, root];
    assert_eq!(trusted.verify(&ClientCertificate::new(&long).unwrap(), NOW), Ok(()));
}

#[test]
fn a_certificate_that_is_larger_than_any_is_not_looked_at() {
    let of = |octets: usize| CertificateDer::from(vec![0x30; octets]);
    assert!(ClientCertificate::new(&[of(LARGEST + 1)]).is_none());
    assert!(ClientCertificate::new(&[]).is_none());
    let kept = ClientCertificate::new(&[of(1_000), of(LARGEST), of(1_000)]).unwrap();
    assert_eq!(kept.0.chain.len(), 1, "nor is what stands behind one");
}

#[derive(Debug)]
struct Counting(Arc<dyn ClientCertVerifier>, AtomicUsize);

impl ClientCertVerifier for Counting {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.verify_client_cert(leaf, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[test]
fn a_connection_is_verified_once_a_second_by_each_set_of_authorities() {
    let (root, of_root) = below("Root", None);
    let set = || {
        let set = ClientAuthorities::of(std::slice::from_ref(&root)).unwrap();
        let counting = Arc::new(Counting(set.verifier.clone(), AtomicUsize::new(0)));
        (ClientAuthorities { verifier: counting.clone(), ..set }, counting)
    };
    let ((one, of_one), (two, of_two)) = (set(), set());
    let shown = ClientCertificate::new(&[leaf(&of_root)]).unwrap();
    for second in [0, 1, 59, 61] {
        let at = Time::from_unix(NOW.unix() + second);
        let said = if second < 60 { Ok(()) } else { Err(Unverified::Expired) };
        for _ in 0..100 {
            assert_eq!((one.verify(&shown, at), two.verify(&shown.clone(), at)), (said, said));
        }
    }
    assert_eq!((of_one.1.load(Ordering::Relaxed), of_two.1.load(Ordering::Relaxed)), (4, 4));
    assert_eq!(shown.0.verdicts.lock().unwrap().len(), 2, "older ones are not kept");
}
