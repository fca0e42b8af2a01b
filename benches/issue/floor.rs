//! The floor: what the signatures alone cost by the same library, whoever issues. One check of the
//! CSR's signature and one signature of the CA.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};

use crate::machine::thread_cpu;
use crate::statistics::micros_each;

/// About what the signed part of a CSR with a P-256 key is long, in bytes.
const CSR: usize = 150;

/// About what the signed part of a certificate is long, in bytes.
const CERTIFICATE: usize = 400;

type Operation = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// What is timed, with the keys made ahead.
pub struct Floor {
    operations: Vec<(&'static str, Operation)>,
}

/// What one operation costs, in microseconds of CPU.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub operation: &'static str,
    /// With the other core doing the same, as beside a busy server. This is the floor.
    pub both_busy: f64,
    /// With nothing of ours on the other core; for information.
    pub alone: f64,
}

impl Floor {
    /// Makes the keys.
    pub fn new() -> Result<Self> {
        let p256 = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        let p384 = ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING)?;
        let rsa = || RsaKeyPair::generate(KeySize::Rsa2048);
        let ed25519 = Ed25519KeyPair::generate().map_err(failed)?;
        let sign = |key: EcdsaKeyPair| {
            operation(move || key.sign(&SystemRandom::new(), &[1; CERTIFICATE]).map(|_| ()))
        };
        let operations = vec![
            ("verify p-256", verify_ecdsa(&p256, &ECDSA_P256_SHA256_ASN1)?),
            ("verify p-384", verify_ecdsa(&p384, &ECDSA_P384_SHA384_ASN1)?),
            ("verify rsa-2048", verify_rsa(&rsa().map_err(failed)?)?),
            ("verify ed25519", verify(&ed25519, &signature::ED25519, ed25519.sign(&[7; CSR]).as_ref())),
            ("sign p-256", sign(p256)),
            ("sign rsa-2048", sign_rsa(rsa().map_err(failed)?)),
            ("sign rsa-4096", sign_rsa(RsaKeyPair::generate(KeySize::Rsa4096).map_err(failed)?)),
            ("sign ed25519", operation(move || ed25519.try_sign(&[1; CERTIFICATE]).map(|_| ()))),
        ];
        Ok(Self { operations })
    }

    /// Times every operation for `slice`, on two threads and on one.
    pub fn measure(&self, slice: Duration) -> Result<Vec<Cost>> {
        let cost = |(name, operation): &(&'static str, Operation)| {
            let both_busy = time(operation, 2, slice)?;
            Ok(Cost { operation: name, both_busy, alone: time(operation, 1, slice)? })
        };
        self.operations.iter().map(cost).collect()
    }

    /// What these operations cost together at this moment, with both cores busy.
    pub fn now(&self, operations: [&str; 2], slice: Duration) -> Result<f64> {
        let wanted = self.operations.iter().filter(|(name, _)| operations.contains(name));
        wanted.map(|(_, operation)| time(operation, 2, slice)).sum()
    }
}

/// CPU microseconds of one `operation`, done by so many threads at once.
fn time(operation: &Operation, threads: usize, slice: Duration) -> Result<f64> {
    let together = Barrier::new(threads);
    let spent: Vec<Result<(Duration, u32)>> = std::thread::scope(|scope| {
        let run = || {
            together.wait();
            repeat(operation, slice)
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread broke off"))?).collect()
    });
    let (mut cpu, mut count) = (Duration::ZERO, 0_u32);
    for one in spent {
        let (time, times) = one?;
        (cpu, count) = (cpu.saturating_add(time), count.saturating_add(times));
    }
    Ok(micros_each(cpu, count))
}

fn repeat(operation: &Operation, slice: Duration) -> Result<(Duration, u32)> {
    operation()?;
    let (began, before) = (Instant::now(), thread_cpu());
    let mut count = 0_u32;
    while began.elapsed() < slice {
        for _ in 0..4 {
            operation()?;
        }
        count = count.saturating_add(4);
    }
    Ok((thread_cpu().saturating_sub(before), count))
}

fn operation(
    run: impl Fn() -> Result<(), aws_lc_rs::error::Unspecified> + Send + Sync + 'static,
) -> Operation {
    Box::new(move || run().map_err(failed))
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Result<EcdsaKeyPair> {
    EcdsaKeyPair::generate(algorithm).map_err(failed)
}

fn verify_ecdsa(key: &EcdsaKeyPair, algorithm: &'static dyn VerificationAlgorithm) -> Result<Operation> {
    let signature = key.sign(&SystemRandom::new(), &[7; CSR]).map_err(failed)?;
    Ok(verify(key, algorithm, signature.as_ref()))
}

fn verify_rsa(key: &RsaKeyPair) -> Result<Operation> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &[7; CSR], &mut signature).map_err(failed)?;
    Ok(verify(key, &RSA_PKCS1_2048_8192_SHA256, &signature))
}

/// The key is read anew each time, as a service has to: no CSR has the key of the one before.
fn verify(key: &impl KeyPair, algorithm: &'static dyn VerificationAlgorithm, signature: &[u8]) -> Operation {
    let (key, signature) = (key.public_key().as_ref().to_vec(), signature.to_vec());
    operation(move || UnparsedPublicKey::new(algorithm, &key).verify(&[7; CSR], &signature))
}

fn sign_rsa(key: RsaKeyPair) -> Operation {
    operation(move || {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &[1; CERTIFICATE], &mut signature)
    })
}

fn failed(_: aws_lc_rs::error::Unspecified) -> anyhow::Error {
    anyhow!("the cryptographic library failed")
}
