// Prints requests for certificates as browsers' libraries make them, one JSON object of PEM by name.
import "reflect-metadata";
import { generateKeyPairSync, webcrypto } from "node:crypto";
import * as asn1js from "asn1js";
import forge from "node-forge";
import * as pkijs from "pkijs";
import * as x509 from "@peculiar/x509";

const P256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const P384 = { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" };
const RSA = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
const PSS = { ...RSA, name: "RSA-PSS", saltLength: 32 };

x509.cryptoProvider.set(webcrypto);
pkijs.setEngine("node", new pkijs.CryptoEngine({ name: "node", crypto: webcrypto }));

const NAME = [["2.5.4.3", "alice"], ["2.5.4.10", "dev"], ["2.5.4.10", "ops"]];

const newKeys = (algorithm) => webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);

async function byPeculiar(algorithm, more = {}) {
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: "CN=alice, O=dev, O=ops",
    keys: await newKeys(algorithm),
    signingAlgorithm: algorithm,
    ...more,
  });
  return request.toString("pem");
}

async function byPkijs(algorithm, { extensions = [], apart = true, attributes = NAME } = {}) {
  const request = new pkijs.CertificationRequest();
  for (const [type, value] of attributes) {
    request.subject.typesAndValues.push(new pkijs.AttributeTypeAndValue({ type, value: new asn1js.Utf8String({ value }) }));
  }
  if (apart) {
    // By itself pkijs joins all of a name into one RDN.
    const rdns = request.subject.typesAndValues.map((one) => new asn1js.Set({ value: [one.toSchema()] }));
    request.subject.valueBeforeDecode = new asn1js.Sequence({ value: rdns }).toBER(false);
  }
  const keys = await newKeys(algorithm);
  await request.subjectPublicKeyInfo.importKey(keys.publicKey);
  request.attributes = [];
  if (extensions.length > 0) {
    const wishes = new pkijs.Extensions({ extensions });
    request.attributes.push(new pkijs.Attribute({ type: "1.2.840.113549.1.9.14", values: [wishes.toSchema()] }));
  }
  await request.sign(keys.privateKey, algorithm.hash);
  return pem(Buffer.from(request.toSchema(true).toBER(false)));
}

function pem(der) {
  const lines = der.toString("base64").match(/.{1,64}/g).join("\n");
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines}\n-----END CERTIFICATE REQUEST-----\n`;
}

function byForge(digest, more = (request) => request) {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const request = forge.pki.createCertificationRequest();
  request.publicKey = forge.pki.publicKeyFromPem(publicKey);
  request.setSubject([
    { name: "commonName", value: "alice" },
    { name: "organizationName", value: "dev" },
    { name: "organizationName", value: "ops", valueTagClass: forge.asn1.Type.UTF8 },
  ]);
  more(request);
  request.sign(forge.pki.privateKeyFromPem(privateKey), digest);
  return forge.pki.certificationRequestToPem(request);
}

const identifier = new pkijs.Extension({ extnID: "2.5.29.14", extnValue: new asn1js.OctetString({ valueHex: new Uint8Array(20).buffer }).toBER(false) });

console.log(JSON.stringify({
  "@peculiar/x509, P-256": await byPeculiar(P256),
  "@peculiar/x509, P-384": await byPeculiar(P384),
  "@peculiar/x509, RSA": await byPeculiar(RSA),
  "@peculiar/x509, RSA-PSS": await byPeculiar(PSS),
  "@peculiar/x509, Ed25519": await byPeculiar({ name: "Ed25519" }),
  "@peculiar/x509, wishes": await byPeculiar(P256, {
    extensions: [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment),
      new x509.SubjectAlternativeNameExtension([{ type: "dns", value: "localhost" }]),
    ],
    attributes: [new x509.ChallengePasswordAttribute("secret")],
  }),
  "pkijs, P-256": await byPkijs(P256),
  "pkijs, P-384": await byPkijs(P384),
  "pkijs, RSA": await byPkijs(RSA),
  "pkijs, RSA-PSS": await byPkijs(PSS),
  "pkijs, a key identifier": await byPkijs(P256, { extensions: [identifier] }),
  "pkijs, no group": await byPkijs(P256, { apart: false, attributes: NAME.slice(0, 1) }),
  "pkijs, joined": await byPkijs(P256, { apart: false }),
  "node-forge": byForge(forge.md.sha256.create()),
  "node-forge, SHA-512": byForge(forge.md.sha512.create()),
  "node-forge, wishes": byForge(forge.md.sha256.create(), (request) => request.setAttributes([
    { name: "challengePassword", value: "secret" },
    { name: "unstructuredName", value: "a laptop" },
    { name: "extensionRequest", extensions: [{ name: "subjectAltName", altNames: [{ type: 2, value: "localhost" }] }] },
  ])),
}));
