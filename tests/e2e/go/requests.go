// Prints requests for certificates as Go programs make them, one JSON object of PEM by name.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"os"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func request(key crypto.Signer, template x509.CertificateRequest) string {
	der := must(x509.CreateCertificateRequest(rand.Reader, &template, key))
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func main() {
	groups := pkix.Name{CommonName: "alice", Organization: []string{"ops", "dev", "a longer one"}}
	p256 := func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	usage := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: must(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 1}}))}
	unknown := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}, Critical: true, Value: []byte{0x0c, 1, 'x'}}
	out := map[string]string{
		"several groups in one RDN": request(p256(), x509.CertificateRequest{Subject: groups}),
		"P-384":                     request(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), x509.CertificateRequest{Subject: groups}),
		"P-521":                     request(must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)), x509.CertificateRequest{Subject: groups}),
		"Ed25519":                   request(edwards, x509.CertificateRequest{Subject: groups}),
		"RSA":                       request(must(rsa.GenerateKey(rand.Reader, 2048)), x509.CertificateRequest{Subject: groups}),
		"RSA-PSS":                   request(must(rsa.GenerateKey(rand.Reader, 2048)), x509.CertificateRequest{Subject: groups, SignatureAlgorithm: x509.SHA256WithRSAPSS}),
		"alternative names":         request(p256(), x509.CertificateRequest{Subject: groups, DNSNames: []string{"kubernetes"}, EmailAddresses: []string{"root@example.com"}}),
		"extra extensions":          request(p256(), x509.CertificateRequest{Subject: groups, ExtraExtensions: []pkix.Extension{usage, unknown}}),
		"no group":                  request(p256(), x509.CertificateRequest{Subject: pkix.Name{CommonName: "alice"}}),
	}
	must(0, json.NewEncoder(os.Stdout).Encode(out))
}
