package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestSign(t *testing.T) {
	ca, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Sign(Request{
		CommonName: "system:node:a", Organizations: []string{"system:nodes"},
		Names: []string{"a"}, Addresses: []netip.Addr{netip.MustParseAddr("192.168.50.11")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(pair.Cert, pair.Key); err != nil {
		t.Fatalf("key and certificate do not match: %v", err)
	}
	block, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(block.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Cert)
	for _, name := range []string{"a", "192.168.50.11"} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := cert.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("%s, usage %d: %v", name, usage, err)
			}
		}
	}
	if cert.Subject.CommonName != "system:node:a" || cert.Subject.Organization[0] != "system:nodes" {
		t.Errorf("subject %s", cert.Subject)
	}
	if _, err := cert.Verify(x509.VerifyOptions{DNSName: "b", Roots: roots}); err == nil {
		t.Error("valid for a name that it was not made for")
	}
}

func TestSSHKey(t *testing.T) {
	private, public, err := SSHKey("comment")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(ssh.MarshalAuthorizedKey(signer.PublicKey())); got != string(public) {
		t.Errorf("public key %q, want %q", public, got)
	}
}
