package admission

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// life is a certificate's; it is replaced when half of it is over.
const life = 90 * 24 * time.Hour

// authoritiesKey of the Secret holds the authorities, the newest first.
const authoritiesKey = "ca.crt"

// pair is what the webhook serves with.
type pair struct {
	cert, key []byte // PEM
	// authorities are trusted while a certificate is replaced: its own, and the one
	// before, by which other replicas may still serve.
	authorities []byte
}

// newPair makes an authority and one certificate for the names, and forgets the
// authority's key. The authority of the pair before, if there is one, stays trusted.
func newPair(names []string, now time.Time, before pair) (pair, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("make a key: %w", err)
	}
	ca := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "sdn-tunnel admission"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return pair{}, fmt.Errorf("make an authority: %w", err)
	}
	leaf := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return pair{}, fmt.Errorf("make a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, fmt.Errorf("encode a key: %w", err)
	}
	out := pair{cert: encode("CERTIFICATE", der), key: encode("PRIVATE KEY", keyDER), authorities: encode("CERTIFICATE", caDER)}
	if old, _ := pem.Decode(before.authorities); old != nil {
		out.authorities = append(out.authorities, pem.EncodeToMemory(old)...)
	}
	return out, nil
}

func serial() *big.Int {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	return new(big.Int).SetBytes(raw)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// pairOf reads a Secret.
func pairOf(s *corev1.Secret) pair {
	return pair{cert: s.Data[corev1.TLSCertKey], key: s.Data[corev1.TLSPrivateKeyKey], authorities: s.Data[authoritiesKey]}
}

func (p pair) data() map[string][]byte {
	return map[string][]byte{corev1.TLSCertKey: p.cert, corev1.TLSPrivateKeyKey: p.key, authoritiesKey: p.authorities}
}

// serving is the pair as the TLS server needs it, or why it cannot be used for the
// names: it is replaced then.
func (p pair) serving(names []string, now time.Time) (*tls.Certificate, error) {
	if len(p.cert) == 0 {
		return nil, errors.New("there is no certificate yet")
	}
	cert, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.authorities)
	for _, name := range names {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now}); err != nil {
			return nil, fmt.Errorf("check the certificate: %w", err)
		}
	}
	if now.After(cert.Leaf.NotBefore.Add(cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore) / 2)) {
		return nil, errors.New("half of the certificate's life is over")
	}
	return &cert, nil
}
